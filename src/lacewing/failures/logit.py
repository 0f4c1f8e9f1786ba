"""Conditional logit with ridge and signs, by projected Newton steps (numpy only).

The run is the unit: one of its rows was chosen. Maximises sum log softmax(x w)[chosen] minus
l2/2 |w - prior|^2 over standardised columns; a weight whose feature has a sign stays on that side
of zero.
"""

from collections.abc import Mapping, Sequence

import numpy as np

STEPS = 30
"""Newton steps at most; a handful is enough."""
NARROW = 0.1
"""Least deviation a column is standardised by: one that hardly varied must not weigh much per unit,
since it may vary more in other runs."""


def fit(
    runs: Sequence[np.ndarray],
    chosen: Sequence[int],
    signs: Sequence[int],
    l2: float,
    prior: Mapping[int, float] | None = None,
) -> np.ndarray:
    """The weights per unit of each column.

    Args:
        runs: Per run, one row of features per candidate.
        chosen: Per run, the row that was labelled.
        signs: Per column 1, -1 or 0, the side its weight must stay on.
        l2: Strength of the ridge, per column divided by its deviation over all rows.
        prior: Weights, by column and in deviations, that the ridge pulls towards instead of 0.
    """
    rows = np.concatenate(runs)
    scale = rows.std(0)
    constant = scale < 1e-9
    scale[constant] = 1.0
    scale = np.maximum(scale, NARROW)
    x, outside, target = _padded([run / scale for run in runs], chosen)
    side = np.asarray(signs)
    centre = np.zeros(rows.shape[1])
    for column, weight in (prior or {}).items():
        centre[column] = weight
    weights = centre.copy()
    loss = _loss(x, outside, target, weights, l2, centre)
    for _ in range(STEPS):
        gradient, hessian = _slopes(x, outside, target, weights, l2, centre)
        held = (side != 0) & (weights * side <= 1e-12) & (gradient * side >= 0)
        step = np.zeros_like(weights)
        free = ~held
        step[free] = np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
        before = loss
        for length in 0.5 ** np.arange(12):
            tried = weights - length * step
            tried[(side != 0) & (tried * side < 0)] = 0.0
            loss = _loss(x, outside, target, tried, l2, centre)
            if loss <= before + 1e-9:
                weights = tried
                break
        else:
            return weights / scale
        if before - loss < 1e-6:
            break
    # A column that never varied taught nothing: only what was known before stays.
    weights[constant] = centre[constant]
    return weights / scale


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


def _loss(
    x: np.ndarray,
    outside: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    l2: float,
    centre: np.ndarray,
) -> float:
    scores = x @ weights + outside
    top = scores.max(1)
    total = np.log(np.exp(scores - top[:, None]).sum(1)) + top
    fit = float((total - (scores * target).sum(1)).sum())
    return fit + l2 / 2 * float(((weights - centre) ** 2).sum())


def _slopes(
    x: np.ndarray,
    outside: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    l2: float,
    centre: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and curvature of the loss."""
    scores = x @ weights + outside
    likely = np.exp(scores - scores.max(1, keepdims=True))
    likely /= likely.sum(1, keepdims=True)
    gradient = np.einsum("rk,rkf->f", likely - target, x) + l2 * (weights - centre)
    mean = np.einsum("rk,rkf->rf", likely, x)
    spread = (x * np.sqrt(likely)[..., None]).reshape(-1, x.shape[2])
    hessian = spread.T @ spread - mean.T @ mean + l2 * np.eye(len(weights))
    return gradient, hessian
