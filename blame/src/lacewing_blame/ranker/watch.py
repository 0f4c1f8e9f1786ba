"""A run as it unfolds: an alarm at the first step that stands out from all before it.

Only signals that look back count, each by its place among the steps so far. A step's score is put
against the mean and spread of the scores before it; an alarm is a score so many deviations above.
How many, a false-alarm rate decides: the largest deviation of a successful run is exceeded by so
large a share of successful runs. No public data hold successful counterparts of the labelled runs,
so the number that ships stems from the beginnings of failed ones, up to the labelled step; with
successful runs of one's own (`threshold`) the rate is one's own.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass

from lacewing_blame.attribution import Evidence
from lacewing_blame.errors import DataError
from lacewing_blame.events import Trace
from lacewing_blame.ranker.evidence import evidence
from lacewing_blame.ranker.general import general
from lacewing_blame.ranker.weights import Ranker
from lacewing_blame.signals.meanings import GENERAL, LATER

NAMES = tuple(name for name in GENERAL if name not in LATER and name != "worker_early")
"""Signals of a step that nothing later changes, but for the answer to its own call."""
DEVIATIONS = 2.7
"""What ships: exceeded by 10 % of the beginnings of failed runs, every system counting the same."""
RATE = 0.1
"""The share of runs without a fault that raise an alarm."""
FEWEST = 10
"""Successful runs below which no rate can be stated."""
_STEPS, _MEAN, _SQUARES = 2.0, 2.0, 5.5
"""What is assumed before the first step: so many steps with this mean and mean square."""


@dataclass(frozen=True)
class Alarm:
    """A step that stands out."""

    step: int
    agent: str
    deviations: float
    """Above the mean of the steps before it."""
    evidence: tuple[Evidence, ...]


def deviations(trace: Trace, ranker: Ranker | None = None) -> list[tuple[int, float]]:
    """Every suspect's index and how far its score stands above those before it.

    >>> from lacewing_blame.events import conversation
    >>> calm = [("Ann", f"Row {at} is read.") for at in range(9)]
    >>> found = deviations(conversation("Add.", *calm, ("Bob", "12 + 13 = 26, I assume 77.")))
    >>> max(found, key=lambda pair: pair[1])[0]
    9
    """
    used = (ranker or Ranker.shipped()).general.weights
    seen = general(trace)
    names = [name for name in NAMES if name in used]
    places = [seen.names.index(name) for name in names]
    columns = [_running([row[place] for row in seen.raw]) for place in places]
    found = []
    steps, total, squares = _STEPS, _STEPS * _MEAN, _STEPS * _SQUARES
    for row, at in enumerate(seen.positions):
        score = sum(used[name] * column[row] for name, column in zip(names, columns, strict=True))
        mean = total / steps
        spread = math.sqrt(max(squares / steps - mean * mean, 0.3))
        found.append((trace.events[at].index, (score - mean) / spread))
        steps, total, squares = steps + 1, total + score, squares + score * score
    return found


def watch(trace: Trace, above: float = DEVIATIONS, ranker: Ranker | None = None) -> Alarm | None:
    """The first alarm of a run so far; none where no step stands out.

    Args:
        trace: What there is of the run.
        above: Deviations from which a step raises an alarm.
        ranker: The weights; by default those that ship.

    >>> from lacewing_blame.events import conversation
    >>> watch(conversation("Add.", ("Ann", "Row 1 is read."), ("Ann", "Row 2 is read.")))
    """
    used = ranker or Ranker.shipped()
    found = next((pair for pair in deviations(trace, used) if pair[1] >= above), None)
    if found is None:
        return None
    seen = general(trace)
    row = next(k for k, at in enumerate(seen.positions) if trace.events[at].index == found[0])
    weights = {name: used.general.weights[name] for name in NAMES if name in used.general.weights}
    told = evidence(trace, seen, weights, used.general.temperature, [row])[row]
    event = trace.events[seen.positions[row]]
    return Alarm(event.index, event.agent, found[1], told)


def threshold(
    successful: Sequence[Trace], rate: float = RATE, ranker: Ranker | None = None
) -> float:
    """The deviations that so large a share of successful runs exceed.

    Args:
        successful: Runs that went well, of the system that is to be watched.
        rate: The false-alarm rate wanted.
        ranker: The weights; by default those that ship.

    Raises:
        DataError: there are too few runs to state a rate.

    >>> from lacewing_blame.events import conversation
    >>> runs = [conversation("Add.", ("Ann", f"Row {n} is read.")) for n in range(10)]
    >>> round(threshold(runs), 1) < DEVIATIONS
    True
    """
    if len(successful) < FEWEST:
        raise DataError(
            f"{len(successful)} successful runs are too few to state a false-alarm rate; "
            f"give {FEWEST}, each with succeeded: true"
        )
    worst = sorted(max(value for _, value in deviations(run, ranker)) for run in successful)
    allowed = int(rate * len(worst))
    return worst[len(worst) - 1 - allowed] + 1e-9


def _running(column: Sequence[float]) -> list[float]:
    """Each value's place among those so far; what is there or not stays as it is."""
    so_far: list[float] = []
    placed = []
    for value in column:
        insort(so_far, value)
        both = bisect_left(so_far, value) + bisect_right(so_far, value)
        placed.append(value if value in (0.0, 1.0) else both / (2 * len(so_far)))
    return placed
