"""Nodes that are explained alike: automatic supernodes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lacewing.explain.library import Library
from lacewing.explain.node import Explanation

ALIKE = 0.9
"""Overlap (intersection over union, on test text) from which two predicates say the same."""


def groups(library: Library, explanations: Sequence[Explanation]) -> list[dict[str, Any]]:
    """Groups of two nodes or more, the largest first, named after their shortest predicate.

    A node joins the first group whose every member says the same as it.
    """
    test = library.text.slices["test"]
    found: list[list[tuple[Explanation, np.ndarray]]] = []
    for explanation in explanations:
        if explanation.card is None or not explanation.card.described:
            continue
        truth = library.columns.truth(explanation.predicate)[test]
        home = next((g for g in found if all(_alike(truth, t) for _, t in g)), None)
        if home is None:
            found.append([(explanation, truth)])
        else:
            home.append((explanation, truth))
    several = [[e for e, _ in group] for group in found if len(group) > 1]
    named = []
    for group in sorted(several, key=len, reverse=True):
        shortest = min(group, key=lambda e: e.predicate.bits)
        named.append(
            {
                "explanation": str(shortest.predicate),
                "sentence": shortest.sentence,
                "nodes": [e.node for e in group],
            }
        )
    return named


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    union = int((a | b).sum())
    return union > 0 and int((a & b).sum()) >= ALIKE * union
