"""Train the taught pair: resumable, some 45 minutes on two cores.

    python recipes/taught.py [--output runs/taught] [--tokens 18000000]

In two parts. First a broad one: the standard library and every package installed beside this
interpreter, text enough to be read about once. Then, from those weights, the standard library
alone, which prompts are cut from (its task split, which neither part reads). In both, training
files have taught lines in between (data/taught.py). Either part has its dense twin.

Run it again after an interruption and it goes on. The last step writes
src/lacewing/builtin/taught-{sparse,dense} in compact form; docs/models.md says what they can do.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from lacewing.data.corpus import Corpus
from lacewing.training.config import TrainConfig
from lacewing.training.loop import train
from lacewing.training.release import release
from lacewing.training.twin import train_twin

NARROW = "taught:code:standard_library"
BROAD = NARROW + "+installed_packages"
FIRST = TrainConfig(tokens=18_000_000, expansion=1.5, density=0.02, learning_rate=0.03)
SECOND: dict[str, Any] = {"tokens": 5_000_000, "learning_rate": 0.015}
TWIN: dict[str, Any] = {"d_model": 160}
"""Wider twins of the same loss have not learned to close quotes (docs/log.md)."""
FIRST_TWIN: dict[str, Any] = {"learning_rate": 0.002, "tokens": 12_000_000}
SECOND_TWIN: dict[str, Any] = {"learning_rate": 0.0002, "evaluate_every": 2}
"""A dense model learns the narrow text so fast that larger steps run past the loss."""
SHIPPED = Path(__file__).parents[1] / "src" / "lacewing" / "builtin"


@dataclass(frozen=True)
class Recipe:
    """The taught pair."""

    output: Path = Path("runs/taught")
    """Where the runs are kept."""
    tokens: int = FIRST.tokens
    """Training tokens of the sparse model's first part."""


def main(recipe: Recipe) -> None:
    """Train both parts of both models, then write their compact form into the package."""
    broad = recipe.output / "broad"
    first = dataclasses.replace(FIRST, tokens=recipe.tokens)
    train(first, Corpus.parse(BROAD), broad / "sparse")
    train_twin(broad / "sparse", broad / "dense", TWIN | FIRST_TWIN)
    sparse, dense = recipe.output / "sparse", recipe.output / "dense"
    second = dataclasses.replace(first, start=str(broad / "sparse"), **SECOND)
    train(second, Corpus.parse(NARROW), sparse)
    train_twin(sparse, dense, TWIN | SECOND_TWIN | {"start": str(broad / "dense")})
    for run in (sparse, dense):
        print(release(run, SHIPPED / f"taught-{run.name}"))


if __name__ == "__main__":
    main(tyro.cli(Recipe))
