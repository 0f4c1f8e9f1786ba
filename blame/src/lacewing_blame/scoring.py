"""How often a method is right: exact agent, exact step, both, and what chance and place give away.

Agents are compared without regard to case, steps as whole numbers. An abstention, and a method that
found nothing, counts as wrong; `answered` gives the figures over the rest.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lacewing_blame.attribution import Attribution
from lacewing_blame.errors import DataError
from lacewing_blame.events import Event, Label, Trace
from lacewing_blame.ranker.calibrate import abstention, expected_calibration_error, reliability
from lacewing_blame.ranker.run import Run
from lacewing_blame.statistics import wilson

WITHIN = (1, 3, 5)
"""Distances in steps that are reported."""
Answer = tuple[str | None, int | None]


def score(
    traces: Sequence[Trace],
    attributions: Sequence[Attribution],
    substring: bool = False,
    aliases: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Compare answers with labels.

    Args:
        traces: The runs; those without a label are left out.
        attributions: One per run, in the same order.
        substring: Add `official_substring`, the test of the paper's own script, which takes a
            label inside a longer answer for right (the answer 12 for the label 2).
        aliases: Roles that labels name instead of agents, by agent; either counts as right.

    Returns:
        `n`; `agent`, `step`, `joint`, `top_3` and `within_k` with accuracy and interval; `mrr`;
        `ece`, `reliability` and `abstention` where the method gives probabilities; `answered`; and
        `baselines`.

    Raises:
        DataError: no run has a label, or the answers are not those of the runs.

    >>> from lacewing_blame.events import conversation
    >>> from lacewing_blame.ranker.ranking import rank
    >>> trace = conversation("How many?", ("Ann", "I assume 4."), ("Bob", "5."), label=("Ann", 0))
    >>> score([trace], [rank(trace)])["step"]["accuracy"]
    1.0
    """
    if [t.id for t in traces] != [a.trace for a in attributions]:
        raise DataError("the answers are not those of these runs; give one per run, in their order")
    pairs = [
        (t, t.label, a) for t, a in zip(traces, attributions, strict=True) if t.label is not None
    ]
    if not pairs:
        raise DataError("no run has a label; labels are mistake_agent and mistake_step")
    step = [a.step == label.step for _, label, a in pairs]
    roles = {name.casefold(): role for name, role in (aliases or {}).items()}
    agent = [
        _same(a.agent, label) or _same(roles.get((a.agent or "").casefold()), label)
        for _, label, a in pairs
    ]
    said = [not a.abstained and a.step is not None for _, _, a in pairs]
    places = [_place(label, a) for _, label, a in pairs]
    result: dict[str, Any] = {
        "n": len(pairs),
        "agent": _share(agent),
        "step": _share(step),
        "joint": _share([x and y for x, y in zip(agent, step, strict=True)]),
        "top_3": _share([place is not None and place < 3 for place in places]),
    }
    for k in WITHIN:
        near = [a.step is not None and abs(a.step - label.step) <= k for _, label, a in pairs]
        result[f"within_{k}"] = _share(near)
    result["mrr"] = sum(1 / (p + 1) for p in places if p is not None) / len(pairs)
    result |= _calibration([a for _, _, a in pairs], step)
    result["answered"] = {
        "n": sum(said),
        "agent": _share([x for x, kept in zip(agent, said, strict=True) if kept]),
        "step": _share([x for x, kept in zip(step, said, strict=True) if kept]),
    }
    result["baselines"] = baselines([trace for trace, _, _ in pairs])
    if substring:
        result["official_substring"] = official_substring([(label, a) for _, label, a in pairs])
    return result


def official_substring(pairs: Sequence[tuple[Label, Attribution]]) -> dict[str, Any]:
    """The test of the paper's released script, for comparison with published figures only.

    It asks whether the label occurs inside the answer, so it counts wrong answers as right.

    >>> loose = (Label('Ann', 2), Attribution('a', 'm', 'Ann', 12, False, ()))
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter('ignore')
    ...     official_substring([loose])['step']['accuracy']
    1.0
    """
    warnings.warn(
        "the official scorer takes the step 12 for the label 2; compare published figures only",
        UserWarning,
        stacklevel=2,
    )
    return {
        "agent": _share([a.agent is not None and p.agent in a.agent for p, a in pairs]),
        "step": _share([a.step is not None and str(p.step) in str(a.step) for p, a in pairs]),
    }


def baselines(traces: Sequence[Trace]) -> dict[str, Any]:
    """What comes without reading the log: chance, the majority and places.

    The majority is that of the same labels, so it knows more than a method may.

    >>> from lacewing_blame.events import conversation
    >>> trace = conversation("How many?", ("Ann", "4."), ("Bob", "5."), label=("Ann", 0))
    >>> baselines([trace])["first agent step"]["step"]["accuracy"]
    1.0
    """
    labelled = [(trace, trace.label) for trace in traces if trace.label is not None]
    rules: dict[str, Callable[[Trace], Answer]] = {
        "first agent step": lambda t: _answer(t.candidates()[0]),
        "second agent step": lambda t: _answer(t.candidates()[:2][-1]),
        "first action": lambda t: _answer(_first_action(t)),
        "last agent step": lambda t: _answer(t.candidates()[-1]),
        "busiest agent's first step": _busiest,
    }
    agents = Counter(label.agent.casefold() for _, label in labelled)
    steps = Counter(label.step for _, label in labelled)
    n = max(1, len(labelled))
    table: dict[str, Any] = {
        "chance": {
            "agent": sum(_chance_agent(t, p) for t, p in labelled) / n,
            "step": sum(1 / len(t.candidates()) for t, _ in labelled) / n,
        },
        "majority of these labels": {
            "agent": _share([p.agent.casefold() == _most(agents) for _, p in labelled]),
            "step": _share([p.step == _most(steps) for _, p in labelled]),
        },
    }
    for name, rule in rules.items():
        answers = [rule(trace) for trace, _ in labelled]
        table[name] = {
            "agent": _share(
                [_same(a, p) for (a, _), (_, p) in zip(answers, labelled, strict=True)]
            ),
            "step": _share([s == p.step for (_, s), (_, p) in zip(answers, labelled, strict=True)]),
        }
    return table


def _share(flags: Sequence[bool]) -> dict[str, Any]:
    right = sum(flags)
    low, high = wilson(right, len(flags))
    return {"accuracy": right / max(1, len(flags)), "interval": [low, high]}


def _same(agent: str | None, label: Label) -> bool:
    return agent is not None and agent.casefold() == label.agent.casefold()


def _place(label: Label, attribution: Attribution) -> int | None:
    """Where the labelled step stands in the ranking; the named step alone is a ranking too."""
    steps = [suspect.step for suspect in attribution.ranking]
    if not steps and attribution.step is not None:
        steps = [attribution.step]
    return steps.index(label.step) if label.step in steps else None


def _calibration(attributions: Sequence[Attribution], right: Sequence[bool]) -> dict[str, Any]:
    """Figures of the probabilities of the steps named; none where there are no probabilities."""
    sure = [confidence(attribution) for attribution in attributions]
    if not any(sure):
        return {}
    return {
        "ece": expected_calibration_error(sure, right),
        "reliability": reliability(sure, right),
        "abstention": abstention(sure, right),
    }


def confidence(attribution: Attribution) -> float:
    """The probability of the step named; of the first of the ranking where none was named.

    >>> from lacewing_blame.attribution import Suspect
    >>> confidence(Attribution('a', 'm', 'Ann', 2, False, (Suspect(2, 'Ann', 0.5),)))
    0.5
    """
    ranking = attribution.ranking
    named = (s.probability for s in ranking if s.step == attribution.step)
    return next(named, ranking[0].probability if ranking else 0.0)


def _answer(event: Event) -> Answer:
    return event.agent, event.index


def _first_action(trace: Trace) -> Event:
    """The first step of somebody who is not the coordinator; failing that, of anybody."""
    run = Run(trace)
    return trace.events[next(iter(run.workers), run.candidates[0])]


def _busiest(trace: Trace) -> Answer:
    agent = _most(Counter(event.agent for event in trace.candidates()))
    return agent, next(event.index for event in trace.candidates() if event.agent == agent)


def _most(counts: Counter[Any]) -> Any:
    return counts.most_common(1)[0][0] if counts else None


def _chance_agent(trace: Trace, label: Label) -> float:
    agents = {agent.casefold() for agent in trace.agents()}
    return float(label.agent.casefold() in agents) / len(agents)
