"""The spectrum over several runs of a task, against a score worked out by hand."""

import math
from dataclasses import replace

import pytest

from lacewing_blame.errors import DataError
from lacewing_blame.events import Event, Trace
from lacewing_blame.ranker.spectrum import rank_with_spectrum, signatures, spectrum


def played(id: str, tools: str, succeeded: bool) -> Trace:
    """A run in which one agent calls tools named by letters, after another has greeted."""
    events = [Event(0, "host", "hello")]
    events += [
        Event(at, "worker", f"call {tool}", "tool_call", tool=tool)
        for at, tool in enumerate(tools, 1)
    ]
    return Trace(id, "task", tuple(events), "jsonl", group="q", succeeded=succeeded)


RUNS = [
    played("f1", "abb", False),
    played("f2", "ab", False),
    played("f3", "a", False),
    played("p1", "a", True),
    played("p2", "ab", True),
]


def test_spectrum_by_hand() -> None:
    """Step 2 of the first run: tool b, twice here, once in f2 and in p2, absent from f3."""
    covered = (1 + 0.9) + 1
    kulczynski = (covered / (covered + 1) + covered / (covered + 1)) / 2
    beta, gamma = 4 / 9, 3 / 5
    alpha = 1 + math.log(2) / math.log(1 / 0.9)

    expected = alpha * kulczynski * (1 + beta) * (1 + gamma)
    scores = spectrum(RUNS)

    assert expected == pytest.approx(scores["f1"][2]) == pytest.approx(scores["f1"][3])
    assert {"f1", "f2", "f3"} == set(scores)


TOLD = [
    played("f1", "axz", False),
    played("f2", "ax", False),
    played("f3", "ax", False),
    played("p1", "az", True),
    played("p2", "az", True),
]


def test_spectrum_prefers_what_failures_do() -> None:
    """Of two acts in three runs each, the one of failed runs only scores three times the other."""
    scores = spectrum(TOLD)["f1"]

    assert 3 * scores[3] == pytest.approx(scores[2])


def test_spectrum_moves_the_ranker() -> None:
    """Joined with the ranker, the odds of two acts move by the ratio of their scores."""
    alone, joined = (
        {s.step: s.probability for s in rank_with_spectrum(TOLD, strength=k, guess=True)[0].ranking}
        for k in (0.0, 1.0)
    )

    assert 3 * alone[2] / alone[3] == pytest.approx(joined[2] / joined[3])
    assert 1.0 == pytest.approx(sum(joined.values()))


def test_signatures_hold_the_outcome() -> None:
    """The same call with another result is another signature."""
    call = Event(0, "a", "x", "tool_call", tool="t")
    good, bad = (
        Trace("t", "", (call, Event(1, "t", "x", "tool_result", status=s, blamable=False)), "jsonl")
        for s in ("ok", "error")
    )

    assert ("ok", "error") == (signatures(good)[0].state, signatures(bad)[0].state)


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (RUNS[:3], "too few"),
        ([*RUNS[:4], replace(RUNS[4], succeeded=None)], "p2 does not say how it ended"),
        ([replace(run, succeeded=False) for run in RUNS], "both failed and successful"),
    ],
)
def test_spectrum_refuses(runs: list[Trace], words: str) -> None:
    """Too few runs, an unknown outcome, and only failures are told."""
    with pytest.raises(DataError, match=words):
        spectrum(runs)
