"""The only place that may speak of a cause: a run replayed with one step corrected.

The hook replays a run up to a step, puts the correction in that step's place (or, where the
correction is none, leaves it as it was) and lets the team go on. Since teams of models do not do
the same twice, each is played several times, and the difference of the shares of success, with its
95 % interval (Newcombe's, from two of Wilson's), has to lie above zero.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lacewing_blame.errors import ConfigError, DataError
from lacewing_blame.events import Trace
from lacewing_blame.statistics import newcombe

Replay = Callable[[Trace, int, str | None], bool]
"""replay(trace, step, correction) -> whether the run then succeeded."""
FEWEST = 3
"""Runs of each kind without which nothing is said."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What correcting a step did."""

    step: int
    agent: str
    corrected: int
    """Successes with the correction."""
    unchanged: int
    """Successes without."""
    runs: int
    """Runs of each."""
    difference: float
    """Share of successes with the correction minus that without."""
    interval: tuple[float, float]
    """95 % interval of the difference."""

    @property
    def is_cause(self) -> bool:
        """Whether correcting the step turned failures into successes, beyond chance."""
        return self.interval[0] > 0


def effect(trace: Trace, step: int, correction: str, replay: Replay, runs: int = 3) -> Effect:
    """Replay a run with and without a correction of one step.

    Args:
        trace: The failed run.
        step: Index of the step to correct.
        correction: What the agent should have said or done.
        replay: Plays the run; its errors are passed on.
        runs: How often each way is played.

    Raises:
        ConfigError: fewer than three runs.
        DataError: the run has no such step.

    >>> from lacewing_blame.events import conversation
    >>> trace = conversation("How many?", ("Ann", "I assume 4."), ("Bob", "Thanks, 4."))
    >>> replay = lambda trace, step, correction: correction is not None
    >>> found = effect(trace, 0, "I count 5.", replay)
    >>> found.difference, found.is_cause
    (1.0, True)
    """
    if runs < FEWEST:
        raise ConfigError(f"{runs} replays show nothing; play at least {FEWEST}")
    agent = next((event.agent for event in trace.events if event.index == step), None)
    if agent is None:
        raise DataError(f"{trace.id} has no step {step} to replay")
    corrected = sum(bool(replay(trace, step, correction)) for _ in range(runs))
    unchanged = sum(bool(replay(trace, step, None)) for _ in range(runs))
    low, high = newcombe(corrected, unchanged, runs)
    difference = (corrected - unchanged) / runs
    return Effect(step, agent, corrected, unchanged, runs, difference, (low, high))


def find_cause(
    trace: Trace, corrections: Mapping[int, str], replay: Replay, runs: int = 3
) -> tuple[Effect | None, tuple[Effect, ...]]:
    """The earliest step whose correction made the run succeed, and every effect measured.

    Steps are tried in the order of the log; the first cause ends the search.

    >>> from lacewing_blame.events import conversation
    >>> trace = conversation("How many?", ("Ann", "I assume 4."), ("Bob", "Thanks, 4."))
    >>> replay = lambda trace, step, correction: correction is not None
    >>> cause, _ = find_cause(trace, {0: "I count 5."}, replay)
    >>> cause.agent
    'Ann'
    """
    measured = []
    for step in sorted(corrections):
        measured.append(effect(trace, step, corrections[step], replay, runs))
        if measured[-1].is_cause:
            return measured[-1], tuple(measured)
    return None, tuple(measured)
