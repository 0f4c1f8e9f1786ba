"""The score card: what an explanation is worth on test text, beside what proves nothing.

The headline is Pearson and F1 on uniformly sampled test tokens with 95 % intervals over documents.
`explained` asks for F1 of at least 0.5 whose interval lies above the best control. A node that is a
mere table of tokens cannot beat the unigram table, which is the same thing, and is one with random
weights too. So `described` asks less: 0.5, above what always fires and what the search makes of
shuffled activations. `lookup` says that a described node is a set of tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from lacewing.explain.amplitude import Amplitude
from lacewing.explain.controls import BAR, CHANCE
from lacewing.explain.firing import Firing
from lacewing.explain.library import Library
from lacewing.explain.metrics import intervals, sanity, scores
from lacewing.explain.predicate import Predicate, Token
from lacewing.explain.search import f1

LEAST_F1 = 0.5
"""F1 on test text below which there is no good explanation."""
EXAMPLES = 5


@dataclass(frozen=True)
class ScoreCard:
    """Scores of one explanation on test text."""

    n_tokens: int
    n_positive: int
    documents: int
    scores: Mapping[str, float]
    ci95: Mapping[str, tuple[float, float]]
    thresholds: Mapping[str, float]
    """F1 where the node counts as firing from a lower, the chosen and a higher value on."""
    sanity: Mapping[str, Mapping[str, float]]
    """Headline scores with labels missing and with extra ones."""
    controls: Mapping[str, Mapping[str, float]]
    unexplained: Mapping[str, Any]
    """Activation missed and falsely expected, as shares, with the tokens that are worst."""
    tokens_only: bool
    """Whether the explanation speaks of the current token alone."""

    @property
    def best_control(self) -> tuple[str, float]:
        """The control with the highest F1 among those that count, and its F1."""
        known = {name: self.controls[name]["f1"] for name in BAR if name in self.controls}
        name = max(known, key=lambda each: known[each])
        return name, known[name]

    @property
    def explained(self) -> bool:
        """Whether this is a good explanation; else the unigram table says as much."""
        low = self.ci95["f1"][0]
        return self.scores["f1"] >= LEAST_F1 and low > self.best_control[1]

    @property
    def described(self) -> bool:
        """Whether it is right of the node, though a table of tokens may be as good."""
        chance = [self.controls[name]["f1"] for name in CHANCE if name in self.controls]
        return self.scores["f1"] >= LEAST_F1 and self.ci95["f1"][0] > max(chance, default=0.0)

    @property
    def lookup(self) -> bool:
        """Whether the node is described by a set of tokens."""
        return self.described and self.tokens_only

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        name, value = self.best_control
        return {
            "split": "test",
            "sample": "uniform",
            "n_tokens": self.n_tokens,
            "n_pos": self.n_positive,
            "documents": self.documents,
            **self.scores,
            "ci95": {key: list(ends) for key, ends in self.ci95.items()},
            "thresholds": dict(self.thresholds),
            "sanity": {key: dict(each) for key, each in self.sanity.items()},
            "controls": {key: dict(each) for key, each in self.controls.items()},
            "best_control": {"name": name, "f1": value},
            "explained": self.explained,
            "described": self.described,
            "lookup": self.lookup,
            "unexplained": dict(self.unexplained),
        }


def score(
    library: Library,
    predicate: Predicate,
    both: Predicate,
    amplitude: Amplitude,
    firing: Firing,
    values: Float[np.ndarray, " token"],
    controls: Mapping[str, Mapping[str, float]],
    seed: int = 0,
) -> ScoreCard:
    """The card of one explanation.

    Args:
        library: Of the text.
        predicate: Where the node is said to fire.
        both: The same with the clauses of its other side, which its value is expected from.
        amplitude: How large it is said to be.
        firing: Which side of the node, and from which value on it fires.
        values: The node's values times the side's sign, over the whole text.
        controls: F1 and Pearson of what it has to beat.
        seed: Draws documents and labels.
    """
    text = library.text
    test = text.slices["test"]
    guess = library.columns.truth(predicate)[test]
    predicted = amplitude.predict(library.columns, both)[test]
    true, level = values[test] > firing.threshold, values[test].astype(np.float64)
    document = text.document[test]
    ends = intervals(guess, predicted, true, level, document, seed)
    found = scores(guess, predicted, true, level)
    low, high = firing.others
    return ScoreCard(
        n_tokens=len(true),
        n_positive=int(true.sum()),
        documents=len(np.unique(document)),
        scores=found,
        ci95=ends,
        thresholds={
            "low": f1(guess, level > low),
            "chosen": found["f1"],
            "high": f1(guess, level > high),
        },
        sanity=sanity(guess, predicted, true, level, seed),
        controls=controls,
        unexplained=_unexplained(library, guess, true, level - firing.threshold),
        tokens_only=_tokens_only(predicate),
    )


def _tokens_only(predicate: Predicate) -> bool:
    """Whether it speaks of the current token alone."""
    return bool(predicate.clauses) and all(
        isinstance(literal.atom, Token) and not literal.atom.back
        for clause in predicate.clauses
        for literal in clause
    )


def _unexplained(
    library: Library,
    guess: Bool[np.ndarray, " token"],
    fires: Bool[np.ndarray, " token"],
    above: Float[np.ndarray, " token"],
) -> dict[str, Any]:
    """The share of firing that no clause covers, and of guesses at which nothing fires."""
    begin = library.text.slices["test"].start
    mass = np.where(fires, above, 0.0)
    missed, false = fires & ~guess, guess & ~fires
    worst = np.argsort(-np.where(missed, above, -np.inf), kind="stable")[: int(missed.sum())]
    lowest = np.argsort(np.where(false, above, np.inf), kind="stable")[: int(false.sum())]
    return {
        "missed_mass": float(mass[missed].sum() / mass.sum()) if mass.sum() else 0.0,
        "false_share": float(false.sum() / guess.sum()) if guess.sum() else 0.0,
        "missed": [_example(library, begin + int(at)) for at in worst[:EXAMPLES]],
        "false": [_example(library, begin + int(at)) for at in lowest[:EXAMPLES]],
    }


def _example(library: Library, at: int) -> dict[str, Any]:
    """A token in its surroundings."""
    text = library.text
    tokens, place = text.around(at)
    return {"document": text.paths[text.document[at]], "tokens": tokens, "at": place}
