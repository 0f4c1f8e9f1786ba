"""Progress of long work, on standard error: how far, how fast, how long still.

On a terminal or in a notebook one line is redrawn; elsewhere a line is printed every few seconds,
so that a log file stays short. Standard output is left to results.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

QUIET_SECONDS = 15.0
"""Time between lines where standard error is no terminal."""


class Progress:
    """Tells how far one piece of work is; made by `progress`."""

    def __init__(self, label: str, total: int | float, unit: str, shown: bool) -> None:
        self.label, self.total, self.unit, self.shown = label, total, unit, shown
        self.notebook = _notebook() if shown else None
        self.live = self.notebook is not None or sys.stderr.isatty()
        self.start = self.printed = time.monotonic()
        self.first: float | None = None  # where a resumed job began; its rate counts from there

    def update(self, done: int | float, note: str | Callable[[], str] = "") -> None:
        """Say that `done` of `total` units are finished.

        `note` is added to the line; a function is asked for it only when a line is due, for notes
        that would make the computer wait for a GPU.
        """
        now = time.monotonic()
        if self.first is None:
            self.first, self.start = done, now
        wait = 0.2 if self.live else QUIET_SECONDS
        if not self.shown or (now - self.printed < wait and done < self.total):
            return
        self.printed = now
        rate = (done - self.first) / max(now - self.start, 1e-9)
        left = duration((self.total - done) / rate) if rate > 0 else "?"
        line = f"{self.label}  {100 * done / max(self.total, 1):3.0f} %"
        line += f"  {short(rate)} {self.unit}/s  {left} left" if rate > 0 else ""
        note = note() if callable(note) else note
        line += f"  {note}" if note else ""
        self._redraw(line)

    def close(self) -> None:
        """Take the line away, where it is one that is redrawn."""
        if self.live and self.shown:
            self._redraw("")

    def _redraw(self, line: str) -> None:
        if self.notebook is not None:
            self.notebook(line)
        elif self.live:
            print(f"\r\033[2K{line}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)


@contextmanager
def progress(
    label: str, total: int | float, unit: str = "", shown: bool = True
) -> Iterator[Progress]:
    """Report on one piece of work of `total` units while the block runs."""
    bar = Progress(label, total, unit, shown)
    try:
        yield bar
    finally:
        bar.close()


def _notebook() -> Callable[[str], None] | None:
    """What redraws one line under a notebook's cell; none where this is no notebook."""
    shell: Any = sys.modules.get("IPython")
    running = shell and shell.get_ipython()
    if not running or not hasattr(running, "kernel"):
        return None
    from IPython.display import display

    plain = {"raw": True, "display_id": True}
    handle: list[Any] = []

    def redraw(line: str) -> None:
        content = {"text/plain": line}
        if handle:
            handle[0].update(content, raw=True)
        elif line:
            handle.append(display(content, **plain))

    return redraw


def say(text: str, shown: bool = True) -> None:
    """Print one line to standard error."""
    if shown:
        print(text, file=sys.stderr, flush=True)


def duration(seconds: int | float) -> str:
    """Seconds as people write them: 45 s, 3 min 20 s, 2 h 5 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def about(seconds: int | float) -> str:
    """Seconds that nobody knows exactly, in one unit: about 40 s, about 12 min, about 3 h.

    Example:
        >>> about(700)
        'about 12 min'
    """
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {seconds:.0f} s"


def short(number: int | float) -> str:
    """A rate in at most four characters: 7.3, 482, 18k, 2.1M."""
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= factor:
            return (
                f"{number / factor:.2g}{suffix}"
                if number < 10 * factor
                else f"{number / factor:.0f}{suffix}"
            )
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"
