"""Probabilities that mean what they say: fitted, measured, and used to stay silent."""

from collections.abc import Sequence
from typing import Any

import numpy as np

TEMPERATURES = np.exp(np.linspace(np.log(0.1), np.log(4), 60))
"""Temperatures tried; below 1 sharpens."""


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities of scores in log-odds.

    >>> softmax(np.array([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    powers = np.exp(scores - scores.max())
    shares: np.ndarray = powers / powers.sum()
    return shares


def temperature(scores: Sequence[np.ndarray], chosen: Sequence[int]) -> float:
    """The temperature under which the chosen rows were least surprising.

    Args:
        scores: Per run, the scores of its candidates by a ranker that did not see the run.
        chosen: Per run, the row that was labelled.

    >>> round(temperature([np.array([1.0, 0.0])] * 4, [0, 0, 1, 0]), 1)
    0.9
    """
    if not scores:
        return 1.0

    def surprise(one: float) -> float:
        rows = (np.log(softmax(s / one)[c] + 1e-12) for s, c in zip(scores, chosen, strict=True))
        return -float(sum(rows))

    return float(min(TEMPERATURES, key=surprise))


def reliability(
    probabilities: Sequence[float], correct: Sequence[bool], bins: int = 10
) -> list[dict[str, Any]]:
    """What was promised and what came true, by bins of equal width that hold anything.

    >>> [(row["n"], row["correct"]) for row in reliability([0.55, 0.58, 0.9], [True, False, True])]
    [(2, 0.5), (1, 1.0)]
    """
    sure, right = np.asarray(probabilities, float), np.asarray(correct, float)
    places = np.minimum((sure * bins).astype(int), bins - 1)
    return [
        {
            "from": one / bins,
            "to": (one + 1) / bins,
            "n": int((places == one).sum()),
            "promised": float(sure[places == one].mean()),
            "correct": float(right[places == one].mean()),
        }
        for one in range(bins)
        if (places == one).any()
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
    order = np.argsort(-np.asarray(probabilities, float), kind="stable")
    right = np.asarray(correct, float)[order]
    curve = []
    for tenth in range(1, 11):
        kept = max(1, round(len(right) * tenth / 10))
        curve.append({"coverage": kept / len(right), "accuracy": float(right[:kept].mean())})
    return curve
