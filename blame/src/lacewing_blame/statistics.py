"""Intervals of shares and of their differences."""

import math

Z = 1.959964
"""Standard deviations of a 95 % interval."""


def wilson(right: float | int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share, after Wilson (1927).

    Args:
        right: How many were right.
        n: Out of how many.

    >>> [round(end, 3) for end in wilson(3, 10)]
    [0.108, 0.603]
    """
    if n == 0:
        return 0.0, 1.0
    share = right / n
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def newcombe(first: int, second: int, runs: int) -> tuple[float, float]:
    """The 95 % interval of a difference of two shares (Newcombe 1998, method 10).

    Args:
        first: Successes of the first kind.
        second: Successes of the second kind.
        runs: Trials of each kind.

    >>> [round(end, 2) for end in newcombe(3, 0, 3)]
    [0.21, 1.0]
    """
    a, b = first / runs, second / runs
    a_low, a_high = wilson(first, runs)
    b_low, b_high = wilson(second, runs)
    low = a - b - math.sqrt((a - a_low) ** 2 + (b_high - b) ** 2)
    high = a - b + math.sqrt((a_high - a) ** 2 + (b - b_low) ** 2)
    return low, high
