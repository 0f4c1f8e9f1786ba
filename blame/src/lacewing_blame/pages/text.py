"""The text of a step in pieces: evidence and values marked, long parts folded.

Spans may overlap, so the text is cut at every span's ends, and each piece is marked with whatever
covers it. A stretch without evidence that is longer than a few lines is folded away behind its
length; a browser's own search opens it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Piece:
    """Words that the same marks cover."""

    text: str
    kinds: str = ""
    """CSS classes; empty where nothing is marked."""
    values: str = ""
    """Numbers of the values of the final answer that stand here."""
    reasons: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a text that is shown, or folded away behind its length."""

    pieces: tuple[Piece, ...]
    folded: bool = False

    @property
    def length(self) -> str:
        """How many characters it has, as people write it."""
        return f"{sum(len(piece.text) for piece in self.pieces):,}"


def marked(text: str, marks: Iterable[Mark], visible: int = HEAD) -> list[Stretch]:
    """A text in parts, to be shown or folded, each cut where marks begin and end.

    Args:
        text: Whatever the log holds.
        marks: What to mark; ends outside the text are moved to its ends.
        visible: Characters to show before the first fold.

    >>> [(piece.text, piece.kinds) for piece in marked("It is 4.", [Mark(6, 7, "value")])[0].pieces]
    [('It is ', ''), ('4', 'value'), ('.', '')]
    """
    inside = [m for m in (_clamped(mark, len(text)) for mark in marks) if m.start < m.end]
    inside.sort(key=lambda m: (m.start, m.end))
    parts: list[tuple[int, int, bool]] = []
    for start, end, covering in _pieces(len(text), inside):
        if any(mark.kind != "value" for mark in covering):
            parts.append((start, end, False))
        elif parts and parts[-1][2]:
            parts[-1] = (parts[-1][0], end, True)
        else:
            parts.append((start, end, True))
    return [
        stretch
        for start, end, foldable in parts
        for stretch in _stretches(
            text, start, end, inside, (visible if start == 0 else HEAD) if foldable else None
        )
    ]


def folded(text: str, most: int = 400) -> list[Stretch]:
    """A text without marks, its end folded away where it is longer than so many characters.

    >>> [(stretch.length, stretch.folded) for stretch in folded("word " * 100)]
    [('339', False), ('161', True)]
    """
    if len(text) <= most:
        return [Stretch((Piece(text),))] if text else []
    cut = text.rfind(" ", most - 120, most - 60)
    cut = cut if cut > 0 else most - 60
    return [Stretch((Piece(text[:cut]),)), Stretch((Piece(text[cut:]),), folded=True)]


def places(value: str, text: str) -> list[tuple[int, int]]:
    """Where a text holds a value as a word of its own; at most `MOST_PLACES`.

    >>> places("4", "4 of 14, or 4.5")
    [(0, 1)]
    """
    before = r"(?<![\w.])" if value[:1].isdigit() else r"(?<!\w)" if value[:1].isalnum() else ""
    after = r"(?!\w|\.\d)" if value[-1:].isdigit() else r"(?!\w)" if value[-1:].isalnum() else ""
    found = re.finditer(before + re.escape(value) + after, text)
    return [match.span() for match in islice(found, MOST_PLACES)] if value else []


def _stretches(
    text: str, start: int, end: int, marks: Sequence[Mark], head: int | None
) -> Iterator[Stretch]:
    """A part of the text, its middle folded where it is long and may be."""
    if head is not None and end - start > max(FOLDED, head + TAIL):
        first, last = _line_end(text, start + head), _line_start(text, end - TAIL)
        if last - first >= TAIL:
            yield Stretch(_flat(text, start, first, marks))
            yield Stretch(_flat(text, first, last, marks), folded=True)
            yield Stretch(_flat(text, last, end, marks))
            return
    yield Stretch(_flat(text, start, end, marks))


def _flat(text: str, start: int, end: int, marks: Sequence[Mark]) -> tuple[Piece, ...]:
    """A part of the text in pieces."""
    near = [
        Mark(max(m.start, start) - start, min(m.end, end) - start, m.kind, m.reason, m.value)
        for m in marks
        if m.start < end and m.end > start
    ]
    return tuple(
        _piece(text[start + low : start + high], covering)
        for low, high, covering in _pieces(end - start, near)
    )


def _piece(text: str, covering: Sequence[Mark]) -> Piece:
    return Piece(
        text,
        kinds=" ".join(dict.fromkeys(mark.kind for mark in covering)),
        values=" ".join(str(mark.value) for mark in covering if mark.value is not None),
        reasons="; ".join(dict.fromkeys(mark.reason for mark in covering if mark.reason)),
    )


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
