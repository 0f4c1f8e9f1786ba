"""Probabilities that mean what they say: fitted, measured, and used to stay silent."""

import math
from collections.abc import Sequence
from typing import Any

TEMPERATURES = tuple(0.1 * math.exp(math.log(80.0) * step / 59.0) for step in range(60))
"""Temperatures tried, from 0.1 to 8; below 1 sharpens."""


def softmax(scores: Sequence[float]) -> list[float]:
    """Probabilities of scores in log-odds.

    >>> softmax([0.0, 0.0])
    [0.5, 0.5]
    """
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    total = sum(powers)
    return [power / total for power in powers]


def temperature(
    scores: Sequence[Sequence[float]],
    chosen: Sequence[int],
    weights: Sequence[float] | None = None,
) -> float:
    """The temperature under which the chosen rows were least surprising.

    Args:
        scores: Per run, the scores of its candidates by a ranker that did not see the run.
        chosen: Per run, the row that was labelled.
        weights: Per run, what it counts; by default all the same.

    >>> round(temperature([[1.0, 0.0]] * 4, [0, 0, 1, 0]), 1)
    0.9
    """
    if not scores:
        return 1.0
    counts = weights or [1.0] * len(scores)

    def surprise(one: float) -> float:
        total = 0.0
        for run, row, count in zip(scores, chosen, counts, strict=True):
            total -= count * math.log(softmax([s / one for s in run])[row] + 1e-12)
        return total

    return min(TEMPERATURES, key=surprise)


def reliability(
    probabilities: Sequence[float], correct: Sequence[bool], bins: int = 10
) -> list[dict[str, Any]]:
    """What was promised and what came true, by bins of equal width that hold anything.

    >>> [(row["n"], row["correct"]) for row in reliability([0.55, 0.58, 0.9], [True, False, True])]
    [(2, 0.5), (1, 1.0)]
    """
    held: dict[int, list[tuple[float, bool]]] = {}
    for sure, right in zip(probabilities, correct, strict=True):
        held.setdefault(min(int(sure * bins), bins - 1), []).append((sure, right))
    return [
        {
            "from": one / bins,
            "to": (one + 1) / bins,
            "n": len(pairs),
            "promised": sum(sure for sure, _ in pairs) / len(pairs),
            "correct": sum(right for _, right in pairs) / len(pairs),
        }
        for one, pairs in sorted(held.items())
    ]


def expected_calibration_error(
    probabilities: Sequence[float], correct: Sequence[bool], bins: int = 10
) -> float:
    """Mean gap between promised and correct over bins of equal width, weighted by their size.

    >>> round(expected_calibration_error([0.5, 0.5], [True, True]), 3)
    0.5
    """
    table = reliability(probabilities, correct, bins) if len(probabilities) else []
    gaps = sum(row["n"] * abs(row["promised"] - row["correct"]) for row in table)
    return float(gaps / max(1, len(probabilities)))


def abstention(probabilities: Sequence[float], correct: Sequence[bool]) -> list[dict[str, float]]:
    """Accuracy over the surest runs, for each coverage in tenths.

    >>> abstention([0.9, 0.2], [True, False])[0]
    {'coverage': 0.5, 'accuracy': 1.0}
    """
    order = sorted(range(len(probabilities)), key=lambda at: -probabilities[at])
    right = [correct[at] for at in order]
    curve = []
    for tenth in range(1, 11):
        kept = max(1, round(len(right) * tenth / 10))
        curve.append({"coverage": kept / len(right), "accuracy": sum(right[:kept]) / kept})
    return curve
