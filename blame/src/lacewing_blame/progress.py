"""Progress of long work, on standard error: how far, and how long still.

On a terminal one line is redrawn; elsewhere a line is printed every few seconds, so that a log file
stays short. Standard output is left to results.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

LIVE_SECONDS, QUIET_SECONDS = 0.2, 15.0
"""Time between lines on a terminal, and elsewhere."""


class Progress:
    """Tells how far one piece of work is; made by `progress`."""

    def __init__(self, label: str, total: int, unit: str, shown: bool) -> None:
        self.label, self.total, self.unit, self.shown = label, total, unit, shown
        self.live = sys.stderr.isatty()
        self.start = self.printed = time.monotonic()

    def update(self, done: int) -> None:
        """Say that so many units are finished."""
        now = time.monotonic()
        wait = LIVE_SECONDS if self.live else QUIET_SECONDS
        if not self.shown or (now - self.printed < wait and done < self.total):
            return
        self.printed = now
        left = (now - self.start) * (self.total - done) / max(done, 1)
        line = f"{self.label}  {done} of {self.total} {self.unit}  {duration(left)} left"
        if self.live:
            print(f"\r\033[2K{line}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)


@contextmanager
def progress(label: str, total: int, unit: str = "", shown: bool = True) -> Iterator[Progress]:
    """Report on one piece of work of `total` units while the block runs.

    >>> with progress("asking", 2, "logs", shown=False) as bar:
    ...     bar.update(1)
    """
    bar = Progress(label, total, unit, shown)
    try:
        yield bar
    finally:
        if bar.live and bar.shown:
            print("\r\033[2K", end="", file=sys.stderr, flush=True)


def duration(seconds: float | int) -> str:
    """Seconds as people write them.

    >>> duration(200.0)
    '3 min 20 s'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
