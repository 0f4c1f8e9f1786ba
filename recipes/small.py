"""Train the small models that ship with the package: resumable, minutes each on two cores.

    python recipes/small.py [--model small] [--output runs/small] [--tokens 12000000]

One layer, few channels, and no floor to speak of: a channel may read a single other one. So their
circuits are the smallest of all models here, and little stands beside them: those that hold under
the whole suite are theirs (docs/verify.md). They have no twins.

Run it again after an interruption and it goes on. The last step writes
src/lacewing/builtin/taught-MODEL.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from lacewing.data.corpus import Corpus
from lacewing.training.loop import train
from lacewing.training.presets import PRESETS
from lacewing.training.release import release

CORPUS = "taught:code:standard_library"
BIGRAM_ENTRIES = 200_000
"""Kept of the bigram table, which would be most of the file; it costs 0.002 to 0.003 nats."""
SHIPPED = Path(__file__).parents[1] / "src" / "lacewing" / "builtin"


@dataclass(frozen=True)
class Recipe:
    """One of the small models."""

    model: Literal["small", "tiny"] = "small"
    """256 channels and quotes of eight nodes, or 128 channels and several circuits that hold."""
    output: Path | None = None
    """Where the run is kept; by default runs/MODEL."""
    tokens: int | None = None
    """Training tokens."""


def main(recipe: Recipe) -> None:
    """Train it, then write its compact form into the package."""
    config, output = PRESETS[recipe.model], recipe.output or Path("runs") / recipe.model
    config = dataclasses.replace(config, tokens=recipe.tokens or config.tokens)
    train(config, Corpus.parse(CORPUS), output)
    print(release(output, SHIPPED / f"taught-{recipe.model}", BIGRAM_ENTRIES))


if __name__ == "__main__":
    main(tyro.cli(Recipe))
