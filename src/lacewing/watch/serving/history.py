"""What the last looks have shown, signal by signal, for whoever draws it."""

import itertools
import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from lacewing.watch.alarm import WORDS
from lacewing.watch.monitor import Monitor

KEPT = 600
"""Looks that are remembered: of 1,024 tokens each, or a little more."""


class History:
    """The looks of a monitor. Signals of one kind (all nodes, say) are told by their mean."""

    def __init__(self, monitor: Monitor, kept: int = KEPT) -> None:
        """Begin without a look."""
        order = dict.fromkeys((number, kind) for number, kind, _ in monitor.signals)
        self._groups = [
            (pair, np.array([i for i, s in enumerate(monitor.signals) if s[:2] == pair]))
            for pair in order
        ]
        self._looks: deque[dict[str, Any]] = deque(maxlen=kept)
        self._numbers = itertools.count(1)
        self.groups = [
            {
                "circuit": None if number < 0 else number,
                "kind": kind,
                "words": WORDS[kind],
                "signals": len(members),
                "level": round(float(monitor.detectors.levels[members].mean()), 5),
            }
            for (number, kind), members in self._groups
        ]
        """What each column of a look is of: a circuit by its number, or the text alone."""

    def add(self, monitor: Monitor) -> dict[str, Any]:
        """Remember the look that was just taken."""
        scores, shares = monitor.seen, np.exp(np.minimum(monitor.shares, 50.0))
        row = {
            "number": next(self._numbers),
            "tokens": monitor.tokens,
            "evidence": _short(monitor.level),
            "scores": [_mean(scores[members]) for _, members in self._groups],
            "evidences": [
                _short(float(shares[members].sum()) / monitor.detectors.threshold)
                for _, members in self._groups
            ],
        }
        self._looks.append(row)
        return row

    def after(self, number: int) -> Sequence[dict[str, Any]]:
        """The looks that came after one, by its number; as many as are remembered."""
        return [row for row in list(self._looks) if row["number"] > number]


def _mean(values: np.ndarray) -> float | None:
    """The mean of some scores; none where there was no place."""
    seen = values[~np.isnan(values)]
    return round(float(seen.mean()), 5) if len(seen) else None


def _short(value: float) -> float:
    """Four digits that count.

    >>> _short(0.000123456)
    0.0001235
    """
    return float(f"{value:.4g}") if math.isfinite(value) else 0.0
