"""AbsTopK at a computed site: which other channels can ever push a kept one out.

Every row of the map is a weighted sum of things with known bounds, so its magnitude has bounds too.
A row can be left out where it is

    never larger   than the k-th largest of all lower bounds: what is smaller than that is dropped
                   whether this row is there or not
    never larger   than the smallest kept value can be
    always larger  than the largest kept value can be: it takes one place

What is left is compared value by value; where too few are left to fill the places, AbsTopK never
bites.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lacewing.programs.lines import Keep, Linear, Term, gelu

Bounds = dict[str, tuple[float, float]]
"""Least and largest value of a name, over all sequences of tokens."""
GELU_LOWEST = -0.7517915740
"""Where GELU is least."""


@dataclass(frozen=True)
class Rows:
    """All rows of a map: weights on some terms, a constant each, perhaps GELU."""

    terms: Sequence[Term]
    weight: np.ndarray
    """[row, term]"""
    constant: np.ndarray
    """[row]"""
    gelu: bool = False

    def line(self, row: int, name: str, node: str = "") -> Linear:
        """One row as a line."""
        weights = self.weight[row]
        terms = [
            Term(float(w) * t.weight, t.name, t.look)
            for w, t in zip(weights, self.terms, strict=True)
            if w
        ]
        return Linear(name, tuple(terms), float(self.constant[row]), self.gelu, node=node)

    def bounds(self, row: int, bounds: Bounds) -> tuple[float, float]:
        """Least and largest value of one row."""
        low, high = self.all_bounds(bounds)
        return float(low[row]), float(high[row])

    def all_bounds(self, bounds: Bounds) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest value of every row."""
        ends = np.array([term_bounds(t, bounds) for t in self.terms]).reshape(-1, 2)
        a, b = self.weight * ends[:, 0], self.weight * ends[:, 1]
        low = np.minimum(a, b).sum(1) + self.constant
        high = np.maximum(a, b).sum(1) + self.constant
        return gelu_bounds(low, high) if self.gelu else (low, high)


def term_bounds(term: Term, bounds: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """Least and largest value of a summand; a pattern's rows sum to between 0 and 1."""
    low, high = (0.0, 1.0) if term.name is None else bounds[term.name]
    if term.look is not None:
        low, high = min(low, 0.0), max(high, 0.0)
    ends = sorted((term.weight * low, term.weight * high))
    return ends[0], ends[1]


def gelu_bounds(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds after GELU, which falls up to `GELU_LOWEST` and rises from there."""
    at_low, at_high = gelu(low), gelu(high)
    dips = (low < GELU_LOWEST) & (high > GELU_LOWEST)
    least = np.where(dips, gelu(np.array(GELU_LOWEST)), np.minimum(at_low, at_high))
    return least, np.maximum(at_low, at_high)


def magnitudes(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest |x| where x lies between bounds."""
    crossing = (low < 0) & (high > 0)
    a, b = np.abs(low), np.abs(high)
    return np.where(crossing, 0.0, np.minimum(a, b)), np.maximum(a, b)


def keep_line(key: str, rows: Rows, kept: np.ndarray, keep: int, bounds: Bounds) -> Keep | None:
    """The line that thins a site's kept values out; None if AbsTopK never takes one of them.

    Args:
        key: The site's key.
        rows: All its rows.
        kept: The kept ones.
        keep: How many of all AbsTopK keeps.
        bounds: Of everything the rows are made of.
    """
    least, largest = magnitudes(*rows.all_bounds(bounds))
    floor = np.sort(least)[::-1][keep - 1] if keep <= len(least) else 0.0
    matters = (largest >= floor) & (largest > least[kept].min())
    above = matters & (least > largest[kept].max())
    contest = matters & ~above
    contest[kept] = True
    room = keep - int(above.sum())
    if contest.sum() <= room:
        return None
    varying = (rows.weight != 0).any(1)
    mine = np.isin(np.arange(len(least)), kept)
    rivals = [
        rows.line(int(row), f"{key} rival {row}")
        for row in np.flatnonzero(contest & varying & ~mine)
    ]
    fixed = np.sort(largest[contest & ~varying & ~mine])[::-1]
    return Keep(
        f"top {key}", tuple(f"{key}.{channel}" for channel in kept), room, tuple(rivals), fixed
    )
