"""Train the small model that ships with the package: resumable, some four minutes on two cores.

    python recipes/small.py [--output runs/small] [--tokens 12000000]

One layer, 256 channels, a hundredth of the weights, and no floor to speak of: a channel may read a
single other one. So its circuits are the smallest of all models here, and little stands beside
them: that of the quotes holds under the whole suite (docs/verify.md). It has no twin.

Run it again after an interruption and it goes on. The last step writes src/lacewing/builtin/small.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import tyro

from lacewing.data.corpus import Corpus
from lacewing.training.config import TrainConfig
from lacewing.training.loop import train
from lacewing.training.release import release

CORPUS = "practice:code:standard_library"
SMALL = TrainConfig(
    n_layer=1,
    expansion=1.0,
    d_head=16,
    density=0.01,
    floor=1,
    vocab_size=1024,
    tokens=12_000_000,
    learning_rate=0.03,
    anneal_end=0.5,
)
BIGRAM_ENTRIES = 200_000
"""Kept of its bigram table, which would be most of the file; it costs 0.002 nats."""
SHIPPED = Path(__file__).parents[1] / "src" / "lacewing" / "builtin" / "small"


@dataclass(frozen=True)
class Recipe:
    """The small model."""

    output: Path = Path("runs/small")
    """Where the run is kept."""
    tokens: int = SMALL.tokens
    """Training tokens."""


def main(recipe: Recipe) -> None:
    """Train it, then write its compact form into the package."""
    train(dataclasses.replace(SMALL, tokens=recipe.tokens), Corpus.parse(CORPUS), recipe.output)
    print(release(recipe.output, SHIPPED, BIGRAM_ENTRIES))


if __name__ == "__main__":
    main(tyro.cli(Recipe))
