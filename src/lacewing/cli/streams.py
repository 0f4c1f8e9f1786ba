r"""What leaves the program: results, errors, and what becomes of them where a stream fails.

    tell(text)       to standard output; what cannot be encoded is written as its number
    complain(text)   one line to standard error; where nobody reads it, nothing is said
    caught()         what a library prints meanwhile, as text

Text that came from a file is shown as text: a sign that would steer a terminal is written as its
number, and keys of the environment are left out. Standard output that is closed by its reader
(`| head`) has been read enough: the exit status is that of the work. One that cannot be written (a
full disk) is an error, though what was made is kept.
"""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lacewing.errors import LacewingError
from lacewing.progress import printable, say

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

LONGEST = 1500
"""Characters of an error; the middle of a longer one is left out."""
WIDE = 4000
"""Columns where standard output is no terminal and COLUMNS is not set: nothing is broken."""
SECRET = re.compile(r"(?i)(key|token|secret|passw|credential)")
USER = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")


class OutputError(LacewingError):
    """Standard output cannot be written."""


def prepare() -> None:
    """Set standard output and error up so that printing text does not fail.

    One that was closed before the program began is the null device.
    """
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def tell(shown: "RenderableType", ours: bool = False) -> None:
    """Print a result: text, or what rich draws, such as a table.

    Args:
        shown: What to print.
        ours: Text of nobody else's, such as help with its colours: printed as it is.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        if isinstance(shown, str):
            print(shown if ours else redacted(printable(shown)))
        else:
            print(redacted(drawn(shown)))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        _give_up(sys.stdout)
    except (OSError, ValueError) as error:
        _give_up(sys.stdout)
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"standard output cannot be written ({reason}); what was made is kept"
        ) from error


def drawn(shown: "RenderableType", width: int | None = None) -> str:
    """What rich makes of a table for standard output: no colour under NO_COLOR or in a pipe.

    Args:
        shown: The table.
        width: Columns; by default those of the terminal or of COLUMNS, and in a pipe, where nothing
            needs to be broken, as many as it takes.
    """
    from rich.console import Console

    known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    console = Console(
        width=width or (None if known else WIDE), highlight=False, markup=False, emoji=False
    )
    with console.capture() as kept:
        console.print(_AsText(shown))
    return "\n".join(line.rstrip() for line in kept.get().splitlines())


@dataclass
class _AsText:
    """What is to be shown, with every sign in it that would steer a terminal as its number."""

    shown: "RenderableType"

    def __rich_console__(
        self, console: "Console", options: "ConsoleOptions"
    ) -> Iterator["Segment"]:
        from rich.segment import Segment

        for segment in console.render(self.shown, options):
            yield Segment(printable(segment.text), segment.style)


def complain(text: str) -> None:
    """One line to standard error, whatever the text holds."""
    line = redacted(printable(" ".join(text.split())))
    if len(line) > LONGEST:
        line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
    say(line)


def redacted(text: str) -> str:
    """A text without the values of the environment's keys, and without passwords in addresses.

    >>> redacted("at https://ann:secret@example.org/")
    'at https://[left out]@example.org/'
    """
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= 8 and value in text:
            text = text.replace(value, f"[{name} left out]")
    return USER.sub("[left out]", text)


@dataclass
class Caught:
    """What was printed."""

    out: str = ""
    err: str = ""
    _streams: list[io.StringIO] = field(default_factory=list)


@contextlib.contextmanager
def caught() -> Iterator[Caught]:
    """Keep what is printed in the block, which sees the terminals that are really there."""
    found = Caught()
    out, err = _Kept(sys.stdout), _Kept(sys.stderr)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield found
    finally:
        found.out, found.err = out.getvalue(), err.getvalue()


class _Kept(io.StringIO):
    """Text in memory that says of itself what the real stream says."""

    def __init__(self, real: Any) -> None:
        super().__init__()
        self._real = real

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The real one's."""
        return str(getattr(self._real, "encoding", None) or "utf-8")

    def isatty(self) -> bool:
        """Whether the real one is a terminal."""
        return bool(self._real.isatty())


def _give_up(stream: Any) -> None:
    """Send what is still buffered nowhere, so that the end of the program does not fail on it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
