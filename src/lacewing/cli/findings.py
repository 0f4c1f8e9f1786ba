"""Findings as a table for a terminal: the numbers in columns, what they mean under each.

pass        sufficient.mean      0.114 [0.101, 0.130] nats   at most  0.15   n 256
            the circuit alone keeps the loss
            control 0.772: best of 8 random circuits
"""

import math
import shutil
import textwrap
from collections.abc import Sequence

from lacewing.verification.finding import Finding, LeftOut, outcome, verdict

WORDS = {True: "pass", False: "FAIL", None: "unresolved"}
COLOURS = {True: "32", False: "1;31", None: "33"}
"""ANSI codes: green, bold red, yellow; all readable on light and dark."""
INDENT = 12
"""Columns of the verdict, and of all that stands under it."""
WIDEST = 110
"""Longer lines are hard to read."""


def table(
    findings: Sequence[Finding],
    left_out: Sequence[LeftOut] = (),
    *,
    width: int | None = None,
    colour: bool = False,
) -> str:
    """All findings, what was left out, and the verdict.

    Args:
        findings: In the order in which they are shown.
        left_out: Tests that cannot exist for this circuit.
        width: Columns; by default those of the terminal.
        colour: Whether to colour verdicts, for a terminal.

    Returns:
        Lines of at most `width` columns, where words and names allow it.
    """
    width = min(width or shutil.get_terminal_size().columns, WIDEST)
    rows = [(f.name, number(f), threshold(f), f"n {f.n}") for f in findings]
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
    lines: list[str] = []
    for finding, row in zip(findings, rows, strict=True):
        lines += _row(finding, row, sizes, width, colour)
    for left in left_out:
        lines += _wrapped(f"{left.name}: {left.reason}", "left out".ljust(INDENT), width)
    return "\n".join([*lines, "", *_summary(findings, width, colour)])


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
    finding: Finding, cells: Sequence[str], sizes: Sequence[int], width: int, colour: bool
) -> list[str]:
    word = _painted(WORDS[finding.passed], finding.passed, colour, INDENT)
    line = "   ".join(c.ljust(size) for c, size in zip(cells, sizes, strict=True)).rstrip()
    if INDENT + len(line) <= width:
        lines = [word + line]
    else:  # a narrow terminal: the name above its numbers
        lines = [word + cells[0], *_packed(cells[1:], width)]
    lines += _wrapped(finding.meaning, " " * INDENT, width)
    if finding.control is not None:
        control = f"control {_short(finding.control)}: {finding.control_name}"
        lines += _wrapped(control, " " * INDENT, width)
    return lines


def _summary(findings: Sequence[Finding], width: int, colour: bool) -> list[str]:
    """The verdict, and how many tests stand behind it."""
    told = verdict([(finding.name, finding.passed) for finding in findings])
    passed = outcome(finding.passed for finding in findings)
    counts = [
        f"{sum(f.passed is one for f in findings)} {words}"
        for one, words in ((True, "passed"), (False, "failed"), (None, "unresolved"))
    ]
    first, *others = _wrapped(told, " " * INDENT, width)
    head = _painted("verdict", passed, colour, INDENT) + first[INDENT:]
    count = f"{len(findings)} tests: {', '.join(counts)}"
    return [head, *others, *_wrapped(count, " " * INDENT, width)]


def _painted(word: str, passed: bool | None, colour: bool, size: int) -> str:
    padded = word.ljust(size)
    if not colour:
        return padded
    return f"\033[{COLOURS[passed]}m{word}\033[0m{padded[len(word) :]}"


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
