"""What speaks for or against a step, as spans of its text with reasons in words."""

from collections.abc import Iterable, Mapping

from lacewing_blame.attribution import Evidence
from lacewing_blame.events import Trace
from lacewing_blame.ranker import lexicon
from lacewing_blame.ranker.flow import Value, data_flow
from lacewing_blame.ranker.meanings import MEANINGS
from lacewing_blame.ranker.seen import Features
from lacewing_blame.signals.meanings import SIGNALS
from lacewing_blame.signals.spans import Spans

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
    means = [sum(column) / len(columns) for column in zip(*columns, strict=True)]
    pieces = _Signals(trace, seen) if seen.kind == "general" else _Words(trace, seen)
    told = {}
    for row in map(int, rows):
        moved = [
            (value - mean) * weights[name] / temperature
            for value, mean, name in zip(columns[row], means, names, strict=True)
        ]
        order = sorted(range(len(names)), key=lambda at: -abs(moved[at]))
        worth = [at for at in order if abs(moved[at]) >= LEAST]
        found: list[Evidence] = []
        kept = 0
        for at in worth:
            more = pieces.of(row, names[at], moved[at])
            found += more
            kept += bool(more)
            if kept == MOST:
                break
        told[row] = tuple(found)
    return told


class _Words:
    """Evidence from the features of conversations."""

    def __init__(self, trace: Trace, seen: Features) -> None:
        self.trace, self.seen = trace, seen
        self.values: list[Value] = data_flow(trace)

    def of(self, row: int, name: str, weight: float) -> list[Evidence]:
        """One feature as evidence; none where the step does not have it."""
        if not self.seen.raw[row][self.seen.names.index(name)]:
            return []
        event = self.trace.events[self.seen.positions[row]]
        meaning = MEANINGS[name]
        spans: list[tuple[int, int]] = []
        if meaning.topic is not None:
            spans = lexicon.spans(meaning.topic, event.text)
        elif name in _ORIGINS:
            own = [value.text for value in self.values if value.origin == event.index][:3]
            spans = [(event.text.find(text), event.text.find(text) + len(text)) for text in own]
        return _pieces(event.index, event.text, spans, meaning.words, weight)


class _Signals:
    """Evidence from the signals that mean the same in every system."""

    def __init__(self, trace: Trace, seen: Features) -> None:
        self.trace, self.seen = trace, seen
        self.spans = Spans(trace)

    def of(self, row: int, name: str, weight: float) -> list[Evidence]:
        """One signal as evidence; none where its value is nothing to tell."""
        signal = SIGNALS[name]
        present = bool(self.seen.raw[row][self.seen.names.index(name)])
        fits = weight * signal.sign >= 0
        words = signal.words if fits and present else signal.against
        if not words or (not fits and not signal.against):
            return []
        at = self.seen.positions[row]
        event = self.trace.events[at]
        return _pieces(event.index, event.text, self.spans.of(name, at), words, weight)


def _pieces(
    step: int, text: str, spans: list[tuple[int, int]], words: str, weight: float
) -> list[Evidence]:
    """Its weight goes to the first span, the rest carry none."""
    return [
        Evidence(step, start, end, words, weight if at == 0 else 0.0)
        for at, (start, end) in enumerate(spans or [_opening(text)])
    ]


def _opening(text: str) -> tuple[int, int]:
    """The first line that says anything, or its beginning; of a call written out, what it holds."""
    start = len(text) - len(text.lstrip())
    if text.startswith("Tool call:", start):
        return start, min(len(text), start + OPENING)
    end = text.find("\n", start)
    return start, min(len(text) if end < 0 else end, start + OPENING)
