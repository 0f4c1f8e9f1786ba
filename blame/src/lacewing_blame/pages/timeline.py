"""The timeline of a log as SVG: one lane per agent, one column per step, a heat strip below.

Colours are classes of page.css and strengths are attributes, since the page allows no inline style.
"""

from collections.abc import Mapping, Sequence
from html import escape

from lacewing_blame.events import Event, Trace

LANE, TOP, STRIP, AXIS = 22, 16, 16, 18
"""Heights in pixels: a lane, what is above the lanes, the heat strip, the numbers below it."""
ROOM, NARROWEST, WIDEST = 900, 8, 60
"""Pixels a timeline may fill before it scrolls, and the bounds of a step's width."""


def lanes(trace: Trace) -> tuple[str, ...]:
    """Everyone who acts, in order of appearance."""
    return tuple(dict.fromkeys(event.agent for event in trace.events))


def timeline(
    trace: Trace,
    heat: Mapping[int, float],
    paths: Sequence[Sequence[int]],
    named: int | None,
    labelled: int | None,
) -> str:
    """The drawing.

    Args:
        trace: The run.
        heat: Suspicion by step index, from 0 to 1 with 1 the strongest of this log.
        paths: For each value of the final answer, the steps it appears in.
        named: The step the method names.
        labelled: The step a person named.
    """
    column = {event.index: at for at, event in enumerate(trace.events)}
    row = {agent: at for at, agent in enumerate(lanes(trace))}
    wide = max(NARROWEST, min(WIDEST, ROOM // len(trace.events)))
    bottom = TOP + LANE * len(row)
    body = [
        f'<line class=lane x1=0 x2="{wide * len(column)}" y1="{y}" y2="{y}"/>'
        for y in (TOP + LANE * at + LANE // 2 for at in row.values())
    ]
    if named in column:
        body.append(_band(column[named] * wide, wide, bottom + STRIP))
    body += [
        _step(event, column[event.index] * wide, TOP + LANE * row[event.agent], wide, bottom, heat)
        for event in trace.events
    ]
    if labelled in column:
        body.append(_diamond(column[labelled] * wide + wide / 2, 8))
    places = {
        e.index: (column[e.index] * wide + wide / 2, TOP + LANE * row[e.agent] + LANE / 2)
        for e in trace.events
    }
    body += [_path(number, [places[s] for s in path]) for number, path in enumerate(paths)]
    body.append(
        f'<rect id=cursor class=cursor y="{TOP}" width="{wide}" height="{bottom + STRIP - TOP}"/>'
    )
    body += _numbers(trace.events, wide, bottom + STRIP + 13)
    width, height = wide * len(column), bottom + STRIP + AXIS
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" id=drawing width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" data-wide="{wide}" role="img" '
        f'aria-label="Timeline: {len(column)} steps in {len(row)} lanes, with a heat strip of '
        f'suspicion">{"".join(body)}</svg>'
    )


def _step(event: Event, x: int, y: int, wide: int, bottom: int, heat: Mapping[int, float]) -> str:
    """A step's box in its lane and its cell in the heat strip, one link."""
    gap = 1 if wide < 14 else 2
    strength = heat.get(event.index, 0.0)
    kind = "box quiet" if not event.blamable else f"box {event.kind}"
    failed = (
        f'<circle class=failed cx="{x + wide / 2:g}" cy="{y + 3}" r="2.5"/>'
        if event.status == "error"
        else ""
    )
    return (
        f'<a href="#s{event.index}" tabindex="-1"><title>{escape(_title(event))}</title>'
        f'<rect class="{kind}" x="{x + gap / 2:g}" y="{y + 4}" width="{wide - gap}" '
        f'height="{LANE - 8}" rx=2 />{failed}'
        f'<rect class=cell x="{x}" y="{bottom}" width="{wide}" height="{STRIP}"/>'
        f'<rect class=heat x="{x}" y="{bottom}" width="{wide}" height="{STRIP}" '
        f'fill-opacity="{strength:.3f}"/>'
        f'<rect class=hit x="{x}" y="{TOP}" width="{wide}" height="{bottom + STRIP - TOP}"/></a>'
    )


def _title(event: Event) -> str:
    tool = f" {event.tool}" if event.tool else ""
    return f"step {event.index}: {event.agent}, {event.kind.replace('_', ' ')}{tool}"


def _band(x: int, wide: int, height: int) -> str:
    middle = x + wide / 2
    return (
        f'<rect class=band x="{x}" y="{TOP}" width="{wide}" height="{height - TOP}"/>'
        f'<path class=named d="M{middle - 6:g} 3h12l-6 9z"/>'
    )


def _diamond(x: float, y: float | int) -> str:
    return f'<path class=label d="M{x:g} {y - 6:g}l6 6-6 6-6-6z"/>'


def _path(number: int, points: Sequence[tuple[float, float]]) -> str:
    """The way of one value through the steps; shown once it is chosen."""
    line = " ".join(f"{x:g},{y:g}" for x, y in points)
    dots = "".join(f'<circle cx="{x:g}" cy="{y:g}" r=4 />' for x, y in points)
    return f'<g class=path data-value="{number}"><polyline points="{line}"/>{dots}</g>'


def _numbers(events: Sequence[Event], wide: int, y: int) -> list[str]:
    """Step numbers, as many as have room."""
    every = next((n for n in (1, 2, 5, 10, 20, 50, 100) if n * wide >= 30), 100)
    return [
        f'<text class=number x="{at * wide + wide / 2:g}" y="{y}">{event.index}</text>'
        for at, event in enumerate(events)
        if at % every == 0
    ]
