"""Replays: only they may name a cause, and only where the difference is beyond chance."""

import pytest

from lacewing_blame.errors import ConfigError, DataError
from lacewing_blame.events import Event, Trace
from lacewing_blame.replay import effect, find_cause
from lacewing_blame.statistics import newcombe

TRACE = Trace("t", "", tuple(Event(at, "ab"[at % 2], "x") for at in range(5)), "jsonl")


def fixes(*steps: int):
    """A hook under which correcting one of these steps makes the run succeed."""
    asked = []

    def replay(trace: Trace, step: int, correction: str | None) -> bool:
        asked.append((step, correction))
        return correction is not None and step in steps

    replay.asked = asked
    return replay


def test_replay_finds_the_earliest_cause() -> None:
    """Of two steps that each decide, the earlier one is named, and later ones are not played."""
    hook = fixes(2, 3)
    cause, effects = find_cause(TRACE, {3: "c", 2: "b", 1: "a"}, hook)

    assert (2, "a", 1.0) == (cause.step, cause.agent, cause.difference)
    assert [1, 2] == [one.step for one in effects]
    assert 12 == len(hook.asked)
    assert (1, None) in hook.asked


def test_replay_without_cause() -> None:
    """Where no correction helps there is no cause."""
    cause, effects = find_cause(TRACE, {0: "a", 1: "b"}, fixes())

    assert cause is None
    assert [0.0, 0.0] == [one.difference for one in effects]


def test_replay_needs_more_than_luck() -> None:
    """One success more in three is not beyond chance."""
    results = iter([True, False, False, False, False, False])
    measured = effect(TRACE, 1, "fix", lambda *_: next(results))

    assert (1, 0) == (measured.corrected, measured.unchanged)
    assert not measured.is_cause


def test_newcombe_known_value() -> None:
    """56 of 70 against 48 of 80 is his example; with equal sizes, his method is symmetric."""
    low, high = newcombe(9, 3, 10)

    assert (-high, -low) == pytest.approx(newcombe(3, 9, 10))
    assert (0.1705, 0.8090) == pytest.approx(newcombe(9, 3, 10), abs=5e-4)


def test_replay_refuses() -> None:
    """Too few replays and a step outside of the run are told."""
    with pytest.raises(ConfigError, match="play at least 3"):
        effect(TRACE, 1, "fix", fixes(), runs=2)
    with pytest.raises(DataError, match="has no step 9"):
        effect(TRACE, 9, "fix", fixes())
