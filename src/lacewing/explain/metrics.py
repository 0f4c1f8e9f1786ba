"""Scores of a guess against a node, on uniformly sampled tokens, with intervals over documents.

Only scores that fall when labels are taken away and when false ones are added: Pearson's
correlation and F1 first, then the area under precision and recall. R2 is centred: 0 is the mean.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

RESAMPLES = 400
HEADLINE = ("pearson", "f1")


def scores(
    guess: Bool[np.ndarray, " token"],
    predicted: Float[np.ndarray, " token"],
    fires: Bool[np.ndarray, " token"],
    values: Float[np.ndarray, " token"],
) -> dict[str, float]:
    """All scores of one guess.

    Args:
        guess: Where the explanation says that the node fires.
        predicted: The value it expects.
        fires: Where the node fires.
        values: Its values.
    """
    right, said, true = (float(x.sum()) for x in (guess & fires, guess, fires))
    n = float(len(fires))
    spread = np.sqrt(said * true * (n - said) * (n - true))
    return {
        "pearson": pearson(predicted, values),
        "f1": 2 * right / (said + true) if said + true else 0.0,
        "auprc": average_precision(predicted, fires),
        "precision": right / said if said else 0.0,
        "recall": right / true if true else 0.0,
        "mcc": float((right * n - said * true) / spread) if spread else 0.0,
        "r2_centred": r2(predicted, values),
    }


def intervals(
    guess: Bool[np.ndarray, " token"],
    predicted: Float[np.ndarray, " token"],
    fires: Bool[np.ndarray, " token"],
    values: Float[np.ndarray, " token"],
    document: Int[np.ndarray, " token"],
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """95 % intervals of Pearson and F1, by drawing documents with replacement."""
    owner = np.unique(document, return_inverse=True)[1]
    columns = [
        *(np.ones(len(fires)), predicted, values, predicted**2, values**2, predicted * values),
        *(guess & fires, guess, fires),
    ]
    sums = np.stack([np.bincount(owner, column) for column in columns], axis=1)
    many = len(sums)
    drawn = np.random.default_rng(seed).multinomial(many, np.full(many, 1 / many), RESAMPLES)
    n, s, y, ss, yy, sy, right, said, true = (drawn @ sums).T
    together = n * sy - s * y
    spread = np.sqrt(np.maximum((n * ss - s * s) * (n * yy - y * y), 0))
    f1 = 2 * right / np.maximum(said + true, 1)
    correlation = np.where(spread > 0, together / np.where(spread > 0, spread, 1), 0.0)
    return {
        name: (float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975)))
        for name, drawn in (("pearson", correlation), ("f1", f1))
    }


def f1_interval(
    guess: Bool[np.ndarray, " token"],
    fires: Bool[np.ndarray, " token"],
    document: Int[np.ndarray, " token"],
    seed: int = 0,
) -> tuple[float, tuple[float, float]]:
    """F1 with its interval over documents."""
    level = guess.astype(float)
    ends = intervals(guess, level, fires, fires.astype(float), document, seed)["f1"]
    total = float(guess.sum() + fires.sum())
    return (2 * float((guess & fires).sum()) / total if total else 0.0), ends


def pearson(a: Float[np.ndarray, " token"], b: Float[np.ndarray, " token"]) -> float:
    """Pearson's correlation; 0 where one of the two never changes."""
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / spread if spread > 0 else 0.0


def r2(predicted: Float[np.ndarray, " token"], values: Float[np.ndarray, " token"]) -> float:
    """The share of the variance that is explained."""
    total = float(((values - values.mean()) ** 2).sum())
    return 1 - float(((values - predicted) ** 2).sum()) / total if total else 0.0


def average_precision(
    predicted: Float[np.ndarray, " token"], fires: Bool[np.ndarray, " token"]
) -> float:
    """Area under precision and recall, tokens of equal value taken together."""
    if not fires.any():
        return 0.0
    _, level = np.unique(-predicted, return_inverse=True)
    right = np.cumsum(np.bincount(level, fires))
    said = np.cumsum(np.bincount(level))
    recall = right / fires.sum()
    return float((np.diff(recall, prepend=0.0) * right / said).sum())


def sanity(
    guess: Bool[np.ndarray, " token"],
    predicted: Float[np.ndarray, " token"],
    fires: Bool[np.ndarray, " token"],
    values: Float[np.ndarray, " token"],
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """The headline scores after half of the labels were removed, and after as many were added.

    A score that hardly falls cannot tell a good explanation from a careless one.
    """
    dice = np.random.default_rng(seed)
    on, off = np.flatnonzero(guess), np.flatnonzero(~guess)
    gone = dice.choice(on, len(on) // 2, replace=False)
    added = dice.choice(off, min(len(on), len(off)), replace=False)
    found = {}
    for name, places, source in (("missing", gone, off), ("extra", added, on)):
        changed, level = guess.copy(), predicted.copy()
        changed[places] = name == "extra"
        if len(source):
            level[places] = predicted[dice.choice(source, len(places))]
        each = scores(changed, level, fires, values)
        found[name] = {metric: each[metric] for metric in HEADLINE}
    return found
