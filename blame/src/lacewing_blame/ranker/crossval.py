"""Figures for runs the ranker did not learn from: folds, transfer, learning curve, a control."""

import random
from collections.abc import Sequence
from dataclasses import replace

from lacewing_blame.attribution import Attribution
from lacewing_blame.events import Label, Trace
from lacewing_blame.ranker.folds import folds
from lacewing_blame.ranker.ranking import rank_seen
from lacewing_blame.ranker.train import Example, example, train_ranker
from lacewing_blame.ranker.train import learn as learn_from

UUID = 36
"""Characters of a question's id in GAIA; AssistantBench has 64."""


def cross_validate(traces: Sequence[Trace], count: int = 5, seed: int = 0) -> list[Attribution]:
    """The ranking of every run by a ranker that saw no run of the same question; no evidence.

    Args:
        traces: Labelled runs.
        count: Folds.
        seed: Deals the questions.

    >>> from lacewing_blame.events import conversation
    >>> said = ("Ann", "I assume 4."), ("Bob", "5.")
    >>> runs = [conversation("Count.", *said, label=("Ann", 0), id=str(n)) for n in range(6)]
    >>> len(cross_validate([replace(run, group=run.id) for run in runs], 6))
    6
    """
    return _validated(traces, [example(trace) for trace in traces], count, seed, None)


def transfer(learn: Sequence[Trace], test: Sequence[Trace]) -> list[Attribution]:
    """The ranking of some runs by a ranker learned from others.

    >>> from lacewing_blame.events import conversation
    >>> said = ("Ann", "I assume 4."), ("Bob", "5.")
    >>> runs = [conversation("Count.", *said, label=("Ann", 0), id=str(n)) for n in range(6)]
    >>> transfer(runs, runs[:1])[0].agent
    'Ann'
    """
    ranker = train_ranker(learn)
    return [rank_seen(trace, ranker.see(trace), ranker, 0.0, explained=0) for trace in test]


def learning_curve(
    traces: Sequence[Trace], sizes: Sequence[int], count: int = 5, seed: int = 0
) -> dict[int, list[Attribution]]:
    """Cross-validation in which each fold learns from only so many runs.

    >>> from lacewing_blame.events import conversation
    >>> said = ("Ann", "I assume 4."), ("Bob", "5.")
    >>> runs = [conversation("Count.", *said, label=("Ann", 0), id=str(n)) for n in range(6)]
    >>> runs = [replace(run, group=run.id) for run in runs]
    >>> {size: len(found) for size, found in learning_curve(runs, [5], 6).items()}
    {5: 6}
    """
    known = [example(trace) for trace in traces]
    return {size: _validated(traces, known, count, seed, size) for size in sizes}


def _validated(
    traces: Sequence[Trace],
    known: Sequence[Example | None],
    count: int,
    seed: int,
    size: int | None,
) -> list[Attribution]:
    """Rankings of the runs held out, learned from all or so many of the others."""
    deal = random.Random(seed)  # noqa: S311 - deals folds, keeps no secret
    found: dict[int, Attribution] = {}
    groups = [trace.group or trace.id for trace in traces]
    for inside, held in folds(groups, count, seed):
        usable = [one for at in inside if (one := known[at]) is not None]
        if size is not None:
            usable = deal.sample(usable, min(size, len(usable)))
        ranker = learn_from(usable, len(inside))
        for at in held:
            found[at] = rank_seen(traces[at], ranker.see(traces[at]), ranker, 0.0, explained=0)
    return [found[at] for at in sorted(found)]


def shuffled_labels(traces: Sequence[Trace], seed: int = 0) -> list[Trace]:
    """The same runs with a step drawn at random as label: nothing is left to learn.

    >>> from lacewing_blame.events import conversation
    >>> said = ("Ann", "I assume 4."), ("Bob", "5.")
    >>> runs = [conversation("Count.", *said, label=("Ann", 0), id=str(n)) for n in range(6)]
    >>> {run.label.step for run in shuffled_labels(runs)} <= {0, 1}
    True
    """
    deal = random.Random(seed)  # noqa: S311 - deals folds, keeps no secret
    shuffled = []
    for trace in traces:
        steps = trace.candidates()
        event = deal.choice(steps)
        shuffled.append(replace(trace, label=Label(event.agent, event.index)))
    return shuffled


def source(trace: Trace) -> str:
    """Where a question of Who&When comes from, told by the length of its id.

    >>> from lacewing_blame.events import conversation
    >>> trace = conversation("How many?", ("Ann", "4"))
    >>> source(replace(trace, group="x" * 36))
    'GAIA'
    """
    return "GAIA" if len(trace.group or "") == UUID else "AssistantBench"
