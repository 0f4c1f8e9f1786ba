"""Every step of a log as its page shows it: who, what, what speaks for it, and the whole text."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lacewing_blame.attribution import Attribution, Evidence
from lacewing_blame.events import Event, Trace
from lacewing_blame.pages.aside import Reason
from lacewing_blame.pages.text import HEAD, Mark, Stretch, marked, places
from lacewing_blame.ranker.flow import Value

EVIDENCE_FROM = 20
"""Suspects whose evidence is marked; further down the ranking it would mark nearly everything."""
SHOWN = 900
"""Characters of a suspected step that are shown before its first fold."""
LEAST = 0.005
"""Probability below which none is shown."""


@dataclass(frozen=True)
class Step:
    """One step."""

    index: int
    agent: str
    facts: str
    heat: int
    """Suspicion in tenths of the strongest; part of a CSS class."""
    share: str
    """Its probability; empty where it is next to none."""
    reasons: tuple[Reason, ...]
    text: Sequence[Stretch]
    """Empty where nothing was said."""


def heat_of(attribution: Attribution) -> dict[int, float]:
    """Suspicion by step, 1 for the strongest; for a method without probabilities, its first.

    >>> from lacewing_blame.attribution import Suspect
    >>> ranking = (Suspect(3, "Ann", 0.5), Suspect(1, "Bob", 0.25))
    >>> heat_of(Attribution("a", "ranker", "Ann", 3, False, ranking))
    {3: 1.0, 1: 0.5}
    """
    most = max((s.probability for s in attribution.ranking), default=0.0)
    if most > 0:
        return {s.step: s.probability / most for s in attribution.ranking}
    return {s.step: 1.0 for s in attribution.ranking[:1]}


def steps(
    trace: Trace, attribution: Attribution, values: Sequence[Value], long: frozenset[int]
) -> list[Step]:
    """All steps.

    Args:
        trace: The run.
        attribution: What a method says of it.
        values: The values of the final answer.
        long: Steps of which more is shown before the first fold.

    >>> trace = Trace("a", "How many?", (Event(0, "Ann", "4", kind="final"),), "jsonl")
    >>> steps(trace, Attribution("a", "ranker", "Ann", 0, False, ()), [], frozenset())[0].facts
    'final'
    """
    heat, found = heat_of(attribution), _evidence(attribution)
    marks = _marks(trace, found, values)
    probability = {s.step: s.probability for s in attribution.ranking}
    return [
        Step(
            index=event.index,
            agent=event.agent,
            facts=" · ".join(_facts(event)),
            heat=round(10 * heat.get(event.index, 0.0)),
            share=_share(probability.get(event.index, 0.0)),
            reasons=tuple(_reasons(found[event.index])),
            text=marked(event.text, marks[event.index], SHOWN if event.index in long else HEAD)
            if event.text.strip()
            else (),
        )
        for event in trace.events
    ]


def _share(probability: float) -> str:
    return f"{probability:.0%}" if probability >= LEAST else ""


def _facts(event: Event) -> list[str]:
    """What is known of a step beside who made it, nothing twice."""
    # A framework's suffix, such as "(thought)", without the name again.
    suffix = event.role.removeprefix(event.agent).strip(" ()")
    kind = event.kind.replace("_", " ") if event.kind != "message" else ""
    known = [kind, event.tool or "", suffix, event.status or ""]
    shown = {event.agent, *kind.split()} - {kind}
    return [fact for fact in dict.fromkeys(known) if fact and fact not in shown]


def _evidence(attribution: Attribution) -> Mapping[int, list[Evidence]]:
    """Evidence by the step whose text it stands in, the weightiest first, each once."""
    found: dict[int, list[Evidence]] = defaultdict(list)
    for suspect in attribution.ranking[:EVIDENCE_FROM]:
        for evidence in suspect.evidence:
            if evidence not in found[evidence.step]:
                found[evidence.step].append(evidence)
    for listed in found.values():
        listed.sort(key=lambda e: -abs(e.weight))
    return found


def _marks(
    trace: Trace, found: Mapping[int, list[Evidence]], values: Sequence[Value]
) -> Mapping[int, list[Mark]]:
    """What is marked in each step's text."""
    marks: dict[int, list[Mark]] = defaultdict(list)
    for step, listed in found.items():
        marks[step] += [
            Mark(e.start, e.end, "against" if e.weight < 0 else "for", e.reason) for e in listed
        ]
    texts = {event.index: event.text for event in trace.events}
    for number, value in enumerate(values):
        for step in value.seen:
            marks[step] += [
                Mark(start, end, "value", "a value of the final answer", number)
                for start, end in places(value.text, texts[step])
            ]
    return marks


def _reasons(evidence: Sequence[Evidence]) -> list[Reason]:
    """Each reason once, however many places show it, with its whole weight."""
    total: dict[str, float] = defaultdict(float)
    for one in evidence:
        total[one.reason] += one.weight
    return [
        Reason(reason, weight < 0, weight=f"{weight:+.2f}" if weight else "")
        for reason, weight in total.items()
    ]
