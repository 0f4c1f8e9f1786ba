"""Intervals and controls: the numbers that travel with every number."""

import numpy as np
from jaxtyping import Float
from torch import Tensor

LEVEL = 0.95


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
