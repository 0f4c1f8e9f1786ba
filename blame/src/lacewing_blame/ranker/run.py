"""What a ranker reads off a run before it looks at single steps.

A run is *coordinated* where one agent plans, hands out work and keeps a ledger while others act;
otherwise it is *flat*, and everybody acts. It is *concluded* where the team itself said that it was
done, rather than running out of rounds, time or luck.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from lacewing_blame.events import Event, Trace
from lacewing_blame.ranker import lexicon

_DONE = re.compile(r"\bTERMINATE\b|^\s*Request satisfied")
_IDLE = "There is no code from the last"
_EMPTY = re.compile(r"(?:output|result)s?:\s*(?:\[\]|None|\{\}|False|0|nan|'')?\s*$", re.IGNORECASE)
_NOTHING = re.compile(
    r"not found|no (?:results?|data|match\w*|information|such)|unable|could not|cannot|failed|"
    r"error|none\b|invalid|denied|forbidden|40[34]\b",
    re.IGNORECASE,
)
_ACTION = re.compile(
    r"I (?:typed|clicked|scrolled|input|hovered|pressed|visited|opened|navigated)\b|Address:"
)


@dataclass(frozen=True, slots=True)
class Ledger:
    """A coordinator's entry on how things stand; none where it does not say."""

    satisfied: bool | None
    loop: bool | None
    progress: bool | None


class Run:
    """A trace with what is known about each of its positions (not indices)."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.events = trace.events
        self.texts = [lexicon.clipped(event.text) for event in trace.events]
        self.words = [lexicon.words(text) for text in self.texts]
        self.topics = [lexicon.topics(found) for found in self.words]
        self.candidates = [at for at, event in enumerate(trace.events) if event.blamable]
        self.results = [_result(e, text) for e, text in zip(self.events, self.texts, strict=True)]
        self.ledgers = [ledger(event) for event in trace.events]

    @cached_property
    def coordinator(self) -> str | None:
        """The agent that plans, hands out work and keeps the ledger, if one does so repeatedly."""
        acting = {event.agent for event in self.events if event.blamable}
        steering = Counter(
            event.agent
            for event in self.events
            if event.blamable and event.kind in ("plan", "ledger", "handoff")
        )
        if not steering or steering.most_common(1)[0][1] < 2:
            return None
        agent, times = steering.most_common(1)[0]
        own = sum(event.agent == agent for event in self.events)
        return agent if times >= own / 2 or len(acting) == 1 else None

    @cached_property
    def concluded(self) -> bool:
        """Whether the team declared the task done."""
        last = self.events[-1]
        if any(event.kind == "tool_call" for event in self.events) and last.kind == "message":
            return last.blamable
        return any(
            _DONE.search(text) is not None and not text.startswith(_IDLE)
            for text, event in zip(self.texts[-4:], self.events[-4:], strict=True)
            if event.blamable
        )

    @cached_property
    def workers(self) -> dict[int, int]:
        """Positions of the steps of all but the coordinator, each with its rank among them."""
        acting = [at for at in self.candidates if self.events[at].agent != self.coordinator]
        return {at: rank for rank, at in enumerate(acting)}

    def has_code(self, at: int) -> bool:
        """Whether a step writes code or calls a tool."""
        return "```" in self.texts[at] or self.events[at].kind == "tool_call"

    def uses_tool(self, at: int) -> bool:
        """Whether a step does something, rather than saying something."""
        return self.has_code(at) or _ACTION.match(self.texts[at]) is not None

    def ledger_after(self, at: int) -> Ledger | None:
        """The ledger that follows within two steps."""
        return next((found for found in self.ledgers[at + 1 : at + 3] if found), None)


def _result(event: Event, text: str) -> str:
    """What a tool gave back: error, empty, nothing found, ok, or that there was nothing to do."""
    if event.kind != "tool_result":
        return ""
    if text.startswith(_IDLE):
        return "idle"
    if event.status == "error":
        return "error"
    if _EMPTY.search(text[:400]) or not text.strip():
        return "empty"
    if _NOTHING.search(text[:600]):
        return "nothing"
    return "ok"


def ledger(event: Event) -> Ledger | None:
    """The entry in a ledger event, as Magentic-One writes it (each question with an answer).

    >>> ledger(Event(0, "Boss", '{"is_in_loop": {"answer": true}}', kind="ledger")).loop
    True
    """
    if event.kind != "ledger":
        return None
    start, end = event.text.find("{"), event.text.rfind("}")
    try:
        entry = json.loads(event.text[start : end + 1])
    except (json.JSONDecodeError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        return None

    def answer(key: str) -> bool | None:
        said = entry.get(key)
        said = said.get("answer") if isinstance(said, dict) else said
        return said if isinstance(said, bool) else None

    found = Ledger(
        answer("is_request_satisfied"), answer("is_in_loop"), answer("is_progress_being_made")
    )
    return None if found == Ledger(None, None, None) else found
