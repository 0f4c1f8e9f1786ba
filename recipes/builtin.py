"""Train the pair of models that ships with the package: natural text alone, resumable anywhere.

    lacewing corpus build recipes/corpus.txt --output runs/corpus
    python recipes/builtin.py --corpus runs/corpus [--output runs/builtin] [--stop-after SECONDS]

One part: the corpus and the standard library's training files, read once on a schedule fixed
beforehand; then a dense twin of the same loss. Nothing in the text was written for a task. The
settings were chosen by bits per byte and learned tasks in small trials (recipes/trials.py,
docs/log.md); no circuit was looked at.

Run it again after an interruption and it goes on. Where the run is lost, recipes/warm/sparse (its
weights some way on, compact) is where a new one starts, on the same schedule. The last step writes
src/lacewing/builtin/{sparse,dense}.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from lacewing.artifacts import read_json
from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import Tokenizer
from lacewing.kernels.memory import keep_pages
from lacewing.progress import for_at_most
from lacewing.training.config import TrainConfig
from lacewing.training.loop import train
from lacewing.training.release import release
from lacewing.training.twin import train_twin

PAIR = TrainConfig(
    tokens=40_000_000,
    expansion=2.0,
    density=1 / 32,
    learning_rate=0.02,
    context=128,
    batch=16,
    zeros_from_every=4,
    evaluate_every=500,
    checkpoint_seconds=300,
    snapshots=16,
    keep=(0.5, 0.7),
)
TWIN: dict[str, Any] = {
    "d_model": 80,
    "d_head": 16,
    "learning_rate": 0.003,
    "tokens": 24_000_000,
    "keep": (),
}
"""A dense model of the same loss: so narrow that it reads half of the sparse model's text till then
(docs/models.md has the other widths)."""
WARM = Path(__file__).parent / "warm" / "sparse"
SHIPPED = Path(__file__).parents[1] / "src" / "lacewing" / "builtin"


@dataclass(frozen=True)
class Recipe:
    """The builtin pair."""

    corpus: Path
    """Folder of the corpus (`lacewing corpus build recipes/corpus.txt`)."""
    output: Path = Path("runs/builtin")
    """Where the runs are kept."""
    threads: int = 1
    """Threads of the training; two where the machine is quiet."""
    stop_after: int = 0
    """Seconds after which training stops with exit status 75, to go on later; 0: never."""


def begun(output: Path) -> TrainConfig:
    """The configuration of the run in a folder, or of a new one, warm where it can be."""
    if (output / "config.json").exists():
        saved = read_json(output / "config.json")["training"]
        return dataclasses.replace(PAIR, start=saved["start"], start_step=saved["start_step"])
    if (WARM / "manifest.json").exists():
        step = read_json(WARM / "summary.json")["steps"]
        return dataclasses.replace(PAIR, start=str(WARM), start_step=step)
    return PAIR


def main(recipe: Recipe) -> None:
    """Train both models, then write their compact form into the package."""
    keep_pages()
    torch.set_num_threads(recipe.threads)
    corpus = Corpus.parse(f"code:{recipe.corpus.resolve()}+standard_library")
    tokenizer = Tokenizer.load(recipe.corpus / "tokenizer.json")
    sparse, dense = recipe.output / "sparse", recipe.output / "dense"
    with for_at_most(recipe.stop_after):
        train(begun(sparse), corpus, sparse, tokenizer=tokenizer)
        train_twin(sparse, dense, TWIN)
    for run in (sparse, dense):
        print(release(run, SHIPPED / run.name))


if __name__ == "__main__":
    main(tyro.cli(Recipe))
