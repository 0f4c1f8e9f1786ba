"""Conditional logit with ridge and signs, by projected Newton steps (numpy only).

The run is the unit: one of its rows was chosen. Maximises sum log softmax(x w)[chosen] minus
l2/2 |w - prior|^2 over standardised columns; a weight whose feature has a sign stays on that side
of zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

STEPS = 30
"""Newton steps at most; a handful is enough."""
NARROW = 0.1
"""Least deviation a column is standardised by: one that hardly varied must not weigh much per unit,
since it may vary more in other runs."""


def fit(
    runs: Sequence[Sequence[Sequence[float]]],
    chosen: Sequence[int],
    signs: Sequence[int],
    l2: float,
    prior: Mapping[int, float] | None = None,
    shares: Sequence[float] | None = None,
    start: Mapping[int, float] | None = None,
    narrow: float = NARROW,
) -> list[float]:
    """The weights per unit of each column.

    Args:
        runs: Per run, one row of features per candidate.
        chosen: Per run, the row that was labelled.
        signs: Per column 1, -1 or 0, the side its weight must stay on.
        l2: Strength of the ridge, per column divided by its deviation over all rows.
        prior: Weights, by column and in deviations, that the ridge pulls towards instead of 0.
        shares: Per run, what it counts, against the mean of them; by default all the same.
        start: The same as `prior`, per unit instead of in deviations.
        narrow: Least deviation a column is divided by.

    >>> runs = [[[1.0], [0.0]]] * 3
    >>> [round(weight, 2) for weight in fit(runs, [0, 0, 0], [1], l2=1.0)]
    [1.76]
    """
    tables = [np.asarray(run, float) for run in runs]
    rows = np.concatenate(tables)
    scale = rows.std(0)
    constant = scale < 1e-9
    scale[constant] = 1.0
    scale = np.maximum(scale, narrow)
    centre = _centre(rows, prior)
    for column, weight in (start or {}).items():
        centre[column] = weight * scale[column]
    counts = np.ones(len(tables)) if shares is None else np.asarray(shares) / np.mean(shares)
    problem = _Problem(*_padded([run / scale for run in tables], chosen), counts, l2, centre)
    weights, converged = _newton(problem, np.asarray(signs))
    if converged:
        # A column that never varied taught nothing: only what was known before stays.
        weights[constant] = problem.centre[constant]
    return [float(weight) for weight in weights / scale]


@dataclass(frozen=True)
class _Problem:
    """What is minimised."""

    x: np.ndarray
    """Run, row, column; runs are filled up to the longest one."""
    outside: np.ndarray
    """Added to scores: a large negative number where a row is filling."""
    target: np.ndarray
    """1 at the row chosen."""
    counts: np.ndarray
    """What each run counts."""
    l2: float
    centre: np.ndarray
    """What the ridge pulls towards."""

    def loss(self, weights: np.ndarray) -> float:
        """Surprise at the choices, and ridge."""
        scores = self.x @ weights + self.outside
        top = scores.max(1)
        total = np.log(np.exp(scores - top[:, None]).sum(1)) + top
        fit = float((self.counts * (total - (scores * self.target).sum(1))).sum())
        return fit + self.l2 / 2 * float(((weights - self.centre) ** 2).sum())

    def slopes(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and curvature of the loss."""
        scores = self.x @ weights + self.outside
        likely = np.exp(scores - scores.max(1, keepdims=True))
        likely /= likely.sum(1, keepdims=True)
        counts = self.counts[:, None]
        gradient = np.einsum("rk,rkf->f", counts * (likely - self.target), self.x)
        mean = np.einsum("rk,rkf->rf", likely, self.x) * np.sqrt(counts)
        spread = (self.x * np.sqrt(counts * likely)[..., None]).reshape(-1, self.x.shape[2])
        hessian = spread.T @ spread - mean.T @ mean + self.l2 * np.eye(len(weights))
        return gradient + self.l2 * (weights - self.centre), hessian


def _newton(problem: _Problem, side: np.ndarray) -> tuple[np.ndarray, bool]:
    """The best weights found, and whether the last step was a full success."""
    weights: np.ndarray = problem.centre.copy()
    loss = problem.loss(weights)
    for _ in range(STEPS):
        gradient, hessian = problem.slopes(weights)
        held = (side != 0) & (weights * side <= 1e-12) & (gradient * side >= 0)
        step = np.zeros_like(weights)
        free = ~held
        step[free] = np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
        before = loss
        for length in 0.5 ** np.arange(12):
            tried = weights - length * step
            tried[(side != 0) & (tried * side < 0)] = 0.0
            loss = problem.loss(tried)
            if loss <= before + 1e-9:
                weights = tried
                break
        else:
            return weights, False
        if before - loss < 1e-6:
            break
    return weights, True


def _centre(rows: np.ndarray, prior: Mapping[int, float] | None) -> np.ndarray:
    centre = np.zeros(rows.shape[1])
    for column, weight in (prior or {}).items():
        centre[column] = weight
    return centre


def _padded(
    runs: Sequence[np.ndarray], chosen: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs as one array, a bar against the rows that are no steps, and the rows chosen."""
    longest = max(map(len, runs))
    x = np.zeros((len(runs), longest, runs[0].shape[1]))
    outside = np.full((len(runs), longest), -1e9)
    target = np.zeros((len(runs), longest))
    for at, (run, row) in enumerate(zip(runs, chosen, strict=True)):
        x[at, : len(run)] = run
        outside[at, : len(run)] = 0.0
        target[at, row] = 1.0
    return x, outside, target
