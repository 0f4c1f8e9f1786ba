"""E-detectors: many Shiryaev-Roberts sums of bets, whose average raises the alarm.

Every signal gives, at a look, a number x between 0 (usual) and 1 (never seen). Its claim, as long
as nothing has changed: given all that was read before, the mean of x is at most its level m. A bet
against the claim,

    e = 1 + b (x - m),   b a share of 1 / m,

has a conditional mean of at most 1, whatever else x does. The sum R <- (1 + R) e restarts the bet
at every look. R minus the number of looks is a supermartingale, so an alarm when R reaches A comes
after A looks in the mean, or later. This holds for any average of such sums too, with weights fixed
in advance; what is averaged here are all signals with several bets each. A look without a place of
a circuit is no look for that circuit's signals: R stays, so that such looks add nothing by
themselves. R minus the number of looks with a place is then the supermartingale.

The promise is an average run length, not a rate per look. It is made in tokens and kept in looks:
a look has at least LOOK tokens, so A is the promised tokens over LOOK.

Source: Shin, Ramdas and Rinaldo, E-detectors (arXiv 2203.03532).
"""

import numpy as np
from jaxtyping import Float

LOOK = 1024
"""Tokens that a look has at least."""
RUN_LENGTH = 200_000
"""Tokens to a false alarm, in the mean, at least: what is promised by default."""
BETS = (0.05, 0.15, 0.4, 0.8)
"""Bets, as shares of the largest, 1 / m: small ones for small shifts."""


class Detectors:
    """The sums of all signals."""

    def __init__(
        self,
        levels: Float[np.ndarray, " unit"],
        weights: Float[np.ndarray, " unit"],
        run_length: int = RUN_LENGTH,
    ) -> None:
        """Begin.

        Args:
            levels: What every signal claims that its mean is at most, above 0.
            weights: What every signal counts in the average; they add up to 1.
            run_length: The promise, in tokens.
        """
        self.levels, self.weights = levels, weights
        self.threshold = max(1.0, run_length / LOOK)
        self.bets = np.array(BETS) / levels[:, None]
        self.tokens = 0
        self.restart()

    def restart(self) -> None:
        """Forget everything, as after an alarm."""
        shape = (len(self.levels), len(BETS))
        self.sums = np.full(shape, -np.inf)
        self.since = np.full(len(self.levels), self.tokens)
        """Of every signal, the tokens that were read when what is left of its evidence began."""
        self._gained = np.zeros(len(self.levels))

    def look(self, x: Float[np.ndarray, " unit"], tokens: int = LOOK) -> float:
        """Take one look.

        Args:
            x: Of every signal, between 0 and 1; not a number where there is nothing to see.
            tokens: How many it has.

        Returns:
            The average of all sums over the threshold: from 1 on, an alarm.
        """
        seen = np.where(np.isnan(x), self.levels, x)
        gained = np.log1p(self.bets * (seen - self.levels)[:, None])
        self.sums = np.where(np.isnan(x)[:, None], self.sums, np.logaddexp(0.0, self.sums) + gained)
        # Where the evidence that has not been lost again began: Page's sum of the same bets.
        self._gained = np.maximum(0.0, self._gained + gained.mean(1))
        self.tokens += tokens
        self.since = np.where(self._gained > 0, self.since, self.tokens)
        return self.level

    @property
    def level(self) -> float:
        """The average of all sums over the threshold."""
        return float(np.exp(np.minimum(self.shares, 50.0)).sum() / self.threshold)

    @property
    def shares(self) -> Float[np.ndarray, " unit"]:
        """The logarithm of what every signal adds to the average."""
        mean = np.logaddexp.reduce(self.sums, axis=1) - np.log(len(BETS))
        return mean + np.log(self.weights)
