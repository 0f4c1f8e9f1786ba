"""Train a larger pair on one GPU, in pieces that fit a time limit.

    python scripts/gpu/train_release.py --output OUT [--minutes 9] [--size small|medium|large]

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

from lacewing.data.corpus import Corpus
from lacewing.training.config import TrainConfig
from lacewing.training.loop import train
from lacewing.training.release import release
from lacewing.training.twin import train_twin

BASE = TrainConfig(
    checkpoint_seconds=30, evaluate_every=250, batch=128, context=256, anneal="geometric"
)
SIZES = {
    "small": dataclasses.replace(BASE, n_layer=4, expansion=2, density=1 / 32, tokens=300_000_000),
    "medium": dataclasses.replace(BASE, n_layer=4, expansion=4, density=1 / 64, tokens=600_000_000),
    "large": dataclasses.replace(
        BASE, n_layer=8, expansion=4, density=1 / 64, tokens=1_000_000_000
    ),
}


@dataclass(frozen=True)
class Release:
    """One piece of a larger training."""

    output: Path
    """Where runs, checkpoints and the released models are kept."""
    minutes: float = 9.0
    """Time after which this piece stops, with a checkpoint."""
    size: Literal["small", "medium", "large"] = "small"
    """Which pair."""
    corpus: str = "code:standard_library+installed_packages"
    """Text to train on."""


class OutOfTimeError(Exception):
    """Raised by the alarm in the middle of a step; the last checkpoint stands."""


def main(arguments: Release) -> None:
    """Train until done or out of time."""

    def stop(*_: object) -> None:
        raise OutOfTimeError

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, arguments.minutes * 60)
    sparse, dense = arguments.output / "sparse", arguments.output / "dense"
    try:
        train(SIZES[arguments.size], Corpus.parse(arguments.corpus), sparse)
        train_twin(sparse, dense)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except OutOfTimeError:
        print("time is up; call again to go on", file=sys.stderr)
        raise SystemExit(75) from None
    for run in (sparse, dense):
        print(release(run, arguments.output / "release" / run.name))


if __name__ == "__main__":
    main(tyro.cli(Release))
