"""`lacewing tasks`: what tasks there are, and how well a model does them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from annotated_types import Interval

from lacewing.bounds import Count
from lacewing.cli.flags import AnyModel, Json
from lacewing.cli.tables import Table, under
from lacewing.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Tasks:
    """List the tasks with an example pair each; with --run, a model's loss and accuracy on them."""

    model: AnyModel | None = None
    run_: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="run")] = False
    """Evaluate the model on every task."""
    task: tuple[str, ...] = ()
    """Only these: names, or JSONL files of pairs."""
    catalogue: Literal["paper", "everyday", "english"] = "paper"
    """Which tasks, where none is named: the paper's twenty, decisions of everyday Python,
    or of English."""
    corpus: str | None = None
    """Where prompts come from; by default the model's corpus."""
    pairs: Count = 256
    """Test pairs per task."""
    max_tokens: Annotated[int, Interval(ge=1, le=2**17)] = 64
    """Longest prompt, in tokens."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """List, and evaluate where asked to."""
        from lacewing.model.store import load
        from lacewing.tasks.listing import list_tasks

        if self.run_ and self.model is None:
            raise ConfigError("--run needs a model: add --model RUN, or --model builtin:sparse")
        return list_tasks(
            load(self.model) if self.model else None,
            self.task,
            self.corpus,
            catalogue=self.catalogue,
            evaluated=self.run_,
            count=self.pairs,
            max_tokens=self.max_tokens,
        )

    @staticmethod
    def show(result: dict[str, Any]) -> "RenderableType":
        """A table: scores where a model was evaluated, example pairs otherwise."""
        scored = [_scores(row) for row in result["tasks"] if "loss" in row]
        columns = ["task", "", ">loss, nats", ">95 % interval", ">accuracy", ">pairs"]
        lines = [result["name"]] if "name" in result else []
        for row in result["tasks"]:
            if "error" in row:
                lines.append(f"{row['name']}: {row['error']}")
            elif "loss" not in row:
                pair = row["example"]
                lines.append(f"{row['name']} ({row['origin']}): {row['description']}")
                lines += [
                    f"    ...{pair[side][-60:]!r} -> {pair[side + '_answer']!r}"
                    for side in ("clean", "corrupted")
                ]
        return under(Table(columns, scored) if scored else "", "\n".join(lines))


def _scores(row: dict[str, Any]) -> list[str]:
    """A task's scores as cells."""
    low, high = row["interval"]
    return [
        row["name"],
        "learned" if row["learned"] else "-",
        f"{row['loss']:.3f}",
        f"[{low:.3f}, {high:.3f}]",
        f"{row['accuracy']:.1%}",
        f"{row['pairs']}",
    ]
