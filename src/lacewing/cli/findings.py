"""Findings as a table for a terminal: the numbers in columns, what they mean under each.

pass        sufficient.mean      0.114 [0.101, 0.130] nats   at most  0.15   n 256
            the circuit alone keeps the loss
            control 0.772: best of 8 random circuits
"""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lacewing.verification.finding import Finding, LeftOut, outcome, verdict

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

WORDS = {True: "pass", False: "FAIL", None: "unresolved"}
STYLES = {True: "green", False: "bold red", None: "yellow"}
"""All readable on light and dark."""
INDENT = 12
"""Columns of the verdict, and of all that stands under it."""
WIDEST = 110
"""Longer lines are hard to read."""


@dataclass(frozen=True)
class Findings:
    """All findings, what was left out, and the verdict, as rich draws them.

    Lines are no wider than the terminal, where words and names allow it.
    """

    findings: Sequence[Finding]
    """In the order in which they are shown."""
    left_out: Sequence[LeftOut] = ()
    """Tests that cannot exist for this circuit."""

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> Iterator["Text"]:
        """The lines."""
        from rich.text import Text

        width = min(options.max_width, WIDEST)
        for word, style, line in self._lines(width):
            yield Text.assemble((word, style), line, no_wrap=True, overflow="ignore")

    def _lines(self, width: int) -> Iterator[tuple[str, str, str]]:
        """Each line in two parts, with the style of the first."""
        rows = [(f.name, number(f), threshold(f), f"n {f.n}") for f in self.findings]
        sizes = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
        for finding, row in zip(self.findings, rows, strict=True):
            yield from _row(finding, row, sizes, width)
        for left in self.left_out:
            yield from _plain(
                _wrapped(f"{left.name}: {left.reason}", "left out".ljust(INDENT), width)
            )
        yield "", "", ""
        yield from _summary(self.findings, width)


def number(finding: Finding) -> str:
    """The value with its interval and unit."""
    words = _short(finding.value)
    if finding.low is not None and finding.high is not None:
        words += f" [{_short(finding.low)}, {_short(finding.high)}]"
    return f"{words} {finding.unit}"


def threshold(finding: Finding) -> str:
    """What the value had to reach."""
    return f"at {'most ' if finding.at_most else 'least'} {finding.threshold:.3g}"


def _row(
    finding: Finding, cells: Sequence[str], sizes: Sequence[int], width: int
) -> Iterator[tuple[str, str, str]]:
    word, style = WORDS[finding.passed].ljust(INDENT), STYLES[finding.passed]
    line = "   ".join(c.ljust(size) for c, size in zip(cells, sizes, strict=True)).rstrip()
    if INDENT + len(line) <= width:
        yield word, style, line
    else:  # a narrow terminal: the name above its numbers
        yield word, style, cells[0]
        yield from _plain(_packed(cells[1:], width))
    yield from _plain(_wrapped(finding.meaning, " " * INDENT, width))
    if finding.control is not None:
        control = f"control {_short(finding.control)}: {finding.control_name}"
        yield from _plain(_wrapped(control, " " * INDENT, width))


def _summary(findings: Sequence[Finding], width: int) -> Iterator[tuple[str, str, str]]:
    """The verdict, and how many tests stand behind it."""
    told = verdict([(finding.name, finding.passed) for finding in findings])
    passed = outcome(finding.passed for finding in findings)
    counts = [
        f"{sum(f.passed is one for f in findings)} {words}"
        for one, words in ((True, "passed"), (False, "failed"), (None, "unresolved"))
    ]
    first, *others = _wrapped(told, " " * INDENT, width)
    yield "verdict".ljust(INDENT), STYLES[passed], first[INDENT:]
    yield from _plain(others)
    count = f"{len(findings)} tests: {', '.join(counts)}"
    yield from _plain(_wrapped(count, " " * INDENT, width))


def _plain(lines: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    return (("", "", line) for line in lines)


def _short(value: float) -> str:
    if math.isnan(value):
        return "none"
    if math.isinf(value):
        return "infinite"
    return f"{value:.3g}" if abs(value) >= 100 else f"{value:.3f}"


def _packed(cells: Sequence[str], width: int) -> list[str]:
    """As many cells on a line as fit, none of them broken."""
    lines = [""]
    for cell in cells:
        if lines[-1] and INDENT + len(lines[-1]) + 3 + len(cell) > width:
            lines.append("")
        lines[-1] += f"   {cell}" if lines[-1] else cell
    return [" " * INDENT + line for line in lines]


def _wrapped(text: str, first: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, INDENT + 20),
        initial_indent=first,
        subsequent_indent=" " * INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
