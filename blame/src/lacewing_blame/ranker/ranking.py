"""The embedded method: a conditional logit over the steps of a run, without any model or network.

Each step that may be to blame gets a score, the weighted sum of its features; a softmax over the
run turns scores into probabilities. Runs with a coordinator and runs without one have weights of
their own (run.py), since different things give them away.
"""

from dataclasses import replace

import numpy as np

from lacewing_blame.attribution import Attribution, Suspect
from lacewing_blame.events import Trace
from lacewing_blame.ranker.calibrate import softmax
from lacewing_blame.ranker.evidence import evidence
from lacewing_blame.ranker.features import Features, features
from lacewing_blame.ranker.shape import unlike_whoandwhen
from lacewing_blame.ranker.weights import Ranker, Weights

EXPLAINED = 10
"""Suspects that get evidence."""
UNLIKE = (
    "the log is unlike Who&When ({}), the only logs that the weights know; on 129 runs of other "
    "systems the step they named was right twice"
)
"""Why the shipped weights abstain."""
GUESS = "only a guess, the log is unlike Who&When: "
"""Before the reason why they should have abstained."""


def rank(
    trace: Trace,
    ranker: Ranker | None = None,
    abstain_below: float | None = None,
    guess: bool = False,
) -> Attribution:
    """Rank the steps of a run by how much speaks for each.

    What comes out is a suspicion, read off the log alone. The shipped weights know Who&When only:
    where a log is not of that shape they abstain, with the reason and without a ranking.

    Args:
        trace: The run; its label and its right answer are not looked at.
        ranker: The weights; by default those that ship.
        abstain_below: Name nobody where the step to be named has less probability than this.
        guess: Rank logs of any shape.

    >>> from lacewing_blame.events import Event
    >>> said = ("I assume it is 4.", "Thanks, 4 it is. TERMINATE")
    >>> talk = tuple(Event(at, name, said[at]) for at, name in enumerate(("Counter", "Checker")))
    >>> found = rank(Trace("a", "How many?", talk, "autogen"))
    >>> found.agent, found.step, round(sum(found.agents.values()), 3)
    ('Counter', 0, 1.0)
    >>> rank(Trace("b", "How many?", (Event(0, "assistant", "4"),), "openai")).abstained
    True
    """
    used = ranker or Ranker.shipped()
    foreign = unlike_whoandwhen(trace) if used is Ranker.shipped() else None
    if foreign is not None and not guess:
        return abstention(trace, foreign)
    found = rank_seen(trace, features(trace), used, abstain_below)
    return found if foreign is None else replace(found, notes=(*found.notes, GUESS + foreign))


def abstention(trace: Trace, foreign: str, method: str = "ranker") -> Attribution:
    """The answer for a log that the shipped weights know nothing about.

    Args:
        trace: The run.
        foreign: Why it is unlike what they know, in words.
        method: Whose answer it is.

    >>> from lacewing_blame.events import Event
    >>> trace = Trace("a", "", (Event(0, "assistant", "4"),), "openai")
    >>> abstention(trace, "its agents have no names").reason[:52]
    'the log is unlike Who&When (its agents have no names'
    """
    return Attribution(
        trace=trace.id,
        method=method,
        agent=None,
        step=None,
        abstained=True,
        ranking=(),
        reason=UNLIKE.format(foreign),
        notes=trace.notes,
    )


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
    >>> rank_seen(trace, features(trace), Ranker.shipped(), explained=1).agent
    'Ann'
    """
    weights = ranker.of(seen)
    likely = softmax(weights.scores(seen))
    return attribution(trace, seen, weights, likely, abstain_below, explained=explained)


def attribution(
    trace: Trace,
    seen: Features,
    weights: Weights,
    probabilities: np.ndarray,
    abstain_below: float | None = None,
    method: str = "ranker",
    explained: int = EXPLAINED,
) -> Attribution:
    """The answer that these probabilities amount to.

    As annotators are told to: the agent first, the one with the largest sum of probabilities, then
    its most probable step. So the step named is now and then not the first of the ranking.

    >>> from lacewing_blame.events import conversation
    >>> trace = conversation("How many?", ("Ann", "I assume 4."), ("Bob", "Thanks, 4."))
    >>> weights = Ranker.shipped().flat
    >>> attribution(trace, features(trace), weights, np.array([0.4, 0.6])).agent
    'Bob'
    """
    order = np.argsort(-probabilities, kind="stable")
    rows = [int(row) for row in order[:explained]]
    told = evidence(trace, seen, weights.weights, weights.temperature, rows) if rows else {}
    ranking = []
    agents: dict[str, float] = {}
    for row in order:
        event = trace.events[seen.positions[row]]
        sure = float(probabilities[row])
        agents[event.agent] = agents.get(event.agent, 0.0) + sure
        ranking.append(Suspect(event.index, event.agent, sure, told.get(int(row), ())))
    agents = dict(sorted(agents.items(), key=lambda item: -item[1]))
    agent = next(iter(agents))
    named = next(suspect for suspect in ranking if suspect.agent == agent)
    silent = abstain_below is not None and named.probability < abstain_below
    return Attribution(
        trace=trace.id,
        method=method,
        agent=None if silent else agent,
        step=None if silent else named.step,
        abstained=silent,
        ranking=tuple(ranking),
        agents=agents,
        reason="; ".join(dict.fromkeys(e.reason for e in named.evidence if e.weight > 0)),
        notes=trace.notes,
    )
