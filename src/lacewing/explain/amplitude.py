"""How large a node is where its predicate holds: a mean per clause, or a curve over a counter.

Fitted on calibrate text. The curve, which only rises or only falls, is taken where it explains more
of the variance of select text by a hundredth.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from lacewing.explain.columns import Columns
from lacewing.explain.predicate import Predicate

BETTER = 0.01
TOP = 15
"""Counts beyond are taken for this one."""


@dataclass(frozen=True)
class Amplitude:
    """Predicted values: `levels[0]` where nothing holds, then one for each clause."""

    levels: tuple[float, ...]
    counter: str = ""
    """Feature whose count sets the value where the predicate holds; empty for levels alone."""
    curve: tuple[float, ...] = ()
    """Value for each count from 0 to TOP."""

    def predict(self, columns: Columns, predicate: Predicate) -> Float[np.ndarray, " token"]:
        """The value expected at every token."""
        which = columns.which(predicate)
        values = np.array(self.levels)[which]
        if self.counter:
            counts = np.clip(columns.number(self.counter), 0, TOP)
            values = np.where(which > 0, np.array(self.curve)[counts], values)
        return values

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        kind = "isotonic" if self.counter else "bin"
        params: dict[str, Any] = {"levels": list(self.levels)}
        if self.counter:
            params |= {"counter": self.counter, "curve": list(self.curve)}
        return {"type": kind, "params": params}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Amplitude":
        """The inverse."""
        found = plain["params"]
        return cls(tuple(found["levels"]), found.get("counter", ""), tuple(found.get("curve", ())))


@dataclass(frozen=True)
class _Fit:
    amplitude: Amplitude
    error: float = field(compare=False)


def fit_amplitude(
    columns: Columns, predicate: Predicate, values: Float[np.ndarray, " token"]
) -> Amplitude:
    """The amplitude of a predicate for a node's values (sign applied), over the whole text."""
    fit, select = (columns.text.slices[part] for part in ("calibrate", "select"))
    which = columns.which(predicate)
    levels = [
        float(values[fit][which[fit] == k].mean()) if (which[fit] == k).any() else 0.0
        for k in range(len(predicate.clauses) + 1)
    ]
    best = _judged(columns, predicate, values, Amplitude(tuple(levels)))
    holds = which > 0
    if holds[fit].sum() < 2 * TOP:
        return best.amplitude
    variance = float(np.var(values[select])) or 1.0
    for name, (_, feature) in columns.text.features.items():
        if not feature.counts:
            continue
        counts = np.clip(columns.number(name), 0, TOP)[fit][holds[fit]]
        curve = _monotone(counts, values[fit][holds[fit]])
        made = Amplitude(tuple(levels), name, tuple(curve.tolist()))
        now = _judged(columns, predicate, values, made)
        if now.error < best.error - BETTER * variance:
            best = now
    return best.amplitude


def _judged(
    columns: Columns, predicate: Predicate, values: Float[np.ndarray, " token"], made: Amplitude
) -> _Fit:
    select = columns.text.slices["select"]
    error = values[select] - made.predict(columns, predicate)[select]
    return _Fit(made, float(np.mean(error**2)))


def _monotone(
    counts: np.ndarray, values: Float[np.ndarray, " token"]
) -> Float[np.ndarray, " row"]:
    """The rising or falling curve nearest to the values, one point per count."""
    weight = np.bincount(counts, minlength=TOP + 1).astype(float)
    means = np.bincount(counts, values, minlength=TOP + 1) / np.maximum(weight, 1)
    known = weight > 0
    curves = [
        sign * isotonic(sign * means[known], weight[known]) for sign in (1, -1)
    ]
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
