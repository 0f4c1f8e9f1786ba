"""Two densities of the builtin recipe at half its width and a middle length, each with its twin.

    lacewing corpus build recipes/corpus.txt --output runs/corpus
    python recipes/densities.py --corpus runs/corpus [--output runs/densities]

All settings but width, density and the number of tokens are those of the builtin pair, so that what
a density costs and what its circuits cost can be set side by side (recipes/compare.py). One density
is the builtin's, the other has as many nonzeros as the builtin at twice the width. Whole
checkpoints are kept at half of the way, for branches (recipes/proof.py), and compact ones at
logarithmic steps (`lacewing emerge`). Run it again after an interruption and it goes on.

OUTPUT/NAME.json says what came of a pair: both validation losses, and where the twin has read its
text and is off by more than 0.02 nats, that too; the next density goes on.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from lacewing import artifacts
from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ConfigError
from lacewing.kernels.memory import keep_pages
from lacewing.model.shipped import folder_of
from lacewing.progress import for_at_most
from lacewing.training.loop import train
from lacewing.training.run import Run, finished, read_run, training_of
from lacewing.training.twin import train_twin

DENSITIES = {"32nd": 1 / 32, "8th": 1 / 8}
"""Folders, and nonzero fractions of block matrices."""
TWIN = {"d_model": 80, "d_head": 16, "learning_rate": 0.003, "keep": (), "snapshots": 0}
"""The shape of the builtin twin."""


@dataclass(frozen=True)
class Recipe:
    """Pairs of a middle length."""

    corpus: Path
    """Folder of the corpus (`lacewing corpus build recipes/corpus.txt`)."""
    output: Path = Path("runs/densities")
    """Where the runs are kept: OUTPUT/sparse-NAME and OUTPUT/dense-NAME."""
    only: tuple[str, ...] = tuple(DENSITIES)
    """Names of densities."""
    tokens: int = 6_000_000
    """Text that each sparse model reads, and the most that a twin may."""
    seed: int = 0
    """Seed of the weights and of the order of the text."""
    threads: int = 1
    """Threads of the training."""
    stop_after: int = 0
    """Seconds after which training stops with exit status 75, to go on later; 0: never."""


def paired(recipe: Recipe, name: str, sparse: Run, changes: dict[str, Any]) -> dict[str, Any]:
    """Train a sparse run's twin; what came of the pair, which is kept."""
    place = recipe.output / f"dense-{name}"
    row = {"density": DENSITIES[name], "sparse": sparse.validation_loss, "error": None}
    try:
        twin = train_twin(sparse.folder, place, changes)
    except ConfigError as error:
        if not finished(place):  # it has not been trained
            raise
        twin, row["error"] = read_run(place), str(error)
    row |= {"dense": twin.validation_loss, "steps": twin.steps}
    artifacts.write_json(recipe.output / f"{name}.json", row)
    return row


def main(recipe: Recipe) -> None:
    """Train the pairs one after the other."""
    keep_pages()
    torch.set_num_threads(recipe.threads)
    corpus = Corpus.parse(f"code:{recipe.corpus.resolve()}+standard_library")
    tokenizer = Tokenizer.load(recipe.corpus / "tokenizer.json")
    whole = training_of(folder_of("builtin:sparse"))
    with for_at_most(recipe.stop_after):
        for name in recipe.only:
            config = dataclasses.replace(
                whole,
                expansion=1.0,
                tokens=recipe.tokens,
                density=DENSITIES[name],
                keep=(0.5,),
                seed=recipe.seed,
            )
            place = recipe.output / f"sparse-{name}"
            sparse = train(config, corpus, place, tokenizer=tokenizer)
            print(name, paired(recipe, name, sparse, TWIN | {"tokens": recipe.tokens}))


if __name__ == "__main__":
    main(tyro.cli(Recipe))
