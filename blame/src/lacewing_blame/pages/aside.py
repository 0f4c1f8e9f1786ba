"""What stands beside the steps: the first suspects, and the values of the final answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lacewing_blame.attribution import Attribution, Evidence, Suspect
from lacewing_blame.events import Trace
from lacewing_blame.ranker.flow import Value

QUOTE = 160
"""Characters of evidence that are quoted."""
REASONS = 4
"""Reasons listed per suspect."""
LONGEST_VALUE = 60
"""Characters of a value that are shown."""


@dataclass(frozen=True, slots=True)
class Reason:
    """What speaks for or against a step."""

    text: str
    against: bool
    quote: str = ""
    weight: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """A suspect of the list."""

    step: int
    agent: str
    named: bool
    """Whether it is the step that the method names."""
    share: str
    """Its probability; empty where the method gives none."""
    percent: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """A step that holds a value."""

    step: int
    agent: str


@dataclass(frozen=True, slots=True)
class Followed:
    """A value of the final answer."""

    text: str
    origin: str
    """Where it first stood, in words."""
    links: tuple[Link, ...]


def suspects(trace: Trace, attribution: Attribution, most: int) -> list[Listed]:
    """The first suspects, each with the words that speak for or against it.

    >>> from lacewing_blame.events import Event
    >>> trace = Trace("a", "How many?", (Event(0, "Ann", "4"),), "jsonl")
    >>> found = Attribution("a", "ranker", "Ann", 0, False, (Suspect(0, "Ann", 0.75),))
    >>> suspects(trace, found, 5)[0].share
    '75%'
    """
    texts = {event.index: event.text for event in trace.events}
    given = any(s.probability for s in attribution.ranking)
    return [
        Listed(
            step=one.step,
            agent=one.agent,
            named=one.step == attribution.step,
            share=f"{one.probability:.0%}" if given else "",
            percent=f"{100 * one.probability:.1f}",
            reasons=tuple(_reasons(one, texts)),
        )
        for one in attribution.ranking[:most]
    ]


def followed(trace: Trace, values: Sequence[Value]) -> list[Followed]:
    """Each value of the final answer with the step it first stood in and its way from there.

    >>> from lacewing_blame.events import Event
    >>> trace = Trace("a", "", (Event(0, "Ann", "4"), Event(1, "Bob", "It is 4.")), "jsonl")
    >>> followed(trace, [Value("4", 0, (0, 1), (6, 7))])[0].origin
    'from step 0, Ann'
    """
    agents = {event.index: event.agent for event in trace.events}
    found = []
    for value in values:
        steps = sorted({value.origin, *value.seen})
        agent = agents[value.origin]
        alone = value.origin == max(value.seen, default=value.origin)
        origin = (
            f"in no step before the answer itself ({value.origin}, {agent})"
            if alone
            else f"from step {value.origin}, {agent}"
        )
        links = tuple(Link(step, agents[step]) for step in steps)
        found.append(Followed(_clip(value.text, LONGEST_VALUE), origin, links))
    return found


def once(evidence: Sequence[Evidence]) -> list[Evidence]:
    """Each reason once, with its weightiest evidence, what speaks for the step first.

    >>> pair = Evidence(0, 0, 4, "is long", -0.1), Evidence(0, 0, 4, "is long", -0.2)
    >>> [one.weight for one in once(pair)]
    [-0.1]
    """
    last = {e.reason: e for e in sorted(evidence, key=lambda e: e.weight)}
    return sorted(last.values(), key=lambda e: -e.weight)


def _reasons(suspect: Suspect, texts: Mapping[int, str]) -> list[Reason]:
    """What speaks for a suspect, each reason once, and no words quoted twice."""
    reasons, before = [], {""}
    for evidence in once(suspect.evidence)[:REASONS]:
        quote = " ".join(texts.get(evidence.step, "")[evidence.start : evidence.end].split())
        shown = "" if quote in before else _clip(quote, QUOTE)
        before.add(quote)
        reasons.append(Reason(evidence.reason, evidence.weight < 0, shown))
    return reasons


def _clip(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
