"""The timeline of a log: one lane per agent, one column per step, a heat strip below.

Here is its geometry, in pixels; templates/timeline.svg draws it. Colours are classes of page.css
and strengths are attributes, since the page allows no inline style.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lacewing_blame.events import Event, Trace

LANE, TOP, STRIP, AXIS = 22, 16, 16, 18
"""Heights in pixels: a lane, what is above the lanes, the heat strip, the numbers below it."""
ROOM, NARROWEST, WIDEST = 900, 8, 60
"""Pixels a timeline may fill before it scrolls, and the bounds of a step's width."""
ASIDE = 8
"""Pixels by which the two signs above one column stand aside."""
DIGIT = 6
"""Width of a digit of the numbers."""


@dataclass(frozen=True, slots=True)
class Box:
    """A step in its lane and its cell in the heat strip."""

    step: int
    title: str
    kind: str
    """CSS classes."""
    x: int
    y: int
    gap: int
    heat: str
    """Strength of suspicion, from 0 to 1."""
    failed: bool


@dataclass(frozen=True, slots=True)
class Number:
    """A step's number below the strip."""

    step: int
    x: str
    anchor: str
    """CSS class: end where it would stand out of the drawing, else empty."""


@dataclass(frozen=True)
class Drawing:
    """What the template draws."""

    wide: int
    """Width of a step."""
    width: int
    height: int
    bottom: int
    """Where the lanes end and the heat strip begins."""
    label: str
    lanes: tuple[int, ...]
    """Middle of each lane."""
    boxes: tuple[Box, ...]
    band: int | None
    """Left end of the column of the step that the method names."""
    named: str | None
    """Left end of the sign above it."""
    annotated: str | None
    """Middle of the sign above the step that a person named."""
    paths: tuple[tuple[tuple[str, str], ...], ...]
    """The way of each value through the steps; shown once it is chosen."""
    numbers: tuple[Number, ...]
    top: int = TOP
    lane: int = LANE
    strip: int = STRIP

    @property
    def tall(self) -> int:
        """Height of a column, heat strip included."""
        return self.bottom + STRIP - TOP

    @property
    def foot(self) -> int:
        """Base line of the numbers."""
        return self.bottom + STRIP + 13


def lanes(trace: Trace) -> tuple[str, ...]:
    """Everyone who acts, in order of appearance.

    >>> talk = (Event(0, "Ann", "Hi."), Event(1, "Bob", "Hi."), Event(2, "Ann", "Bye."))
    >>> lanes(Trace("a", "Greet.", talk, "jsonl"))
    ('Ann', 'Bob')
    """
    return tuple(dict.fromkeys(event.agent for event in trace.events))


def timeline(
    trace: Trace,
    heat: Mapping[int, float],
    paths: Sequence[Sequence[int]],
    named: int | None,
    labelled: int | None,
) -> Drawing:
    """Where everything stands.

    Args:
        trace: The run.
        heat: Suspicion by step index, from 0 to 1 with 1 the strongest of this log.
        paths: For each value of the final answer, the steps it appears in.
        named: The step the method names.
        labelled: The step a person named.

    >>> talk = (Event(0, "Ann", "Hi."), Event(1, "Bob", "Hi."))
    >>> timeline(Trace("a", "Greet.", talk, "jsonl"), {0: 1.0}, [], 0, None).width
    120
    """
    column = {event.index: at for at, event in enumerate(trace.events)}
    row = {agent: at for at, agent in enumerate(lanes(trace))}
    wide = max(NARROWEST, min(WIDEST, ROOM // len(trace.events)))
    bottom, width = TOP + LANE * len(row), wide * len(column)
    middle = {step: wide * at + wide / 2 for step, at in column.items()}
    height = {e.index: TOP + LANE * row[e.agent] + LANE / 2 for e in trace.events}
    apart = ASIDE if named is not None and named == labelled else 0
    return Drawing(
        wide=wide,
        width=width,
        height=bottom + STRIP + AXIS,
        bottom=bottom,
        label=f"Timeline: {len(column)} steps in {len(row)} lanes, with a heat strip of suspicion",
        lanes=tuple(TOP + LANE * at + LANE // 2 for at in row.values()),
        boxes=tuple(
            _box(event, column[event.index] * wide, TOP + LANE * row[event.agent], wide, heat)
            for event in trace.events
        ),
        band=column[named] * wide if named in column else None,
        named=_px(middle[named] - apart - 6) if named in column else None,
        annotated=_px(middle[labelled] + apart) if labelled in column else None,
        paths=tuple(tuple((_px(middle[s]), _px(height[s])) for s in path) for path in paths),
        numbers=_numbers(trace.events, wide, width),
    )


def _box(event: Event, x: int, y: int, wide: int, heat: Mapping[int, float]) -> Box:
    tool = f" {event.tool}" if event.tool else ""
    return Box(
        step=event.index,
        title=f"step {event.index}: {event.agent}, {event.kind.replace('_', ' ')}{tool}",
        kind="box quiet" if not event.blamable else f"box {event.kind}",
        x=x,
        y=y,
        gap=1 if wide < 14 else 2,
        heat=f"{heat.get(event.index, 0.0):.3f}",
        failed=event.status == "error",
    )


def _numbers(events: Sequence[Event], wide: int, width: int) -> tuple[Number, ...]:
    """Step numbers, as many as have room."""
    every = next((n for n in (1, 2, 5, 10, 20, 50, 100) if n * wide >= 30), 100)
    found = []
    for at, event in list(enumerate(events))[::every]:
        middle = at * wide + wide / 2
        outside = middle + DIGIT * len(str(event.index)) / 2 > width
        x = width if outside else middle
        found.append(Number(event.index, _px(x), "end" if outside else ""))
    return tuple(found)


def _px(value: float | int) -> str:
    """Pixels, without a useless fraction."""
    return f"{value:.1f}".removesuffix(".0")
