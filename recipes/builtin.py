"""Train the pair of models that ships with the package: resumable, about an hour on two cores.

    python recipes/builtin.py [--output runs/builtin] [--tokens 36000000]

It learns from the standard library and from every package installed beside this interpreter, which
is text enough to be read about once; prompts come from the standard library's task split alone, so
that the pair can be asked about tasks wherever Python is.

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

CORPUS = "code:standard_library+installed_packages"
PROMPTS = "code:standard_library"
SPARSE = TrainConfig(tokens=36_000_000)
TWIN: dict[str, Any] = {"d_model": 256}
"""Narrower than the sparse model, so that its file stays under 8 MB with most of its bigram table."""
TWIN_SHARE = 0.75
"""Most tokens the twin may read, as a share of the sparse model's; it stops when it meets its loss."""
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
    train_twin(sparse, dense, TWIN | {"tokens": int(TWIN_SHARE * recipe.tokens)})
    for run in (sparse, dense):
        print(release(run, SHIPPED / run.name, prompts=PROMPTS))


if __name__ == "__main__":
    main(tyro.cli(Recipe))
