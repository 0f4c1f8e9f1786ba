"""`python -m benchmarks.edges [TASK ...]`: edges of circuits when they are pruned too.

For every task the smallest cut of the mask of nodes (the paper's way), the smallest of a mask of
nodes and edges learned around it, and what minimising leaves of that: nodes, edges, loss on test
prompts. The cut reaches the target on validation prompts; a node more or less moves its loss by
much, so it mostly lies below. The others have to reach what it has there, not the target: what is
compared has equal loss.
"""

import dataclasses
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks.cuts import learned
from lacewing.circuits.circuit import Circuit
from lacewing.circuits.config import PruneConfig
from lacewing.circuits.minimal import measured, minimise
from lacewing.circuits.part_search import fewest_edges
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


ROUNDING = 1e-5
"""Nats by which a sum of losses may come out higher in another order."""


@dataclass(frozen=True)
class Edges:
    """What to measure."""

    tasks: tyro.conf.Positional[tuple[str, ...]] = TASKS
    """Names of tasks."""
    model: str = "builtin:sparse"
    """A model."""
    output: Path | None = None
    """File for one line of JSON per task; tasks that it has are not measured again."""
    config: tyro.conf.OmitArgPrefixes[PruneConfig] = field(default_factory=PruneConfig)
    """The search."""


def found(model: Model, task: str, bench: Edges) -> dict[str, Circuit] | None:
    """The circuits of one task; none if no cut reaches the target."""
    began, config = time.monotonic(), bench.config
    with sparse_products(model.network):
        try:
            search = learned(model, task, config)
        except DataError:
            return None
        cut = search.smallest(model)
    if cut is None:
        return None
    circuit = as_circuit(model, search, cut)
    nodes, equal = time.monotonic(), circuit.losses["validation"] + ROUNDING
    masked = fewest_edges(model, search, dataclasses.replace(circuit, target_loss=equal))
    edges = time.monotonic()
    smaller, proof = minimise(model, masked, search.sets.validation, quiet=True)
    if not proof.minimal:
        raise AssertionError(f"{task}: not minimal")
    last = time.monotonic()
    print(f"  {nodes - began:.0f} + {edges - nodes:.0f} + {last - edges:.0f} s", file=sys.stderr)
    return {
        "cut": circuit,
        "masked": measured(model, masked, search.sets),
        "minimal": measured(model, smaller, search.sets),
    }


def row(circuits: dict[str, Circuit]) -> dict[str, dict[str, float]]:
    """Sizes and test losses."""
    return {
        name: {"nodes": c.n_nodes, "edges": c.n_edges, "loss": c.losses["circuit"]}
        for name, c in circuits.items()
    }


def main(bench: Edges) -> None:
    """One line per task, and the ratios."""
    keep_pages()
    model, rows = store.load(bench.model), {}
    if bench.output and bench.output.exists():
        rows = dict(json.loads(line) for line in bench.output.read_text().splitlines())
    for task in bench.tasks:
        if task not in rows:
            circuits = found(model, task, bench)
            if circuits is None:
                print(f"{task}: no circuit reaches {bench.config.target_loss:g} nats")
                continue
            rows[task] = row(circuits)
            if bench.output:
                with bench.output.open("a") as file:
                    file.write(json.dumps([task, rows[task]]) + "\n")
        sizes = [
            f"{size['nodes']:4} / {size['edges']:4}, {size['loss']:.3f}"
            for size in rows[task].values()
        ]
        print(f"{task:20} " + "   ".join(sizes), flush=True)
    print(json.dumps(ratios(rows)))


def ratios(rows: dict[str, dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Edges of the cut over those of the others, geometric means over tasks with 95 % intervals.

    And the mean of how far their test losses lie above the cut's, in nats.
    """
    told: dict[str, Any] = {}

    def of(name: str, what: str) -> np.ndarray:
        return np.array([found[name][what] for found in rows.values()])

    dice = np.random.default_rng(0)
    drawn = dice.integers(len(rows), size=(2000, len(rows)))
    for name in ("masked", "minimal"):
        each = np.maximum(1, of("cut", "edges")) / np.maximum(1, of(name, "edges"))
        above = of(name, "loss") - of("cut", "loss")
        told[name] = {
            "ratio": geometric_mean(each),
            "interval": list(interval(np.exp(np.log(each)[drawn].mean(1)))),
            "loss_above": float(above.mean()),
            "loss_interval": list(interval(above[drawn].mean(1))),
        }
    return told


if __name__ == "__main__":
    main(tyro.cli(Edges))
