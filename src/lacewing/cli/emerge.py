"""`lacewing emerge`: when a circuit appears in a training."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from lacewing.circuit.config import PruneConfig
from lacewing.cli.flags import Json
from lacewing.cli.tables import Table, under

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Emerge:
    """Prune a task at every snapshot of a training, and show when its circuit appears."""

    model: Path
    """Folder of a run that was trained with --snapshots, finished or not."""
    output: Path
    """Folder of the circuits, the figures and emergence.json; an interrupted run goes on there."""
    task: str
    """A task's name, or a JSONL file of pairs."""
    corpus: str | None = None
    """Where prompts come from; by default the run's corpus."""
    config: tyro.conf.OmitArgPrefixes[PruneConfig] = field(default_factory=PruneConfig)
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Prune at every state, and draw."""
        from lacewing.sweep.emergence import emerge
        from lacewing.sweep.emergence_figure import draw

        found = emerge(self.model, self.task, self.output, self.config, corpus=self.corpus)
        return found.as_json() | {"figures": [str(path) for path in draw(found, self.output)]}

    @staticmethod
    def show(result: dict[str, Any]) -> "RenderableType":
        """A row a state, and when the first circuit was there."""
        from lacewing.sweep.emergence import State, table

        states = [State(**state) for state in result["states"]]
        first = result["first"]
        said = f"no circuit at {result['target_loss']:g} nats: {states[-1].reason}"
        if first is not None:
            read = f"{first / 1e6:.2f} M tokens"
            said = f"the first circuit at {result['target_loss']:g} nats is there after {read}"
        columns = ["read", ">validation", ">task loss", ">nodes", ">edges"]
        columns += [">in last", ">last alone"]
        return under(
            Table(columns, table(states)),
            "losses in nats; in last: nodes that the last circuit has too (by chance)",
            said,
        )
