"""The answer of every method: a ranking of steps with what speaks for each."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Evidence:
    """Something in the log that speaks for or against a step."""

    step: int
    """Index of the event the text stands in."""
    start: int
    """First character of the span in that event's text."""
    end: int
    """One past its last character."""
    reason: str
    """What it shows, in words."""
    weight: float = 0.0
    """How much it moved the ranking, in log-odds; negative speaks against."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """One step of the ranking."""

    step: int
    agent: str
    probability: float
    """That this is the decisive step, given the log; sums to 1 over the ranking, or 0 throughout
    for a method that gives no probabilities."""
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class Attribution:
    """Who and when, by one method, for one trace."""

    trace: str
    """Id of the trace."""
    method: str
    """The method's name."""
    agent: str | None
    """The agent named; none where the method abstained or found nothing."""
    step: int | None
    """The step named."""
    abstained: bool
    """Whether the method said that it does not know."""
    ranking: tuple[Suspect, ...]
    """Steps, most suspected first."""
    agents: Mapping[str, float] = field(default_factory=dict)
    """Probability per agent, where the method gives any."""
    reason: str = ""
    """Why, in words; an LLM's own words where one was asked."""
    calls: int = 0
    """Requests to an LLM."""
    tokens: int = 0
    """Tokens of these requests and their answers, as the endpoint counts them."""
    written: int = 0
    """Those of the answers alone, where the endpoint says."""
    notes: tuple[str, ...] = ()
    """What went wrong or was ambiguous, and what was done about it."""

    def as_json(self) -> dict[str, Any]:
        """Plain values for a file or a terminal."""
        return asdict(self)
