"""Where in a step's text a signal shows itself."""

from functools import cached_property

from lacewing_blame.events import Trace
from lacewing_blame.signals import claiming, grounding, sums
from lacewing_blame.signals.scene import END, Scene

MOST = 3
"""Spans given per signal and step."""


class Spans:
    """The spans of one run's signals."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    @cached_property
    def fresh(self) -> dict[int, list[str]]:
        """Per position, the values that it is the first to name."""
        return grounding.first_named(Scene(self.trace))[0]

    def of(self, name: str, at: int) -> list[tuple[int, int]]:
        """Where a signal shows itself in the text at a position; empty where nowhere in particular.

        >>> from lacewing_blame.events import conversation
        >>> Spans(conversation("Add.", ("A", "So 12 + 13 = 26."))).of("wrong_sum", 0)
        [(3, 15)]
        """
        text = self.trace.events[at].text
        if name == "wrong_sum":
            return sums.wrong_sums(text)[:MOST]
        if name.startswith("unsourced"):
            found = [(text.find(value), len(value)) for value in self.fresh.get(at, ())]
            return [(start, start + size) for start, size in found if start >= 0][:MOST]
        patterns = {
            "estimates": grounding.ESTIMATE,
            "claims_against": claiming.DONE,
            "declares_end": END,
            "ends_hollow": END,
            "holes": claiming.HOLE,
        }
        if name in patterns:
            found = [m.span() for m in patterns[name].finditer(text[:24_000])]
            return found[-MOST:]
        return []
