"""The embedded method: a conditional logit over the steps of a run, without any model or network.

Each step that may be to blame gets a score, the weighted sum of its features; a softmax over the
run turns scores into probabilities. Which features and weights, the kind of run decides (shape.py).
Where the step that comes first is not likely enough nobody is named, and the ranking stays.
"""

from collections.abc import Sequence
from dataclasses import replace

from lacewing_blame.attribution import Attribution, Suspect
from lacewing_blame.events import Trace
from lacewing_blame.ranker.calibrate import softmax
from lacewing_blame.ranker.evidence import evidence
from lacewing_blame.ranker.seen import Features
from lacewing_blame.ranker.shape import unlike_whoandwhen
from lacewing_blame.ranker.weights import Ranker, Weights

EXPLAINED = 10
"""Suspects that get evidence."""
UNSURE = "no step is likely enough: the first has probability {:.0%}, one is named from {:.0%}"
"""Why nobody is named."""
GUESS = "only a guess: "
"""Before the reason why nobody should have been named."""


def rank(
    trace: Trace,
    ranker: Ranker | None = None,
    abstain_below: float | None = None,
    guess: bool = False,
) -> Attribution:
    """Rank the steps of a run by how much speaks for each.

    What comes out is a suspicion, read off the log alone.

    Args:
        trace: The run; its label and its right answer are not looked at.
        ranker: The weights; by default those that ship.
        abstain_below: Name nobody where the step to be named has less probability than this; by
            default what the weights say, which is nothing for Who&When's kinds of runs.
        guess: Name a step in any case.

    >>> from lacewing_blame.events import Event
    >>> said = ("I assume it is 4.", "Thanks, 4 it is. TERMINATE")
    >>> talk = tuple(Event(at, name, said[at]) for at, name in enumerate(("Counter", "Checker")))
    >>> found = rank(Trace("a", "How many?", talk, "autogen"))
    >>> found.agent, found.step, round(sum(found.agents.values()), 3)
    ('Counter', 0, 1.0)
    """
    used = ranker or Ranker.shipped()
    seen = used.see(trace)
    found = rank_seen(trace, seen, used, abstain_below)
    if not found.abstained or not guess:
        return found
    named = rank_seen(trace, seen, used, 0.0)
    return replace(named, notes=(*named.notes, GUESS + found.reason))


def rank_seen(
    trace: Trace,
    seen: Features,
    ranker: Ranker,
    abstain_below: float | None = None,
    explained: int = EXPLAINED,
) -> Attribution:
    """The same, of a run whose features are known; evidence for the first so many suspects.

    >>> from lacewing_blame.events import conversation
    >>> trace = conversation("How many?", ("Ann", "I assume 4."), ("Bob", "Thanks, 4."))
    >>> rank_seen(trace, Ranker.shipped().see(trace), Ranker.shipped(), explained=1).agent
    'Ann'
    """
    weights = ranker.of(seen)
    likely = softmax(weights.scores(seen))
    return attribution(trace, seen, weights, likely, abstain_below, explained=explained)


def attribution(
    trace: Trace,
    seen: Features,
    weights: Weights,
    probabilities: Sequence[float],
    abstain_below: float | None = None,
    method: str = "ranker",
    explained: int = EXPLAINED,
) -> Attribution:
    """The answer that these probabilities amount to.

    In Who&When's kinds of runs, as its annotators are told to: the agent first, the one with the
    largest sum of probabilities, then its most probable step. So the step named is now and then not
    the first of the ranking. Elsewhere the most probable step.

    >>> from lacewing_blame.events import conversation
    >>> trace = conversation("How many?", ("Ann", "I assume 4."), ("Bob", "Thanks, 4."))
    >>> weights = Ranker.shipped().flat
    >>> attribution(trace, Ranker.shipped().see(trace), weights, [0.4, 0.6]).agent
    'Bob'
    """
    order = sorted(range(len(probabilities)), key=lambda row: -probabilities[row])
    rows = order[:explained]
    told = evidence(trace, seen, weights.weights, weights.temperature, rows) if rows else {}
    ranking = []
    agents: dict[str, float] = {}
    for row in order:
        event = trace.events[seen.positions[row]]
        sure = probabilities[row]
        agents[event.agent] = agents.get(event.agent, 0.0) + sure
        ranking.append(Suspect(event.index, event.agent, sure, told.get(row, ())))
    agents = dict(sorted(agents.items(), key=lambda item: -item[1]))
    agent = ranking[0].agent if seen.kind == "general" else next(iter(agents))
    named = next(suspect for suspect in ranking if suspect.agent == agent)
    least = weights.answers_from if abstain_below is None else abstain_below
    silent = named.probability < least
    reasons = "; ".join(dict.fromkeys(e.reason for e in named.evidence if e.weight > 0))
    return Attribution(
        trace=trace.id,
        method=method,
        agent=None if silent else agent,
        step=None if silent else named.step,
        abstained=silent,
        ranking=tuple(ranking),
        agents=agents,
        reason=_unsure(trace, named, least) if silent else reasons,
        notes=trace.notes,
    )


def _unsure(trace: Trace, named: Suspect, least: float) -> str:
    why = unlike_whoandwhen(trace)
    told = UNSURE.format(named.probability, least)
    return f"{told} ({why})" if why else told
