"""Axes of a sweep's figures: places on a logarithmic or linear scale, grid lines, labels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lacewing.pages import svg

Number = float | int
Place = Callable[[Number], float]


@dataclass(frozen=True)
class Frame:
    """The part of a figure that data are drawn in, in pixels."""

    left: Number
    right: Number
    top: Number
    bottom: Number

    def log_x(self, values: Sequence[Number], room: Number = 1.15) -> Place:
        """Places of positive values from left to right, by their logarithm."""
        return _log(values, self.left, self.right, room)

    def log_y(self, values: Sequence[Number], room: Number = 1.15) -> Place:
        """Places of positive values from bottom to top, by their logarithm."""
        return _log(values, self.bottom, self.top, room)

    def linear_y(self, values: Sequence[Number]) -> Place:
        """Places of values from bottom to top."""
        low, high = min(values), max(values)
        edge = 0.12 * (high - low) or 0.1
        low, high = low - edge, high + edge
        return lambda value: self.bottom + (self.top - self.bottom) * (value - low) / (high - low)

    def x_axis(self, place: Place, ticks: Sequence[Number], title: str) -> list[str]:
        """Vertical grid lines with labels below, and the axis title."""
        body = [svg.text((self.left + self.right) / 2, self.bottom + 36, title, "soft", "middle")]
        for value in ticks:
            at = place(value)
            if self.left - 1 <= at <= self.right + 1:
                body.append(svg.line(at, self.top, at, self.bottom, "grid"))
                body.append(svg.text(at, self.bottom + 16, plain(value), "soft small", "middle"))
        return body

    def y_axis(self, place: Place, ticks: Sequence[Number], title: str) -> list[str]:
        """Horizontal grid lines with labels at the left, and the axis title above."""
        body = [svg.text(self.left, self.top - 10, title, "soft")]
        for value in ticks:
            at = place(value)
            if self.top - 1 <= at <= self.bottom + 1:
                body.append(svg.line(self.left, at, self.right, at, "grid"))
                body.append(svg.text(self.left - 8, at + 4, plain(value), "soft small", "end"))
        return body


def powers(values: Sequence[Number]) -> list[float]:
    """Ticks of a logarithmic axis: powers of ten, and 2 and 5 times them where there are few."""
    low, high = math.floor(math.log10(min(values))) - 1, math.ceil(math.log10(max(values))) + 1
    steps = (1, 2, 5) if high - low <= 5 else (1,)
    return [step * 10.0**power for power in range(low, high + 1) for step in steps]


def steps(values: Sequence[Number], count: int = 5) -> list[float]:
    """Round ticks of a linear axis, about `count` of them."""
    spread = max(values) - min(values) or 0.1
    size = 10.0 ** math.floor(math.log10(spread / count))
    size *= next(f for f in (1, 2, 5, 10) if spread / (f * size) <= count)
    first = math.floor(min(values) / size) - 2
    return [round(size * (first + i), 10) for i in range(count * 2 + 6)]


def plain(value: Number) -> str:
    """A tick's label: 1,000, 0.15, 0.0015."""
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def dot(x: Number, y: Number, fill: str, title: str, radius: Number = 5) -> str:
    """A round mark that says what it is when hovered."""
    circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" class="{fill}">'
    return f"{circle}{_title(title)}</circle>"


def square(x: Number, y: Number, fill: str, title: str, half: Number = 4.5) -> str:
    """A square mark that says what it is when hovered."""
    return (
        f'<rect x="{x - half:.1f}" y="{y - half:.1f}" width="{2 * half:.1f}" '
        f'height="{2 * half:.1f}" class="{fill}">{_title(title)}</rect>'
    )


def _title(text: str) -> str:
    from html import escape

    return f"<title>{escape(text)}</title>"


def _log(values: Sequence[Number], start: Number, end: Number, room: Number) -> Place:
    low, high = math.log(min(values) / room), math.log(max(values) * room)
    return lambda value: start + (end - start) * (math.log(value) - low) / (high - low)
