"""A run as rows of numbers, one per step that may be suspected."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["flat", "coordinated", "general"]
"""What a run is ranked by: features of Who&When's two kinds of runs, or signals of any system."""

Row = tuple[float, ...]


@dataclass(frozen=True)
class Features:
    """The rows of one run."""

    kind: Kind
    names: tuple[str, ...]
    """The columns."""
    rows: tuple[Row, ...]
    """One per candidate."""
    positions: tuple[int, ...]
    """Positions of the candidates among the events."""
    raw: tuple[Row, ...]
    """The rows before they were made comparable between systems."""

    def columns(self, names: Sequence[str]) -> list[list[float]]:
        """The rows with these columns only."""
        places = [self.names.index(name) for name in names]
        return [[row[at] for at in places] for row in self.rows]

    def scores(self, weights: Mapping[str, float]) -> list[float]:
        """The weighted sum of each row."""
        pairs = [(self.names.index(name), weight) for name, weight in weights.items()]
        return [sum(row[at] * weight for at, weight in pairs) for row in self.rows]


def ranked(column: Sequence[float]) -> list[float]:
    """Each value's share of smaller values, half of its equals counted: 0 least, 1 largest.

    What is long, or much, in one system is little in another; its place within the run is not. A
    column with at most two different values stays as it is.

    >>> ranked([5.0, 1.0, 3.0])
    [0.8333333333333334, 0.16666666666666666, 0.5]
    """
    if len(set(column)) <= 2:
        return list(column)
    order = sorted(column)
    n = len(column)
    return [(bisect_left(order, value) + bisect_right(order, value)) / (2 * n) for value in column]
