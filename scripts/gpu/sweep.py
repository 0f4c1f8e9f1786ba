"""Run a sweep on one GPU machine, in pieces that fit a time limit.

    python scripts/gpu/sweep.py --output OUT [--config recipes/sweep_gpu.json] [--minutes 9]

Each call goes on until its time is up and says so, with exit code 75; call it again until it ends
with the tables. At most half a minute of training and one pruning per process are lost between
calls. Models train one at a time on the GPU; prunings share the cores. Runs on a CPU too, slowly.
"""

import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from lacewing.errors import LacewingError
from lacewing.sweep.config import read_config
from lacewing.sweep.pool import Pool
from lacewing.sweep.run import sweep
from lacewing.sweep.writing import short

RECIPE = Path(__file__).parents[2] / "recipes" / "sweep_gpu.json"


@dataclass(frozen=True)
class Piece:
    """One piece of a sweep."""

    output: Path
    """The sweep's folder."""
    config: Path = RECIPE
    """JSON file of settings."""
    minutes: float = 9.0
    """Time after which this piece stops."""
    processes: int = 0
    """Prunings at once; 0: as many as there are cores."""
    training_processes: int = 1
    """Models trained at once."""


class OutOfTimeError(BaseException):
    """Raised by the alarm; no job takes it for a failure of its own."""


def main(piece: Piece) -> None:
    """Sweep until done or out of time."""

    def stop(*_: object) -> None:
        raise OutOfTimeError

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, piece.minutes * 60)
    pool = Pool(processes=piece.processes, training_processes=piece.training_processes)
    try:
        result = sweep(read_config(piece.config), piece.output, pool)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except OutOfTimeError:
        print("time is up; call again to go on", file=sys.stderr)
        raise SystemExit(75) from None
    except LacewingError as error:
        print(f"lacewing: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    print(short(result))


if __name__ == "__main__":
    main(tyro.cli(Piece))
