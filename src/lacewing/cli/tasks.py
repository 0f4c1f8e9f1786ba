"""`lacewing tasks`: what tasks there are, and how well a model does them."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from lacewing.cli.flags import Json, Model
from lacewing.errors import ConfigError


@dataclass(frozen=True)
class Tasks:
    """List the tasks with an example pair each; with --run, a model's loss and accuracy on them."""

    model: Model | None = None
    """Run folder, or builtin:sparse, :dense, :small or :tiny; gives the tokenizer."""
    run_: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="run")] = False
    """Evaluate the model on every task."""
    task: tuple[str, ...] = ()
    """Only these: names, or JSONL files of pairs."""
    catalogue: Literal["paper", "everyday", "english"] = "paper"
    """Which tasks, where none is named: the paper's twenty, decisions of everyday Python,
    or of English."""
    corpus: str | None = None
    """Where prompts come from; by default the model's corpus."""
    pairs: int = 256
    """Test pairs per task."""
    max_tokens: int = 64
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
    def show(result: dict[str, Any]) -> str:
        """A table: scores where a model was evaluated, example pairs otherwise."""
        lines = [result["name"]] if "name" in result else []
        for row in result["tasks"]:
            if "error" in row:
                lines.append(f"{row['name']:28} {row['error']}")
            elif "loss" in row:
                low, high = row["interval"]
                lines.append(
                    f"{row['name']:28} {'learned' if row['learned'] else '-':8} {row['loss']:.3f} "
                    f"[{low:.3f}, {high:.3f}] nats  {row['accuracy']:6.1%}  {row['pairs']} pairs"
                )
            else:
                pair = row["example"]
                lines.append(f"{row['name']} ({row['origin']}): {row['description']}")
                lines += [
                    f"    ...{pair[side][-60:]!r} -> {pair[side + '_answer']!r}"
                    for side in ("clean", "corrupted")
                ]
        return "\n".join(lines)
