"""How large a node is where its predicate holds: a mean per clause, or a curve over a counter.

Fitted on calibrate text. The curve, which only rises or only falls, is taken where it explains more
of the variance of select text by a hundredth.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from lacewing.explain.columns import Columns
from lacewing.explain.predicate import Predicate, joined

BETTER = 0.01
TOP = 15
"""Counts beyond are taken for this one."""


@dataclass(frozen=True)
class Curve:
    """Values over a counter, for some clauses in a row."""

    first: int
    last: int
    """Numbers of the clauses, from 1, both included."""
    counter: str
    values: tuple[float, ...]
    """One for each count from 0 to TOP."""


@dataclass(frozen=True)
class Amplitude:
    """Predicted values: `levels[0]` where nothing holds, then one for each clause."""

    levels: tuple[float, ...]
    curves: tuple[Curve, ...] = ()

    def predict(self, columns: Columns, predicate: Predicate) -> Float[np.ndarray, " token"]:
        """The value expected at every token."""
        which = columns.which(predicate)
        values = np.array(self.levels)[which]
        for curve in self.curves:
            counts = np.clip(columns.number(curve.counter), 0, TOP)
            inside = (which >= curve.first) & (which <= curve.last)
            values = np.where(inside, np.array(curve.values)[counts], values)
        return values

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        params = {"levels": list(self.levels), "curves": [asdict(c) for c in self.curves]}
        return {"type": "isotonic" if self.curves else "bin", "params": params}


def fit_amplitude(
    columns: Columns,
    sides: tuple[Predicate, Predicate],
    values: Float[np.ndarray, " token"],
) -> Amplitude:
    """The amplitude of both sides of a node for its values (sign applied), over the whole text."""
    fit = columns.text.slices["calibrate"]
    predicate = joined(*sides)
    which = columns.which(predicate)
    levels = [
        float(values[fit][which[fit] == k].mean()) if (which[fit] == k).any() else 0.0
        for k in range(len(predicate.clauses) + 1)
    ]
    best = Amplitude(tuple(levels))
    begin = 1
    for side in sides:
        end = begin + len(side.clauses)
        holds = ((which >= begin) & (which < end))[fit]
        if holds.sum() >= 2 * TOP:
            best = _with_curve(columns, predicate, values, best, (begin, end - 1), holds)
        begin = end
    return best


def _with_curve(
    columns: Columns,
    predicate: Predicate,
    values: Float[np.ndarray, " token"],
    flat: Amplitude,
    clauses: tuple[int, int],
    holds: np.ndarray,
) -> Amplitude:
    """The amplitude with the best curve for some clauses, where one is good enough."""
    fit = columns.text.slices["calibrate"]
    best, error = flat, _error(columns, predicate, values, flat)
    enough = BETTER * (float(np.var(values[columns.text.slices["select"]])) or 1.0)
    limit = error - enough
    for name, (_, feature) in columns.text.features.items():
        if not feature.counts:
            continue
        counts = np.clip(columns.number(name), 0, TOP)[fit][holds]
        curve = Curve(*clauses, name, tuple(_monotone(counts, values[fit][holds]).tolist()))
        made = Amplitude(flat.levels, (*flat.curves, curve))
        now = _error(columns, predicate, values, made)
        if now < min(error, limit):
            best, error = made, now
    return best


def _error(
    columns: Columns, predicate: Predicate, values: Float[np.ndarray, " token"], made: Amplitude
) -> float:
    """Mean square of what is left on select text."""
    select = columns.text.slices["select"]
    return float(np.mean((values[select] - made.predict(columns, predicate)[select]) ** 2))


def _monotone(counts: np.ndarray, values: Float[np.ndarray, " token"]) -> Float[np.ndarray, " row"]:
    """The rising or falling curve nearest to the values, one point per count."""
    weight = np.bincount(counts, minlength=TOP + 1).astype(float)
    means = np.bincount(counts, values, minlength=TOP + 1) / np.maximum(weight, 1)
    known = weight > 0
    curves = [sign * isotonic(sign * means[known], weight[known]) for sign in (1, -1)]
    errors = [float((weight[known] * (means[known] - curve) ** 2).sum()) for curve in curves]
    best = curves[int(np.argmin(errors))]
    return np.interp(np.arange(TOP + 1), np.flatnonzero(known), best)


def isotonic(
    values: Float[np.ndarray, " row"], weight: Float[np.ndarray, " row"]
) -> Float[np.ndarray, " row"]:
    """The rising sequence nearest to some values, by pooling neighbours that fall."""
    pools: list[tuple[float, float, int]] = []
    for value, mass in zip(values.tolist(), weight.tolist(), strict=True):
        size = 1
        while pools and pools[-1][0] > value:
            other, heavy, many = pools.pop()
            value = (other * heavy + value * mass) / (heavy + mass)
            mass, size = mass + heavy, size + many
        pools.append((value, mass, size))
    return np.repeat([pool[0] for pool in pools], [pool[2] for pool in pools])
