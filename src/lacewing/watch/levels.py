"""The level of every detector: what the mean of its scores is at most while nothing has changed.

The levels have to hold given the past, and text is no row of independent looks: one file quotes
otherwise than the next, and the next hundred may be of the same package. So a level is the mean
over clean text, raised by a number of spreads of whole stretches; that number is the smallest with
which detectors that stay in stretches of that text, drawn again and again, keep CAREFUL times the
run length that is promised. Each stretch meets the levels that the others alone give, as text to
come will.
"""

import numpy as np
from jaxtyping import Float, Int

from lacewing.watch.detectors import BETS, LOOK

STRETCH, LASTS = 8, 8
"""Looks that hang together, about what one file is long; and how often a drawn stretch is read
again, as if the text stayed with one package for that long."""
CAREFUL = 2.0
"""Times the promise, that has to be kept on the third part."""
SLACKS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Spreads that levels may be raised by."""
LEAST, HIGHEST = 0.01, 0.9
"""Levels are at least and at most this: a signal that never showed may still show once."""
RUNS, LENGTH = 48, 600
"""Runs through drawn stretches, and looks of each."""


def calibrated_levels(
    x: Float[np.ndarray, "sample unit"],
    weight: Float[np.ndarray, " unit"],
    run_length: int,
    seed: int = 0,
) -> tuple[Float[np.ndarray, " unit"], float, float]:
    """The levels of all signals, with which clean text keeps the promise.

    Args:
        x: Every signal of every look of the third part, in the order of the text.
        weight: What every signal counts.
        run_length: The promise, in tokens.
        seed: Draws stretches.

    Returns:
        Levels, the slack behind them, and the mean tokens to an alarm that was measured.
    """
    stretches = max(1, len(x) // STRETCH)
    cut = x[: stretches * STRETCH].reshape(stretches, -1, x.shape[1])
    of_each = (~np.isnan(cut)).sum(1)
    sums = np.where(np.isnan(cut), 0, cut).sum(1)
    dice = np.random.default_rng(seed)
    drawn = dice.integers(stretches, size=(RUNS, -(-LENGTH // (LASTS * cut.shape[1]))))
    drawn = drawn.repeat(LASTS, axis=1)
    every, others = np.ones(stretches), 1 - np.eye(stretches)
    others = others if stretches > 1 else every[None]
    for slack in SLACKS:
        others_levels = np.stack([_levels(sums, of_each, kept, slack) for kept in others])
        measured = _run_length(cut, drawn, others_levels, weight, run_length)
        if measured >= CAREFUL * run_length or slack == SLACKS[-1]:
            break
    return _levels(sums, of_each, every, slack), slack, measured


def _levels(
    sums: Float[np.ndarray, "sample unit"],
    of_each: Int[np.ndarray, "sample unit"],
    kept: Float[np.ndarray, " sample"],
    slack: float,
) -> Float[np.ndarray, " unit"]:
    """The levels that some stretches (samples) give.

    Args:
        sums: Of every signal over the looks of each stretch.
        of_each: How many looks had something to see.
        kept: 1 for every stretch that counts, else 0.
        slack: Spreads of a stretch that the mean is raised by.
    """
    count, total = kept @ of_each, kept @ sums
    mean = total / np.maximum(count, 1)
    means = np.where(of_each > 0, sums / np.maximum(of_each, 1), mean)
    spread = np.sqrt(kept @ (means - kept @ means / kept.sum()) ** 2 / kept.sum())
    # One place more that is as odd as can be: what was never seen is not impossible.
    found: np.ndarray = (total + 1) / (count + 1) + slack * spread
    return found.clip(LEAST, HIGHEST)


def _run_length(
    stretches: np.ndarray,
    drawn: np.ndarray,
    levels: np.ndarray,
    weight: np.ndarray,
    run_length: int,
) -> float:
    """Mean tokens to an alarm in runs through stretches of looks, as `Detectors` would raise it.

    Each stretch has levels of its own.
    """
    levels = levels[:, None]
    bets = np.array(BETS) / levels[..., None]
    nothing = np.isnan(stretches)
    filled = np.where(nothing, levels, stretches)
    gained = np.log1p(bets * (filled - levels)[..., None])
    threshold, alarms = max(1.0, run_length / LOOK), 0
    sums = np.full((len(drawn), *gained.shape[2:]), -np.inf)
    for column in drawn.T:
        for step in range(gained.shape[1]):
            bet = np.logaddexp(0.0, sums) + gained[column, step]
            sums = np.where(nothing[column, step][..., None], sums, bet)
            average = (np.exp(np.minimum(sums, 50.0)).mean(2) * weight).sum(1)
            over = average >= threshold
            alarms += int(over.sum())
            sums[over] = -np.inf
    looks = len(drawn) * drawn.shape[1] * gained.shape[1]
    return looks * LOOK / max(alarms, 1)
