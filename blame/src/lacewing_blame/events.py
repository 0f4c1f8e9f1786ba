"""What happened in a run: one schema for every log format.

An event keeps the index it had in the log, so that step 12 here is step 12 of the file. Agents are
named without the suffixes a framework adds; `role` keeps the name as it stood.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["plan", "message", "tool_call", "tool_result", "ledger", "handoff", "final"]
Status = Literal["ok", "error"]


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a run."""

    index: int
    """Its 0-based place in the log; what labels and answers call the step."""
    agent: str
    """Who acted."""
    text: str
    """What was said, or what a tool was given or gave back."""
    kind: Kind = "message"
    """What sort of act it is."""
    tool: str | None = None
    """The tool called, or whose result this is."""
    status: Status | None = None
    """Whether a tool succeeded, where the log says so."""
    parent: int | None = None
    """Index of the event this one answers to, where the log says so."""
    time: float | None = None
    """Seconds since the epoch, where the log says so."""
    role: str = ""
    """The speaker as it stood in the log."""
    blamable: bool = True
    """False for people and for terminals that only carry out what an agent wrote."""


@dataclass(frozen=True, slots=True)
class Label:
    """Who and when, by a person's judgement."""

    agent: str
    step: int
    """Index of the decisive event."""
    reason: str = ""


@dataclass(frozen=True)
class Trace:
    """One run, whole."""

    id: str
    """Name of the run, unique in its folder."""
    task: str
    """What the team was asked to do; empty where the log does not say."""
    events: tuple[Event, ...]
    """In log order; at least one."""
    format: str
    """The log format it was read from."""
    expected: str | None = None
    """The right answer, where known. No method sees it unless it is told to."""
    group: str | None = None
    """Runs of one question share it; folds and spectra go by it."""
    succeeded: bool | None = None
    """The outcome, where known."""
    label: Label | None = None
    """Who and when, where annotated."""
    notes: tuple[str, ...] = ()
    """What the reader found odd, such as a label whose step another agent made."""

    def agents(self) -> tuple[str, ...]:
        """Agents that may be blamed, in order of appearance."""
        return tuple(dict.fromkeys(e.agent for e in self.events if e.blamable))

    def candidates(self) -> tuple[Event, ...]:
        """Events that may be blamed."""
        return tuple(e for e in self.events if e.blamable)


def conversation(
    task: str, *said: tuple[str, str], label: tuple[str, int] | None = None, id: str = "run"
) -> Trace:
    """A run made by hand.

    Args:
        task: What the team was asked to do.
        said: Who spoke and what was said, in order.
        label: Agent and step to blame, where known.
        id: Its name.

    >>> trace = conversation("How many?", ("Ann", "I assume 4."), ("Bob", "Thanks, 4."))
    >>> trace.agents(), len(trace.events)
    (('Ann', 'Bob'), 2)
    """
    events = tuple(Event(at, agent, text) for at, (agent, text) in enumerate(said))
    return Trace(id, task, events, "jsonl", label=Label(*label) if label is not None else None)
