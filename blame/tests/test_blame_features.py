"""What the ranker sees, on logs made by hand where the right value is plain."""

import json

import pytest

from lacewing_blame.events import Event, Trace
from lacewing_blame.ranker import lexicon
from lacewing_blame.ranker.features import NAMES, features
from lacewing_blame.ranker.flow import data_flow, final_event
from lacewing_blame.ranker.meanings import COORDINATED, FLAT, MEANINGS
from lacewing_blame.ranker.run import Ledger, Run, ledger


def trace(*events: Event, task: str = "Find the number") -> Trace:
    """A run."""
    return Trace("t", task, events, "jsonl")


def column(run: Trace, name: str) -> list[float]:
    """One feature over the candidates."""
    return [row[0] for row in features(run).columns((name,))]


def result(index: int, text: str, status: str | None = None) -> Event:
    """What a terminal gave back."""
    return Event(index, "terminal", text, "tool_result", status=status, blamable=False)


CODED = trace(
    Event(
        0, "a", "You are given the task: please find the number of things there are, step by step"
    ),
    Event(1, "b", "I assume there are 57 things, so I write\n```python\nprint(57)\n```"),
    result(2, "Traceback (most recent call last)", "error"),
    Event(3, "c", "Thank you. I agree that it is accurate; the result of 57 things is confirmed."),
    Event(4, "a", "The number is 57 in total, as was computed before by our team of experts."),
    Event(5, "a", "TERMINATE", "final"),
)


def test_features_of_code() -> None:
    """Code that fails is seen at its step, the talk after it at the next."""
    assert [0.0, 1.0, 0.0, 0.0, 0.0] == column(CODED, "code")
    assert [0.0, 1.0, 0.0, 0.0, 0.0] == column(CODED, "error_next")
    assert [0.0, 1.0, 0.0, 0.0, 0.0] == column(CODED, "first_code_bad")
    assert [0.0, 0.0, 1.0, 0.0, 0.0] == column(CODED, "talk_after_bad")


def test_features_of_words_and_place() -> None:
    """Assumptions, approval by the next step, the end, and who spoke first."""
    assert [0.0, 1.0, 0.0, 0.0, 0.0] == column(CODED, "assume")
    assert [0.0, 1.0, 0.0, 0.0, 0.0] == column(CODED, "agreed_next")
    assert [0.0, 0.0, 0.0, 0.0, 1.0] == column(CODED, "ends")
    assert [1.0, 1.0, 1.0, 0.0, 0.0] == column(CODED, "agent_first")
    assert [0.0, 1.0, 0.0, 0.0, 0.0] == column(CODED, "assume_done")


def test_features_of_flow() -> None:
    """The step that first names the answer's number is its origin."""
    values = data_flow(CODED)

    assert [("57", 1, (1, 3, 4))] == [(v.text, v.origin, v.seen) for v in values]
    assert "57" == CODED.events[4].text[slice(*values[0].final)]
    assert [0.0, 1.0, 0.0, 0.0, 0.0] == column(CODED, "origin")


def test_flow_kinds_and_borders() -> None:
    """URLs, quotes and names are values; the task's own are not, nor parts of other numbers."""
    run = trace(
        Event(0, "a", "See https://x.org/a and 157 or 5.75"),
        Event(1, "b", 'Marie Curie wrote "on rays", see https://x.org/a, 57 pages, not 12.'),
        task="What about 12?",
    )
    found = {value.text: value.origin for value in data_flow(run)}

    assert {"Marie Curie": 1, "on rays": 1, "https://x.org/a": 0, "57": 1} == found


def test_final_event_is_not_the_goodbye() -> None:
    """The answer stands in the last step that says something."""
    assert 4 == final_event(CODED).index


def keeps(progress: bool, satisfied: bool = False) -> str:
    """A ledger as Magentic-One writes it."""
    entry = {
        "is_request_satisfied": {"reason": "r", "answer": satisfied},
        "is_in_loop": {"reason": "r", "answer": not progress},
        "is_progress_being_made": {"reason": "r", "answer": progress},
    }
    return f"Updated Ledger:\n{json.dumps(entry)}"


STUCK = trace(
    Event(0, "human", "Find it", blamable=False),
    Event(1, "boss", "Initial plan", "plan"),
    Event(2, "boss", "go", "handoff"),
    Event(3, "web", "I clicked 'home'"),
    Event(4, "boss", keeps(True), "ledger"),
    Event(5, "web", "I clicked 'shop'"),
    Event(6, "boss", keeps(False), "ledger"),
)


def test_run_with_coordinator() -> None:
    """Who plans and keeps the ledger coordinates; the others' steps are the acts."""
    run = Run(STUCK)

    assert ("boss", False, {3: 0, 5: 1}) == (run.coordinator, run.concluded, run.workers)
    assert [0, 0, 0, 0, 1, 0] == column(STUCK, "no_progress_next")
    assert [0, 0, 1, 0, 1, 0] == column(STUCK, "early_act_stuck")
    assert "coordinated" == features(STUCK).kind
    assert "flat" == features(CODED).kind


def test_ledger_entries() -> None:
    """A ledger is read as JSON; one that is no JSON says nothing."""
    assert Ledger(False, True, False) == ledger(Event(0, "b", keeps(False), "ledger"))
    assert ledger(Event(0, "b", "no braces", "ledger")) is None
    assert ledger(Event(0, "b", keeps(True), "message")) is None


def test_features_use_no_label() -> None:
    """Neither the label nor the right answer moves a feature."""
    from dataclasses import replace

    from lacewing_blame.events import Label

    told = replace(CODED, label=Label("b", 1), expected="58", succeeded=False, group="g")

    assert features(CODED).rows == features(told).rows


def test_prefix_features_are_causal() -> None:
    """What concerns a step's own words and its past does not change with what comes later."""
    past = ("first_act", "assume", "code", "new_numbers", "bad_before", "like_previous", "claim")
    short = Trace("t", CODED.task, CODED.events[:3], "jsonl")

    for name in past:
        assert column(CODED, name)[:2] == column(short, name)


def test_meanings_are_complete() -> None:
    """Both kinds of runs use known features, each named once, and each is in words."""
    assert set(FLAT) | set(COORDINATED) == set(MEANINGS) == set(NAMES)
    assert len(MEANINGS) == len({meaning.words for meaning in MEANINGS.values()})
    assert all(m.topic is None or m.topic in lexicon.TOPICS for m in MEANINGS.values())


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("exitcode: 0 (execution succeeded)\nCode output: []", "empty"),
        ("exitcode: 0\nCode output: No results", "nothing"),
        ("exitcode: 0\nCode output: 57", "ok"),
        ("There is no code from the last 1 message for me to execute.", "idle"),
    ],
)
def test_tool_results(text: str, state: str) -> None:
    """What a terminal gave back, in one word."""
    assert [state] == Run(trace(Event(0, "a", "x"), result(1, text, "ok"))).results[1:]
