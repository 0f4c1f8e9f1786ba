"""Explaining one node: both sides searched, the better one scored against its controls."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from lacewing.explain.amplitude import Amplitude, fit_amplitude
from lacewing.explain.card import LEAST_F1, ScoreCard, score
from lacewing.explain.controls import random_control, shuffled_control, table_controls
from lacewing.explain.firing import Firing, firings
from lacewing.explain.library import Library
from lacewing.explain.predicate import LANGUAGE, Predicate, joined, sentence
from lacewing.explain.search import Found, search

Proposer = Callable[[Float[np.ndarray, " token"], Firing], Sequence[Predicate]]
"""Predicates from elsewhere for one side of a node, from its values times the sign."""


@dataclass(frozen=True)
class Explanation:
    """What one node means, and how good it is to say so."""

    node: str
    firing: Firing | None
    """Which side of it; none for a dead node."""
    hypotheses: tuple[Found, ...]
    """Predicates, the best on select text first."""
    opposite: Predicate
    """Where the other side fires, for a node that has two; else `never`."""
    amplitude: Amplitude
    """Values expected where each clause of `both` holds."""
    card: ScoreCard | None
    sentence: str
    seconds: float
    """Processor time that it took."""
    why_not: str = ""
    """Why there is no explanation, where there is none."""

    @property
    def predicate(self) -> Predicate:
        """The predicate that was scored; `never` where there is none."""
        return self.hypotheses[0].predicate if self.hypotheses else Predicate()

    @property
    def both(self) -> Predicate:
        """The clauses of the predicate, then those of the opposite side."""
        return joined(self.predicate, self.opposite)

    @property
    def explained(self) -> bool:
        """Whether it beats its controls; see `card.ScoreCard.explained`."""
        return self.card is not None and self.card.explained

    def as_json(self) -> dict[str, Any]:
        """The row of this node: headline first, then everything."""
        firing = self.firing
        row: dict[str, Any] = {
            "node": self.node,
            "explanation": str(self.predicate) if self.hypotheses else None,
            "sentence": self.sentence,
            "lang": LANGUAGE,
            "sign": firing.sign if firing else 0,
            "threshold": firing.threshold if firing else None,
            "f1": None,
            "pearson": None,
            "control": None,
            "verdict": None,
            "explained": self.explained,
            "opposite": str(self.opposite) if self.opposite.clauses else None,
            "bits": self.predicate.bits,
            "hypotheses": [str(found.predicate) for found in self.hypotheses],
            "amplitude": self.amplitude.as_json(),
            "seconds": round(self.seconds, 3),
        }
        if self.card is not None:
            row |= {name: self.card.scores[name] for name in ("f1", "pearson")}
            row |= {"control": self.card.best_control[1], "card": self.card.as_json()}
        if self.why_not:
            row["why_not"] = self.why_not
        return row


def explain_values(
    library: Library,
    node: str,
    values: Float[np.ndarray, " token"],
    random: Float[np.ndarray, " token"] | None = None,
    proposers: Sequence[Proposer] = (),
    seed: int = 0,
) -> Explanation:
    """Explain a node from its values over a text.

    Args:
        library: Atoms of the text.
        node: Its name.
        values: Its value at every token of the text.
        random: Values of the same node in a model with shuffled weights, for that control, which
            is searched for where the explanation beats the others.
        proposers: What proposes predicates beside the search.
        seed: Draws documents and labels.
    """
    began = time.process_time()
    sides = firings(values[library.fit])
    if not sides:
        why = (
            "it never differs on fit text"
            if np.ptp(values[library.fit]) == 0
            else ("neither side fires at between 0.05 % and 50 % of fit tokens")
        )
        spent = time.process_time() - began
        nothing = Predicate(), Amplitude((0.0,)), None, "Nothing can be said."
        return Explanation(node, None, (), *nothing, spent, why)
    found = []
    for side in sides:
        proposals = [p for propose in proposers for p in propose(side.sign * values, side)]
        found.append((search(library, side.fires(values), proposals), side))
    found.sort(key=lambda each: each[0][0].rank, reverse=True)
    hypotheses, side = found[0]
    others = [h[0].predicate for h, _ in found[1:] if h[0].f1 >= LEAST_F1]
    opposite = others[0] if others else Predicate()
    return _scored(library, node, side, hypotheses, opposite, values, random, seed, began)


def _scored(
    library: Library,
    node: str,
    side: Firing,
    hypotheses: Sequence[Found],
    opposite: Predicate,
    values: Float[np.ndarray, " token"],
    random: Float[np.ndarray, " token"] | None,
    seed: int,
    began: float,
) -> Explanation:
    """The score card of the best hypothesis for one side."""
    signed, fires = side.sign * values.astype(np.float64), side.fires(values)
    predicate = hypotheses[0].predicate
    both = joined(predicate, opposite)
    amplitude = fit_amplitude(library.columns, (predicate, opposite), signed)
    controls: dict[str, Mapping[str, float]] = dict(table_controls(library, fires, signed))
    controls["shuffled"] = shuffled_control(library, fires)
    card = score(library, predicate, both, amplitude, side, signed, controls, seed)
    if random is not None and card.explained:  # two searches, which could change nothing else
        controls["random"] = random_control(library, random)
        card = replace(card, controls=controls)
    features = {name: feature for name, (_, feature) in library.text.features.items()}
    said = sentence(predicate, features)
    why = "" if card.explained else _why_not(card)
    spent = time.process_time() - began
    return Explanation(node, side, tuple(hypotheses), opposite, amplitude, card, said, spent, why)


def _why_not(card: ScoreCard) -> str:
    """Why a card is not good enough."""
    name, value = card.best_control
    f1, (low, _) = card.scores["f1"], card.ci95["f1"]
    if card.lookup:
        return f"a table of tokens says as much (unigram F1 {value:.2f}): it is a set of tokens"
    if f1 < 0.5:
        return f"test F1 {f1:.2f} is below 0.5; the {name} control has {value:.2f}"
    return f"F1 {f1:.2f}, lower end {low:.2f}, is not above the {name} control's {value:.2f}"
