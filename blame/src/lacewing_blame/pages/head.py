"""What sums a log's page up: the verdict, what it is worth, the facts around it, the signs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lacewing_blame.attribution import Attribution
from lacewing_blame.events import Trace
from lacewing_blame.pages.text import Stretch, folded

REPLAY = "replay"
"""The only method that may speak of a cause: it ran the correction."""


@dataclass(frozen=True)
class Fact:
    """A line below the verdict."""

    name: str
    text: Sequence[Stretch] = ()
    agent: str = ""
    step: int | None = None
    small: str = ""


@dataclass(frozen=True)
class Head:
    """The verdict and the facts around it."""

    about: str
    verdict: str
    step: int | None
    owner: str
    """Who made the step, where this is not the agent named."""
    standing: str
    """How much the verdict is worth."""
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Sign:
    """A sign of the timeline and what it means."""

    text: str
    mark: str = ""
    kind: str = ""
    """CSS class of the mark."""


def head(trace: Trace, attribution: Attribution) -> Head:
    """The verdict and the facts around it.

    >>> from lacewing_blame.events import Event
    >>> trace = Trace("a", "How many?", (Event(0, "Ann", "4"),), "jsonl")
    >>> head(trace, Attribution("a", "ranker", "Ann", 0, False, ())).verdict
    'Suspected: Ann'
    """
    # A method may blame one agent by the sum of its steps and yet find another's step the worst.
    owner = next((e.agent for e in trace.events if e.index == attribution.step), None)
    return Head(
        about=f"{trace.id} · {len(trace.events)} steps · {trace.format}",
        verdict=_verdict(attribution),
        step=attribution.step,
        owner="" if owner in (None, attribution.agent) else str(owner),
        standing=_standing(attribution),
        facts=tuple(_facts(trace, attribution)),
    )


def legend(trace: Trace, attribution: Attribution) -> list[Sign]:
    """What the signs of the timeline mean, as far as it holds them.

    >>> from lacewing_blame.events import Event
    >>> trace = Trace("a", "How many?", (Event(0, "Ann", "4"),), "jsonl")
    >>> [sign.text for sign in legend(trace, Attribution("a", "ranker", "Ann", 0, False, ()))]
    ['named by the method']
    """
    most = max((s.probability for s in attribution.ranking), default=0.0)
    kinds = {event.kind for event in trace.events if event.blamable}
    known = [
        (attribution.step is not None, Sign("named by the method", "▼", "named-sign")),
        (trace.label is not None, Sign("annotated by a person", "◇", "label-sign")),
        (most > 0, Sign(f"strongest: {most:.0%}")),
        (bool(kinds & {"plan", "ledger", "handoff"}), Sign("light: plans and hand-overs")),
        (bool(kinds & {"tool_call", "tool_result"}), Sign("green: tools")),
        (not all(e.blamable for e in trace.events), Sign("pale: people and terminals")),
        (any(e.status == "error" for e in trace.events), Sign("an error", "●", "named-sign")),
    ]
    return [sign for holds, sign in known if holds]


def _facts(trace: Trace, attribution: Attribution) -> Iterator[Fact]:
    yield Fact("Task", folded(trace.task or "the log does not say"))
    yield Fact("Method", folded(_method(attribution)))
    if trace.label is not None:
        label = trace.label
        agrees = _agreement(trace, attribution)
        yield Fact("Annotated", folded(label.reason), label.agent, label.step, agrees)
    if trace.expected is not None:
        yield Fact("Expected answer", folded(trace.expected))
    if attribution.reason:
        yield Fact("The model's words" if attribution.calls else "Why", folded(attribution.reason))
    notes = dict.fromkeys((*trace.notes, *attribution.notes))
    if notes:
        yield Fact("Notes", folded("\n".join(notes)))


def _verdict(attribution: Attribution) -> str:
    if attribution.abstained:
        return "Nobody named: no step is likely enough"
    if attribution.agent is None and attribution.step is None:
        return "No suspect: the method found none"
    word = "Cause" if attribution.method == REPLAY else "Suspected"
    agent = attribution.agent or "an unnamed agent"
    return f"{word}: {agent}" + ("" if attribution.step is not None else ", no step")


def _standing(attribution: Attribution) -> str:
    """How much the verdict is worth."""
    if attribution.method == REPLAY:
        return "The run was repeated with this step corrected."
    first = next((s for s in attribution.ranking if s.probability), None)
    if attribution.abstained:
        told = "The suspects below are the most suspicious steps, no more"
        return f"{told}; step {first.step} comes first." if first else ""
    log_only = "Read off the log alone: a suspicion, not a proof."
    if first is None:
        return log_only
    named = next((s for s in attribution.ranking if s.step == attribution.step), first)
    if named.step == first.step:
        count = len(attribution.ranking)
        told = f"Step {first.step} has probability {first.probability:.0%}, the largest of {count}."
    else:
        share = attribution.agents.get(attribution.agent or "", 0.0)
        told = (
            f"Of all agents, the steps of {attribution.agent} have the largest probability "
            f"together, {share:.0%}; the likeliest of them is step {named.step}, with "
            f"{named.probability:.0%}."
        )
    return f"{told} {log_only}"


def _method(attribution: Attribution) -> str:
    cost = f", {attribution.calls} questions" if attribution.calls else ""
    cost += f", {attribution.tokens:,} tokens" if attribution.tokens else ""
    return f"{attribution.method}{cost}"


def _agreement(trace: Trace, attribution: Attribution) -> str:
    """Whether the method says what a person said."""
    if attribution.abstained or trace.label is None:
        return ""
    agent = (attribution.agent or "").casefold() == trace.label.agent.casefold()
    if attribution.step == trace.label.step:
        return "agrees with the method" if agent else "same step, other agent"
    return "same agent, other step" if agent else "differs from the method"
