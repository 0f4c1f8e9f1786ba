"""Train the pair of models that ships with the package: resumable, minutes to an hour on two cores.

    python recipes/builtin.py [--output runs/builtin] [--tokens 30000000]

Run it again after an interruption and it goes on. The last step writes
src/lacewing/builtin/{sparse,dense} in compact form; docs/models.md says what the pair can do.
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

CORPUS = "code:standard_library"
SPARSE = TrainConfig()
TWIN: dict[str, Any] = {"learning_rate": 0.006, "tokens": 4_000_000}
"""What the shipped pair was trained with; --tokens 30000000 makes it about an hour."""
SHIPPED = Path(__file__).parents[1] / "src" / "lacewing" / "builtin"


@dataclass(frozen=True)
class Recipe:
    """The builtin pair."""

    output: Path = Path("runs/builtin")
    """Where the runs are kept."""
    tokens: int = SPARSE.tokens
    """Training tokens of the sparse model."""


def main(recipe: Recipe) -> None:
    """Train both models, then write their compact form into the package."""
    sparse, dense = recipe.output / "sparse", recipe.output / "dense"
    train(dataclasses.replace(SPARSE, tokens=recipe.tokens), Corpus.parse(CORPUS), sparse)
    share = recipe.tokens / SPARSE.tokens
    train_twin(sparse, dense, TWIN | {"tokens": int(TWIN["tokens"] * share)})
    for run in (sparse, dense):
        print(release(run, SHIPPED / run.name))


if __name__ == "__main__":
    main(tyro.cli(Recipe))
