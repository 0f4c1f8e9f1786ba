"""`python -m benchmarks.edges [TASK ...]`: edges of circuits when they are pruned too.

For every model and task the smallest cut of the mask of nodes (the paper's way), the smallest of
masks of nodes and edges learned around it, and what minimising leaves of that: nodes, edges, loss
on test prompts. The cut reaches the target on validation prompts; a node more or less moves its
loss by much, so it mostly lies below. The others have to reach what it has there, not the target:
what is compared has equal loss.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks.selections import learned
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.errors import DataError
from lacewing.kernels.memory import keep_pages
from lacewing.model import store
from lacewing.model.layers import sparse_products
from lacewing.model.store import Model
from lacewing.pruning.edge_search import fewest_edges
from lacewing.pruning.elimination import measured, minimise
from lacewing.pruning.prune import as_circuit
from lacewing.statistics import interval
from lacewing.sweep.tables import mean_edges

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
"""Those whose circuits need edges, of those that both builtin models have learned."""
Row = dict[str, dict[str, float]]
"""Per circuit of a task its nodes, edges and test loss in nats."""
ROUNDING = 1e-5
"""Nats by which a sum of losses may come out higher in another order."""


@dataclass(frozen=True)
class Edges:
    """What to measure."""

    tasks: tyro.conf.Positional[tuple[str, ...]] = TASKS
    """Names of tasks."""
    models: tuple[str, ...] = ("builtin:taught-sparse", "builtin:taught-dense")
    """Models."""
    output: Path | None = None
    """File for one line of JSON per model and task; what it has is not measured again."""
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
        selection = search.smallest(model)
    if selection is None:
        return None
    circuit = as_circuit(model, search, selection)
    nodes, equal = time.monotonic(), circuit.losses["validation"] + ROUNDING
    masked = fewest_edges(
        model,
        search,
        dataclasses.replace(circuit, config=dataclasses.replace(circuit.config, target_loss=equal)),
    )
    edges = time.monotonic()
    smaller = minimise(model, masked, search.sets.validation, quiet=True)
    if not (smaller.certificate and smaller.certificate.minimal):
        raise AssertionError(f"{task}: not minimal")
    last = time.monotonic()
    print(f"  {nodes - began:.0f} + {edges - nodes:.0f} + {last - edges:.0f} s", file=sys.stderr)
    return {
        "selection": circuit,
        "masked": measured(model, masked, search.sets),
        "minimal": measured(model, smaller, search.sets),
    }


def row(circuits: dict[str, Circuit]) -> Row:
    """Sizes and test losses."""
    return {
        name: {"nodes": c.n_nodes, "edges": c.n_edges, "loss": c.losses["circuit"]}
        for name, c in circuits.items()
    }


def main(bench: Edges) -> None:
    """One line per model and task; the ratios of each model, of all together, and of two models."""
    keep_pages()
    known, rows = _known(bench.output), {}
    for name in bench.models:
        model, of_model = store.load(name), {}
        for task in bench.tasks:
            measured = known.get((name, task)) or _measured(model, name, task, bench)
            if measured:
                of_model[name, task] = measured
                print(f"{name:15} {task:20} {_told(measured)}", flush=True)
        if of_model:
            print(json.dumps({name: ratios(of_model)}))
        rows |= of_model
    if rows:
        print(json.dumps({"all": ratios(rows)}))
    if len(bench.models) == 2:
        first, second = bench.models
        print(json.dumps({f"{second} / {first}": across(rows, first, second)}))


def _known(file: Path | None) -> dict[tuple[str, str], Row]:
    if file is None or not file.exists():
        return {}
    lines = map(json.loads, file.read_text().splitlines())
    return {(model, task): sizes for model, task, sizes in lines}


def _measured(model: Model, name: str, task: str, bench: Edges) -> Row | None:
    """Sizes and losses of one task's circuits, written down at once."""
    circuits = found(model, task, bench)
    if circuits is None:
        print(f"{name:15} {task}: no circuit reaches {bench.config.target_loss:g} nats")
        return None
    sizes = row(circuits)
    if bench.output:
        with bench.output.open("a") as file:
            file.write(json.dumps([name, task, sizes]) + "\n")
    return sizes


def _told(sizes: Row) -> str:
    return "   ".join(
        f"{size['nodes']:4} / {size['edges']:4}, {size['loss']:.3f}" for size in sizes.values()
    )


def ratios(rows: Mapping[tuple[str, str], Row]) -> dict[str, Any]:
    """Edges of the cut over those of the others, geometric means over rows with 95 % intervals.

    And the mean of how far their test losses lie above the cut's, in nats.
    """
    told: dict[str, Any] = {}
    found = list(rows.values())
    drawn = np.random.default_rng(0).integers(len(found), size=(2000, len(found)))
    for name in ("masked", "minimal"):
        above = np.array([row[name]["loss"] - row["selection"]["loss"] for row in found])
        told[name] = _ratio(_edges(found, "selection"), _edges(found, name)) | {
            "loss_above": float(above.mean()),
            "loss_interval": list(interval(above[drawn].mean(1))),
        }
    return told


def across(rows: Mapping[tuple[str, str], Row], first: str, second: str) -> dict[str, Any]:
    """Edges of the second model's circuits over the first's, over the tasks that both have."""
    tasks = [task for model, task in rows if model == first and (second, task) in rows]
    sides = [[rows[model, task] for task in tasks] for model in (first, second)]
    return {
        name: _ratio(_edges(sides[1], name), _edges(sides[0], name))
        for name in ("selection", "masked", "minimal")
        if tasks
    }


def _edges(rows: list[Row], name: str) -> np.ndarray:
    """A circuit without edges counts as one."""
    return np.array([max(1, row[name]["edges"]) for row in rows])


def _ratio(above: np.ndarray, below: np.ndarray) -> dict[str, Any]:
    ratio, limits = mean_edges(list(above / below), least=0)
    return {"ratio": ratio, "interval": list(limits)}


if __name__ == "__main__":
    main(tyro.cli(Edges))
