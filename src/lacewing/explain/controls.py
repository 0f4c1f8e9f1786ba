"""What an explanation has to beat: guesses that know nothing of the node's meaning.

constant   it always fires
unigram    a table of the current token
bigram     a table of the last two tokens, backed by the first
shuffled   the search, on activations moved half a part on: what it finds where nothing is
random     the search, on the same node of the same model with shuffled weights; only of an
           explanation that beats the others
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int64

from lacewing.explain.firing import firings
from lacewing.explain.library import Library
from lacewing.explain.metrics import pearson
from lacewing.explain.search import BETAS, f1, search

BAR = ("constant", "unigram", "shuffled", "random")
"""The controls whose best an explanation has to beat."""
CHANCE = ("constant", "shuffled")
"""Those that are no explanation of the node at all."""


def table_controls(
    library: Library,
    fires: Bool[np.ndarray, " token"],
    values: Float[np.ndarray, " token"],
) -> dict[str, dict[str, float]]:
    """Constant, unigram and bigram, fitted on fit, their thresholds set on select, on test text."""
    text = library.text
    fit, select, test = (text.slices[part] for part in ("fit", "select", "test"))
    always = np.ones(len(text), dtype=bool)
    found = {"constant": {"f1": f1(always[test], fires[test]), "pearson": 0.0}}
    one, two = library.keys
    for name, keys in (("unigram", [one]), ("bigram", [one, two])):
        share = _table(keys, fires.astype(float), fit)
        cut = _threshold(share[select], fires[select])
        level = _table(keys, values, fit)
        found[name] = {
            "f1": f1(share[test] >= cut, fires[test]),
            "pearson": pearson(level[test], values[test]),
        }
    return found


def shuffled_control(library: Library, fires: Bool[np.ndarray, " token"]) -> dict[str, float]:
    """What the search reaches on activations that stand half a part away from their tokens."""
    moved = fires.copy()
    for part in library.text.slices.values():
        moved[part] = np.roll(fires[part], (part.stop - part.start) // 2)
    return _searched(library, moved, BETAS[:1])


def random_control(library: Library, values: Float[np.ndarray, " token"]) -> dict[str, float]:
    """What the search reaches on the same node with random weights, on its better side."""
    sides = [side.fires(values) for side in firings(values[library.fit])]
    found = [_searched(library, fires, BETAS) for fires in sides]
    return max(found, key=lambda each: each["f1"], default={"f1": 0.0, "pearson": 0.0})


def _searched(
    library: Library, fires: Bool[np.ndarray, " token"], betas: Sequence[float]
) -> dict[str, float]:
    test = library.text.slices["test"]
    best = search(library, fires, keep=1, betas=betas)[0].predicate
    guess = library.columns.truth(best)[test]
    truth = fires[test]
    return {"f1": f1(guess, truth), "pearson": pearson(guess.astype(float), truth.astype(float))}


def _table(
    keys: Sequence[Int64[np.ndarray, " token"]], values: Float[np.ndarray, " token"], fit: slice
) -> Float[np.ndarray, " token"]:
    """The mean of fit text for each key, shrunk towards that of the key before, then the mean."""
    found = np.full(len(values), float(values[fit].mean()))
    for key in keys:
        size = int(key.max()) + 1
        count = np.bincount(key[fit], minlength=size)
        sums = np.bincount(key[fit], values[fit], minlength=size)
        found = (sums[key] + found) / (count[key] + 1)
    return found


def _threshold(share: Float[np.ndarray, " token"], fires: Bool[np.ndarray, " token"]) -> float:
    """The share from which saying that it fires gives the best F1."""
    order = np.argsort(-share, kind="stable")
    right = np.cumsum(fires[order])
    score = 2 * right / (np.arange(1, len(order) + 1) + max(int(fires.sum()), 1))
    return float(share[order[int(np.argmax(score))]]) if len(order) else 1.0
