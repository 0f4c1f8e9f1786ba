"""Means, correlations and intervals: the numbers that travel with every number.

Every interval is one of 95 %.
"""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

LEVEL = 0.95
Z = 1.959964
"""Normal quantile of the interval."""


def pair_means(losses: Float[Tensor, " sequence"]) -> Float[np.ndarray, " pair"]:
    """Mean over both members of every pair: the unit that is resampled."""
    return losses.double().view(-1, 2).mean(1).numpy()


def interval(samples: Float[np.ndarray, " sample"]) -> tuple[float, float]:
    """The central 95 % of some samples."""
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(samples, [tail, 100 - tail])
    return float(low), float(high)


def geometric_mean(values: Float[np.ndarray, " unit"]) -> float:
    """exp(mean(log)): how the paper averages edge counts over tasks."""
    return float(np.exp(np.mean(np.log(values))))


def bootstrap(
    values: NDArray[np.float64], resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the mean of some values, by resampling them with replacement."""
    chosen = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.quantile(values[chosen].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def ratio(
    above: NDArray[np.float64], below: NDArray[np.float64], resamples: int = 2000, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """A ratio of two means over the same units, and its interval; 0 where the second is 0."""
    chosen = np.random.default_rng(seed).integers(len(above), size=(resamples, len(above)))
    drawn = _divided(above[chosen].mean(1), below[chosen].mean(1))
    (value,) = _divided(above.mean(keepdims=True), below.mean(keepdims=True))
    return float(value), interval(drawn)


def _divided(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """A quotient; 0 where nothing is to be divided by."""
    none = below == 0
    quotient: np.ndarray = np.where(none, 0.0, above / np.where(none, 1.0, below))
    return quotient


def correlation(a: Float[Tensor, " sequence"], b: Float[Tensor, " sequence"]) -> float:
    """Pearson's; 0 where one of the two never changes."""
    return float(correlations(a.double().numpy()[None], b.double().numpy()[None])[0])


def correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's correlation of every row of one with the same row of the other."""
    changes = _changes(a) & _changes(b)
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    size = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return np.where(changes, (a * b).sum(1) / np.where(changes, size, 1.0), 0.0)


def _changes(rows: np.ndarray) -> np.ndarray:
    """Whether a row's values differ by more than the rounding of float32."""
    changes: np.ndarray = np.ptp(rows, axis=1) > 1e-5 * np.abs(rows).max(axis=1)
    return changes


def weighted_correlation(
    x: Float[np.ndarray, " sample"],
    y: Float[np.ndarray, " sample"],
    weight: Float[np.ndarray, " sample"],
) -> float:
    """Pearson's of weighted samples; 0 where one of the two never changes."""
    x = x - np.average(x, weights=weight)
    y = y - np.average(y, weights=weight)
    spread = np.sqrt((weight * x * x).sum() * (weight * y * y).sum())
    return float((weight * x * y).sum() / spread) if spread > 0 else 0.0


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson's interval of a rate; everything is possible where nothing was tried."""
    if not n:
        return 0.0, 1.0
    p = hits / n
    centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * (p * (1 - p) / n + Z**2 / (4 * n**2)) ** 0.5 / (1 + Z**2 / n)
    # The rate itself lies inside; rounding may say otherwise where all or none hit.
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))


def rate_ratio(
    ours: tuple[int, int], theirs: tuple[int, int], resamples: int, seed: int
) -> tuple[float, float]:
    """Interval of the ratio of two rates, each hits of n: draws from both Jeffreys posteriors."""
    dice = np.random.default_rng(seed)
    a, b = (dice.beta(hits + 0.5, n - hits + 0.5, size=resamples) for hits, n in (ours, theirs))
    low, high = np.percentile(a / b, [100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2])
    return float(low), float(high)
