"""Progress of long work, on standard error: how far, how fast, how long still.

On a terminal a bar is drawn by rich, in a notebook one line is redrawn; elsewhere a line is printed
every few seconds, so that a log file stays short. Standard output is left to results. Where nobody
reads standard error any more, nothing is said and the work goes on.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

QUIET_SECONDS = 15.0
"""Time between lines where standard error is no terminal."""
ROOM = 70
"""Columns from which on a bar is drawn beside the words."""
UNWRITABLE = (OSError, ValueError, AttributeError)
"""What printing raises on a stream that is broken, closed, or was never there."""

OUT_OF_TIME = 75
"""Exit status of work that ended at its time limit, to go on later."""

Watcher = Callable[[str, int | float, int | float], None]
"""Takes what is done, how much of it is, and of how much; what it raises ends the work."""
_WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


class Progress:
    """Tells how far one piece of work is; made by `progress`."""

    def __init__(self, label: str, total: int | float, unit: str, shown: bool) -> None:
        self.label, self.total, self.unit, self.shown = printable(label), total, unit, shown
        self.notebook = _notebook() if shown else None
        self.bar = _Bar(self.label, total) if shown and not self.notebook and _terminal() else None
        self.live = self.notebook is not None or self.bar is not None
        self.start = self.printed = time.monotonic()
        self.first: float | None = None  # where a resumed job began; its rate counts from there

    def update(self, done: int | float, note: str | Callable[[], str] = "") -> None:
        """Say that `done` of `total` units are finished.

        `note` is added to the line; a function is asked for it only when a line is due, for notes
        that would make the computer wait for a GPU.
        """
        if (watcher := _WATCHER.get()) is not None:
            watcher(self.label, done, self.total)
        now = time.monotonic()
        if self.first is None:
            self.first, self.start = done, now
        wait = 0.2 if self.live else QUIET_SECONDS
        if not self.shown or (now - self.printed < wait and done < self.total):
            return
        self.printed = now
        rate = (done - self.first) / max(now - self.start, 1e-9)
        left = duration((self.total - done) / rate) if rate > 0 else "?"
        percent = f"{100 * done / max(self.total, 1):3.0f} %"
        facts = [percent, *([f"{short(rate)} {self.unit}/s", f"{left} left"] if rate > 0 else [])]
        facts.append(printable(note() if callable(note) else note))
        if self.bar is not None:
            self.bar.show(done, facts)
        else:
            self._line("  ".join(filter(None, [self.label, *facts])))

    def close(self) -> None:
        """Take the line away, where it is one that is redrawn."""
        if self.bar is not None:
            self.bar.close()
        elif self.live and self.shown:
            self._line("")

    def _line(self, line: str) -> None:
        if self.notebook is not None:
            self.notebook(line)
        else:
            say(line)


class _Bar:
    """One of the bars that stand under each other at the foot of a terminal.

    Whatever goes wrong with drawing, the work goes on.
    """

    bars: "Bars | None" = None
    """What draws them all, while there are any."""

    def __init__(self, label: str, total: int | float) -> None:
        with suppress(Exception):
            if _Bar.bars is None:
                _Bar.bars = _bars()
                _Bar.bars.start()
            self.task = _Bar.bars.add_task(label, total=total or 1, facts="")

    def show(self, done: int | float, facts: list[str]) -> None:
        """Draw it anew."""
        with suppress(Exception):
            if _Bar.bars is not None:
                _Bar.bars.update(self.task, completed=done, facts="  ".join(facts))
                _Bar.bars.refresh()

    def close(self) -> None:
        """Take it away; the last takes the display with it."""
        bars = _Bar.bars
        with suppress(Exception):
            if bars is not None:
                bars.remove_task(self.task)
        if bars is not None and not bars.tasks:
            _Bar.bars = None
            with suppress(Exception):
                bars.stop()


def _bars() -> "Bars":
    """The display of all bars: on a narrow terminal words alone, cut at its edge."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    class Quiet(Console):
        """Rich's own ends the program where nobody reads any more."""

        def on_broken_pipe(self) -> None:
            """Leave it to who draws."""
            raise

    console = Quiet(file=sys.stderr, highlight=False, markup=False, emoji=False)
    plain: dict[str, Any] = {"markup": False}
    cut = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    colours: dict[str, Any] = {"complete_style": "blue", "finished_style": "blue"}
    bar = [BarColumn(bar_width=20, **colours)] if console.width >= ROOM else []
    return Bars(
        TextColumn("{task.description}", **plain),
        *bar,
        TextColumn("{task.fields[facts]}", table_column=cut, **plain),
        console=console,
        transient=True,
        auto_refresh=False,
        redirect_stdout=False,
        expand=True,
    )


def _terminal() -> bool:
    """Whether standard error is a terminal on which a line can be redrawn."""
    with suppress(*UNWRITABLE):
        return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")
    return False


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


@contextmanager
def watched(by: Watcher) -> Iterator[None]:
    """Tell somebody how far all work of the block is, shown or not; by raising they can end it.

    Args:
        by: Called at every step, in the thread that runs the block.

    Example:
        >>> seen = []
        >>> with watched(lambda label, done, total: seen.append((label, done, total))):
        ...     with progress("tokens", 2, shown=False) as bar:
        ...         bar.update(1)
        >>> seen
        [('tokens', 1, 2)]
    """
    token = _WATCHER.set(by)
    try:
        yield
    finally:
        _WATCHER.reset(token)


class OutOfTimeError(BaseException):
    """Raised by the alarm, wherever the work stands; what was kept stands."""


@contextmanager
def for_at_most(seconds: int) -> Iterator[None]:
    """End what runs inside with exit status 75 after so many seconds, with a line; 0: never.

    It is for work whose same command goes on, in the main thread of a program.

    Raises:
        SystemExit: the time is up.

    Example:
        >>> with for_at_most(60):
        ...     1 + 1
        2
    """

    def stop(*_: object) -> None:
        raise OutOfTimeError

    if seconds:
        signal.signal(signal.SIGALRM, stop)
        signal.alarm(seconds)
    try:
        yield
    except OutOfTimeError:
        print("time is up; the same command goes on", file=sys.stderr)
        raise SystemExit(OUT_OF_TIME) from None
    finally:
        if seconds:
            signal.alarm(0)


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
    """Print one line to standard error, or nothing where it cannot be written."""
    if shown:
        with suppress(*UNWRITABLE):
            print(printable(text), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    r"""A text with every sign that would steer a terminal written as its number; lines stay.

    Names of tasks, circuits and folders come from files that somebody else may have written.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode()
        for one in text
    )


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
