"""What speaks for or against a step, as spans of its text with reasons in words."""

from collections.abc import Iterable, Mapping

import numpy as np

from lacewing_blame.attribution import Evidence
from lacewing_blame.events import Trace
from lacewing_blame.ranker import lexicon
from lacewing_blame.ranker.features import Features
from lacewing_blame.ranker.flow import Value, data_flow
from lacewing_blame.ranker.meanings import MEANINGS

MOST = 5
"""Features told per step."""
LEAST = 0.03
"""Log-odds below which a feature is not worth telling."""
OPENING = 140
"""Characters marked at a step's start, where a feature has no words of its own."""
_ORIGINS = {"origin", "origin_main", "origin_done"}


def evidence(
    trace: Trace,
    seen: Features,
    weights: Mapping[str, float],
    temperature: float,
    rows: Iterable[int],
) -> dict[int, tuple[Evidence, ...]]:
    """The weightiest features of these rows, against the run's average step.

    Args:
        trace: The run.
        seen: Its features.
        weights: Log-odds per unit of each feature.
        temperature: What the log-odds are divided by.
        rows: Rows of `seen` to explain.

    >>> from lacewing_blame.events import conversation
    >>> from lacewing_blame.ranker.features import features
    >>> trace = conversation("How many?", ("Ann", "I assume 4."), ("Bob", "Thanks, 4."))
    >>> told = evidence(trace, features(trace), {"assume": 1.0}, 1.0, [0])
    >>> told[0][0].reason
    'rests on an assumption'
    """
    names = tuple(weights)
    columns = seen.columns(names)
    moved = (columns - columns.mean(0)) * np.array(list(weights.values())) / temperature
    values = data_flow(trace)
    told = {}
    for row in map(int, rows):
        order = np.argsort(-np.abs(moved[row]), kind="stable")
        present = [at for at in order if columns[row, at] and abs(moved[row, at]) >= LEAST]
        told[row] = tuple(
            piece
            for at in present[:MOST]
            for piece in _pieces(trace, seen, row, names[at], float(moved[row, at]), values)
        )
    return told


def _pieces(
    trace: Trace, seen: Features, row: int, name: str, weight: float, values: list[Value]
) -> list[Evidence]:
    """One feature as evidence: its weight goes to the first span, the rest carry none."""
    event = trace.events[seen.positions[row]]
    meaning = MEANINGS[name]
    spans: list[tuple[int, int]] = []
    if meaning.topic is not None:
        spans = lexicon.spans(meaning.topic, event.text)
    elif name in _ORIGINS:
        own = [value.text for value in values if value.origin == event.index][:3]
        spans = [(event.text.find(text), event.text.find(text) + len(text)) for text in own]
    if not spans:
        spans = [_opening(event.text)]
    return [
        Evidence(event.index, start, end, meaning.words, weight if at == 0 else 0.0)
        for at, (start, end) in enumerate(spans)
    ]


def _opening(text: str) -> tuple[int, int]:
    """The first line that says anything, or its beginning."""
    start = len(text) - len(text.lstrip())
    end = text.find("\n", start)
    return start, min(len(text) if end < 0 else end, start + OPENING)
