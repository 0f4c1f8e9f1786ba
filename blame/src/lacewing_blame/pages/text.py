"""The text of a step as HTML: everything escaped, evidence and values marked, long parts folded.

Spans may overlap, so the text is cut at every span's ends, and each piece is marked with whatever
covers it. A stretch without evidence that is longer than a few lines is folded away behind its
length; a browser's own search opens it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import islice, pairwise

HEAD, TAIL = 320, 160
"""Characters of a long stretch that stay visible before and after its fold."""
FOLDED = 480
"""Characters below which nothing is folded away."""
MOST_PLACES = 40
"""Places marked per value and step."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A stretch of text that something is said about."""

    start: int
    end: int
    kind: str
    """CSS class: for, against or value."""
    reason: str = ""
    """Shown when the reader points at it."""
    value: int | None = None
    """Number of the value of the final answer that stands here."""


def marked(text: str, marks: Iterable[Mark], visible: int = HEAD) -> str:
    """The HTML of a text.

    Args:
        text: Whatever the log holds; nothing in it becomes markup.
        marks: What to mark; ends outside the text are moved to its ends.
        visible: Characters to show before the first fold.
    """
    inside = [m for m in (_clamped(mark, len(text)) for mark in marks) if m.start < m.end]
    inside.sort(key=lambda m: (m.start, m.end))
    pieces = []
    for start, end, covering in _pieces(len(text), inside):
        if any(mark.kind != "value" for mark in covering):
            pieces.append((start, end, False))
        elif pieces and pieces[-1][2]:
            pieces[-1] = (pieces[-1][0], end, True)
        else:
            pieces.append((start, end, True))
    return "".join(
        _stretch(text, start, end, inside, (visible if start == 0 else HEAD) if foldable else None)
        for start, end, foldable in pieces
    )


def places(value: str, text: str) -> list[tuple[int, int]]:
    """Where a text holds a value as a word of its own; at most `MOST_PLACES`."""
    before = r"(?<![\w.])" if value[:1].isdigit() else r"(?<!\w)" if value[:1].isalnum() else ""
    after = r"(?!\w|\.\d)" if value[-1:].isdigit() else r"(?!\w)" if value[-1:].isalnum() else ""
    found = re.finditer(before + re.escape(value) + after, text)
    return [match.span() for match in islice(found, MOST_PLACES)] if value else []


def _stretch(text: str, start: int, end: int, marks: Sequence[Mark], head: int | None) -> str:
    """A part of the text, its middle folded where it is long and may be."""
    if head is None or end - start <= max(FOLDED, head + TAIL):
        return _flat(text, start, end, marks)
    first, last = _line_end(text, start + head), _line_start(text, end - TAIL)
    if last - first < TAIL:
        return _flat(text, start, end, marks)
    return (
        _flat(text, start, first, marks)
        + f"<details class=fold><summary>{last - first:,} more characters</summary>"
        + f"{_flat(text, first, last, marks)}</details>"
        + _flat(text, last, end, marks)
    )


def _flat(text: str, start: int, end: int, marks: Sequence[Mark]) -> str:
    """A part of the text without folds."""
    near = [
        Mark(max(m.start, start) - start, min(m.end, end) - start, m.kind, m.reason, m.value)
        for m in marks
        if m.start < end and m.end > start
    ]
    return "".join(
        _tagged(text[start + low : start + high], covering)
        for low, high, covering in _pieces(end - start, near)
    )


def _tagged(piece: str, covering: Sequence[Mark]) -> str:
    if not covering:
        return escape(piece)
    kinds = " ".join(dict.fromkeys(mark.kind for mark in covering))
    reasons = "; ".join(dict.fromkeys(mark.reason for mark in covering if mark.reason))
    title = f' title="{escape(reasons)}"' if reasons else ""
    values = " ".join(str(mark.value) for mark in covering if mark.value is not None)
    number = f' data-values="{values}"' if values else ""
    return f'<mark class="{kinds}"{number}{title}>{escape(piece)}</mark>'


def _pieces(length: int, marks: Sequence[Mark]) -> list[tuple[int, int, list[Mark]]]:
    """The text cut at all ends of marks (sorted by start), each piece with what covers it."""
    cuts = sorted({0, length, *(m.start for m in marks), *(m.end for m in marks)})
    found, active, upcoming = [], [], list(reversed(marks))
    for start, end in pairwise(cuts):
        while upcoming and upcoming[-1].start <= start:
            active.append(upcoming.pop())
        active = [mark for mark in active if mark.end > start]
        found.append((start, end, list(active)))
    return found


def _clamped(mark: Mark, length: int) -> Mark:
    start, end = max(0, min(mark.start, length)), max(0, min(mark.end, length))
    return Mark(start, end, mark.kind, mark.reason, mark.value)


def _line_end(text: str, at: int) -> int:
    """A good place to break near a position: the end of its line or word, if not far."""
    for sign in ("\n", " "):
        found = text.find(sign, at, at + 120)
        if found >= 0:
            return found + 1
    return at


def _line_start(text: str, at: int) -> int:
    for sign in ("\n", " "):
        found = text.rfind(sign, at - 120, at)
        if found >= 0:
            return found + 1
    return at
