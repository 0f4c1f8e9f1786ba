"""`lacewing watch`: whether a model's mechanisms are still those that were verified."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from lacewing.bounds import Seed
from lacewing.cli.flags import Json, Model
from lacewing.cli.tables import Table, under

if TYPE_CHECKING:
    from rich.console import RenderableType

CHANGED = 3
"""Exit status where a mechanism has not survived, for scripts that have to stop there."""


@dataclass(frozen=True)
class Watch:
    """Compare two versions of a model: which mechanisms survived, which moved, which are gone.

    Ends with status 3 where one did not survive.
    """

    circuit: tyro.conf.UseAppendAction[tuple[Path, ...]]
    """Folder of a circuit of the first version; several times for several."""
    after: Model
    """The second version: fine-tuned, quantised, pruned, or the same as delivered."""
    before: Model | None = None
    """The first version; by default the circuits' own model."""
    anew: bool = True
    """Prune the second version where a mechanism moved, to see where it is now."""
    corpus: str | None = None
    """Where prompts for that come from; by default the second version's corpus."""
    task: str | None = None
    """The circuits' task, where it is a JSONL file of pairs."""
    seed: Seed = 0
    """Seeds intervals and random circuits."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Compare."""
        from lacewing.circuit.circuit import Circuit
        from lacewing.errors import ConfigError
        from lacewing.model.store import load
        from lacewing.watch.compare import compare_versions

        if not self.circuit:
            raise ConfigError("no circuit: name one of the first version with --circuit")
        circuits = [Circuit.load(folder) for folder in self.circuit]
        return compare_versions(
            load(self.before or circuits[0].model_source),
            load(self.after),
            circuits,
            anew=self.anew,
            corpus=self.corpus,
            task=self.task,
            seed=self.seed,
        ).as_json()

    @staticmethod
    def status(result: dict[str, Any]) -> int:
        """The exit status."""
        return 0 if result["survived"] else CHANGED

    @staticmethod
    def show(result: dict[str, Any]) -> "RenderableType":
        """A row a circuit, and why under it."""
        rows, why = [], []
        for found in result["mechanisms"]:
            cells = [f"{found[side]['full']:.3f}" for side in ("before", "after")]
            for name in ("sufficient", "necessary"):
                cells += [f"{found[side][name]['loss']:.3f}" for side in ("before", "after")]
            rows.append([found["task"], found["state"], *cells])
            why += [f"{found['task']} {found['state']}: {found['reason']}", *_now(found)]
        columns = ["task", "mechanism", ">model", ">after", ">alone", ">after"]
        columns += [">without", ">after"]
        return under(Table(columns, rows), "losses in nats", *why, _weights(result))


def _now(found: dict[str, Any]) -> list[str]:
    """What does the task now, where it was pruned anew."""
    if found["no_circuit"]:
        return [f"  pruned anew: {found['no_circuit']}"]
    if not (anew := found["anew"]):
        return []
    return [
        f"  pruned anew: {anew['nodes']} nodes, {anew['edges']} edges, {anew['loss']:.3f} nats; "
        f"{anew['shared']} of the {found['nodes']} from before ({anew['by_chance']:.1f} by chance)"
    ]


def _weights(result: dict[str, Any]) -> str:
    """Which weights differ."""
    if not result["changed"]:
        return "all weights are the same"
    most = ", ".join(f"{c['name']} by {c['relative']:.2g}" for c in result["largest"])
    return (
        f"{result['changed']} of {result['tensors']} tensors of weights differ, most of all (of "
        f"their norm) {most}"
    )
