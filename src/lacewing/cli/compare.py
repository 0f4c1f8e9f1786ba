"""`lacewing compare`: a sparse model's circuits against its dense twin's."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from lacewing.bounds import Seed
from lacewing.circuit.config import PruneConfig
from lacewing.cli.flags import Json, Model
from lacewing.cli.tables import Table, under

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Compare:
    """Compare the circuits of a sparse model with those of its dense twin at the same loss."""

    sparse: Model
    """The weight-sparse model."""
    dense: Model
    """Its dense twin."""
    output: Path
    """Folder for the circuits and comparison.json; an interrupted comparison goes on there."""
    tasks: Annotated[tuple[str, ...], tyro.conf.arg(name="task")] = ()
    """Tasks to compare; by default all that both have learned."""
    seeds: tuple[Seed, ...] = (0,)
    """One pruning of each model and task per seed."""
    corpus: str | None = None
    """Where prompts come from; by default the sparse model's corpus."""
    config: tyro.conf.OmitArgPrefixes[PruneConfig] = field(default_factory=PruneConfig)
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Compare."""
        from lacewing.comparison import compare
        from lacewing.model.store import load
        from lacewing.tasks.registry import names

        tasks = self.tasks or names()
        result = compare(
            load(self.sparse),
            load(self.dense),
            tasks,
            self.output,
            self.config,
            seeds=self.seeds,
            corpus=self.corpus,
        )
        return result.as_json()

    @staticmethod
    def show(result: dict[str, Any]) -> "RenderableType":
        """A table with the ratio under it."""
        rows = []
        for task in result["tasks"]:
            cells = []
            for side in ("sparse", "dense"):
                mine = [r for r in result["rows"] if r["task"] == task and r["side"] == side]
                cells.append(" ".join(f"{r['nodes']}/{r['edges']}" for r in mine))
            rows.append([task, *cells])
        edges = result["edges"]
        low, high = edges["interval"]
        return under(
            Table(["task", ">sparse", ">dense"], rows),
            "nodes / edges, seed by seed",
            f"geometric mean {edges['sparse']:.0f} against {edges['dense']:.0f} edges: "
            f"dense / sparse = {edges['ratio']:.1f} [{low:.1f}, {high:.1f}]",
        )
