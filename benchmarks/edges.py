"""`python -m benchmarks.edges [TASK ...]`: edges of circuits when they are pruned too.

For every task the smallest cut of the mask (node pruning, the paper's way), the same thinned (as
`lacewing prune` gives it), and what `--minimal` leaves: nodes, edges, loss on test prompts. All
three reach the target on the validation prompts they were chosen on.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tyro

from benchmarks.cuts import learned
from lacewing.circuits.circuit import Circuit
from lacewing.circuits.config import PruneConfig
from lacewing.circuits.minimal import measured, minimise
from lacewing.circuits.prune import as_circuit
from lacewing.circuits.statistics import geometric_mean, interval
from lacewing.errors import DataError
from lacewing.kernels.memory import keep_pages
from lacewing.model import store
from lacewing.model.layers import sparse_products
from lacewing.model.store import Model

TASKS = (
    "single_double_quote",
    "bracket_counting",
    "bracket_brace",
    "enumerate_range",
    "for_while",
    "if_equals",
    "lambda_func",
    "var_if",
    "while_return_true",
    "with_as",
)


@dataclass(frozen=True)
class Edges:
    """What to measure."""

    tasks: tyro.conf.Positional[tuple[str, ...]] = TASKS
    """Names of tasks."""
    model: str = "builtin:sparse"
    """A model."""
    config: tyro.conf.OmitArgPrefixes[PruneConfig] = field(default_factory=PruneConfig)
    """The search."""


def three(model: Model, task: str, config: PruneConfig) -> dict[str, Circuit] | None:
    """The circuits of one task; none if no cut reaches the target."""
    with sparse_products(model.network):
        try:
            search = learned(model, task, config)
        except DataError:
            return None
        thinned = search.cut(model)
    if search.best is None or thinned is None:
        return None
    found = {
        name: as_circuit(model, search, cut)
        for name, cut in (("cut", search.best), ("thinned", thinned))
    }
    smaller, proof = minimise(model, found["thinned"], search.sets.validation, quiet=True)
    if not proof.minimal:
        raise AssertionError(f"{task}: not minimal")
    return found | {"minimal": measured(model, smaller, search.sets)}


def main(bench: Edges) -> None:
    """One line per task, and the ratios."""
    keep_pages()
    model, rows = store.load(bench.model), {}
    for task in bench.tasks:
        found = three(model, task, bench.config)
        if found is None:
            print(f"{task}: no circuit reaches {bench.config.target_loss:g} nats")
            continue
        rows[task] = found
        sizes = [
            f"{c.n_nodes:4} / {c.n_edges:4}, {c.losses['circuit']:.3f}" for c in found.values()
        ]
        print(f"{task:20} " + "   ".join(sizes), flush=True)
    print(json.dumps(ratios(rows)))


def ratios(rows: dict[str, dict[str, Circuit]]) -> dict[str, Any]:
    """Edges of the cut over those of the others, geometric means over tasks with 95 % intervals."""
    whole = np.array([max(1, found["cut"].n_edges) for found in rows.values()])
    dice, told = np.random.default_rng(0), {}
    for name in ("thinned", "minimal"):
        each = whole / np.array([max(1, found[name].n_edges) for found in rows.values()])
        drawn = each[dice.integers(len(each), size=(2000, len(each)))]
        low, high = interval(np.exp(np.log(drawn).mean(1)))
        told[name] = {"ratio": geometric_mean(each), "interval": [low, high]}
    for name in ("cut", "thinned", "minimal"):
        told[f"test_loss_{name}"] = float(
            np.mean([r[name].losses["circuit"] for r in rows.values()])
        )
    return told


if __name__ == "__main__":
    main(tyro.cli(Edges))
