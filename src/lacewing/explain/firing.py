"""When a node fires: a sign, and a threshold set by the values alone, before anything is explained.

The threshold is Otsu's, which parts the values of fit text into two groups that differ most. Two
others stand beside it in a score card: a low one, and Otsu's among the values above the first.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

BINS = 256
LOW = 0.05
"""The low threshold, as a share of the way from the resting value to the largest."""
LEAST, MOST = 0.0005, 0.5
"""Shares of fit tokens between which a side of a node fires; beyond, it is not explained."""


@dataclass(frozen=True)
class Firing:
    """One side of a node: where it fires."""

    sign: int
    """1 where large values fire, -1 where small ones do."""
    threshold: float
    """What sign x value has to exceed."""
    others: tuple[float, float]
    """A lower and a higher threshold, for the score card."""

    def fires(self, values: Float[np.ndarray, " token"]) -> Bool[np.ndarray, " token"]:
        """Where the node fires."""
        return self.sign * values > self.threshold


def firings(values: Float[np.ndarray, " token"]) -> list[Firing]:
    """The sides of a node that can be explained, from its values on fit text.

    Returns:
        At most one for each sign; none for a node that is dead or never differs.
    """
    found = []
    for sign in (1, -1):
        side = sign * values.astype(np.float64)
        rest, top = float(np.median(side)), float(side.max())
        if top - rest <= 1e-6 * max(abs(rest), abs(top), 1e-6):
            continue
        # What lies below rest belongs to the other side.
        threshold = otsu(np.maximum(side, rest))
        low = rest + LOW * (top - rest)
        high = otsu(side[side > threshold])
        share = float((side > threshold).mean())
        if LEAST <= share <= MOST:
            found.append(Firing(sign, threshold, (min(low, threshold), max(high, threshold))))
    return found


def otsu(values: Float[np.ndarray, " token"]) -> float:
    """The threshold between two groups of values with the largest variance between them."""
    if len(values) < 2 or np.ptp(values) == 0:
        return float(values[0]) if len(values) else 0.0
    counts, edges = np.histogram(values, bins=BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = len(values) - below
    sums = np.cumsum(counts * centres)
    left = sums[:-1] / np.maximum(below, 1)
    right = (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    between = below * above * (left - right) ** 2
    return float(edges[int(np.argmax(between)) + 1])
