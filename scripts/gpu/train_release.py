"""Train the builtin pair's recipe several times larger on one GPU, in pieces that fit a limit.

    python scripts/gpu/train_release.py --corpus CORPUS --output OUT [--minutes 9]
        [--size small|medium|large]

Each call trains until its time is up, leaves a checkpoint in OUT and says so; call it again until
it says that both models are released. OUT/release/{sparse,dense} then hold the compact models. Runs
on a CPU too, slowly.
"""

import dataclasses
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "recipes"))

from builtin import PAIR

from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import Tokenizer
from lacewing.training.loop import train
from lacewing.training.release import release
from lacewing.training.twin import train_twin

SIZES = {
    "small": {"n_layer": 3, "expansion": 3, "density": 1 / 64, "tokens": 600_000_000},
    "medium": {"n_layer": 4, "expansion": 4, "density": 1 / 64, "tokens": 1_000_000_000},
    "large": {"n_layer": 8, "expansion": 6, "density": 1 / 128, "tokens": 2_000_000_000},
}
"""What each size changes of the recipe of the builtin pair."""


@dataclass(frozen=True)
class Release:
    """One piece of a larger training."""

    corpus: Path
    """Folder of the corpus (`lacewing corpus build recipes/corpus.txt`)."""
    output: Path
    """Where runs, checkpoints and the released models are kept."""
    minutes: float = 9.0
    """Time after which this piece stops, with a checkpoint."""
    size: Literal["small", "medium", "large"] = "small"
    """Which pair."""


class OutOfTimeError(Exception):
    """Raised by the alarm in the middle of a step; the last checkpoint stands."""


def main(arguments: Release) -> None:
    """Train until done or out of time."""

    def stop(*_: object) -> None:
        raise OutOfTimeError

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, arguments.minutes * 60)
    sparse, dense = arguments.output / "sparse", arguments.output / "dense"
    settings = SIZES[arguments.size] | {"batch": 256, "checkpoint_seconds": 30, "snapshots": 0}
    config = dataclasses.replace(PAIR, **settings)
    corpus = Corpus.parse(f"code:{arguments.corpus.resolve()}+standard_library")
    try:
        train(config, corpus, sparse, tokenizer=Tokenizer.load(arguments.corpus / "tokenizer.json"))
        train_twin(sparse, dense, {"keep": ()})
        signal.setitimer(signal.ITIMER_REAL, 0)
    except OutOfTimeError:
        print("time is up; call again to go on", file=sys.stderr)
        raise SystemExit(75) from None
    for run in (sparse, dense):
        print(release(run, arguments.output / "release" / run.name))


if __name__ == "__main__":
    main(tyro.cli(Release))
