"""Learning a ranker from labelled runs, in a second; twenty already help."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lacewing_blame.errors import DataError
from lacewing_blame.events import Trace
from lacewing_blame.ranker import logit
from lacewing_blame.ranker.calibrate import temperature
from lacewing_blame.ranker.features import Features, features
from lacewing_blame.ranker.folds import folds
from lacewing_blame.ranker.meanings import COORDINATED, FLAT, MEANINGS
from lacewing_blame.ranker.weights import Ranker, Weights

RIDGE = {"flat": 400.0, "coordinated": 10.0}
"""Ridge per kind of run: 62 features are held down to small weights that share the work (a tenth
costs six points), 19 features with a reason each are left freer."""
FOREIGN = 300.0
"""Ridge of weights that must be learned from the other kind of run."""
COORDINATOR = -2.0
"""What is known before any data: a coordinator's bookkeeping is rarely the decisive step."""
FEWEST = 5
"""Labelled runs without which nothing is learned."""
INNER = 10
"""Folds for the temperature; fewer would judge by weaker rankers and give timid probabilities."""


@dataclass(frozen=True)
class Example:
    """A labelled run as rows."""

    seen: Features
    chosen: int
    group: str


def train_ranker(traces: Sequence[Trace], provenance: Mapping[str, object] | None = None) -> Ranker:
    """Learn weights and temperatures.

    Runs without a label, and those whose labelled step nobody can be blamed for, are left out.

    Args:
        traces: Labelled runs.
        provenance: What to write beside the weights about where they come from.

    Raises:
        DataError: fewer than five runs can be used.

    >>> from lacewing_blame.events import conversation
    >>> said = ("Ann", "I assume 4."), ("Bob", "5.")
    >>> runs = [conversation("Count.", *said, label=("Ann", 0), id=str(n)) for n in range(6)]
    >>> train_ranker(runs).provenance["runs"]
    6
    """
    return learn(examples(traces), len(traces), provenance)


def learn(
    known: Sequence[Example], given: int, provenance: Mapping[str, object] | None = None
) -> Ranker:
    """The same from runs whose features are known, of so many given.

    >>> from lacewing_blame.events import conversation
    >>> said = ("Ann", "I assume 4."), ("Bob", "5.")
    >>> runs = [conversation("Count.", *said, label=("Ann", 0), id=str(n)) for n in range(6)]
    >>> learn(examples(runs), len(runs)).flat.runs
    6
    """
    if len(known) < FEWEST:
        raise DataError(
            f"{len(known)} of {given} runs can be learned from, at least {FEWEST} are "
            "needed; label more runs (mistake_agent and mistake_step)"
        )
    flat = [one for one in known if not one.seen.coordinated]
    coordinated = [one for one in known if one.seen.coordinated]
    return Ranker(
        _weights(FLAT, flat, known, RIDGE["flat"]),
        _weights(COORDINATED, coordinated, known, RIDGE["coordinated"]),
        {"runs": len(known), "method": "conditional logit, ridge, signs", **(provenance or {})},
    )


def examples(traces: Sequence[Trace]) -> list[Example]:
    """The runs that can be learned from, as rows.

    >>> from lacewing_blame.events import conversation
    >>> said = ("Ann", "I assume 4."), ("Bob", "5.")
    >>> runs = [conversation("Count.", *said, label=("Ann", 0), id=str(n)) for n in range(6)]
    >>> len(examples(runs))
    6
    """
    labelled = [trace for trace in traces if trace.label is not None]
    found = (example(trace, features(trace)) for trace in labelled)
    return [one for one in found if one is not None]


def example(trace: Trace, seen: Features) -> Example | None:
    """A run as an example; none where it has no label among its candidates.

    >>> from lacewing_blame.events import conversation
    >>> said = ("Ann", "I assume 4."), ("Bob", "5.")
    >>> runs = [conversation("Count.", *said, label=("Ann", 0), id=str(n)) for n in range(6)]
    >>> example(runs[0], features(runs[0])).chosen
    0
    """
    steps = [trace.events[at].index for at in seen.positions]
    if trace.label is None or trace.label.step not in steps:
        return None
    return Example(seen, steps.index(trace.label.step), trace.group or trace.id)


def _weights(
    names: tuple[str, ...], own: Sequence[Example], everything: Sequence[Example], l2: float
) -> Weights:
    """Weights from runs of this kind, or from all where there are too few, held closer to 0."""
    if len(own) < FEWEST:
        own, l2, runs = everything, max(l2, FOREIGN), 0
    else:
        runs = len(own)
    scores, chosen = [], []
    for inside, held in folds([one.group for one in own], INNER, seed=0):
        learned = _fit(names, [own[at] for at in inside], l2)
        scores += [own[at].seen.columns(names) @ learned for at in held]
        chosen += [own[at].chosen for at in held]
    fitted = _fit(names, own, l2)
    warmth = temperature(scores, chosen)
    return Weights({n: float(w) for n, w in zip(names, fitted, strict=True)}, warmth, runs)


def _fit(names: tuple[str, ...], runs: Sequence[Example], l2: float) -> np.ndarray:
    return logit.fit(
        [one.seen.columns(names) for one in runs],
        [one.chosen for one in runs],
        [MEANINGS[name].sign for name in names],
        l2,
        {names.index("coordinator"): COORDINATOR} if "coordinator" in names else None,
    )
