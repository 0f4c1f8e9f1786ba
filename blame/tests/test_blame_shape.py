"""Which weights a log gets, and when nobody is named."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lacewing_blame.cli import main
from lacewing_blame.events import Event, Trace
from lacewing_blame.ranker.ranking import rank
from lacewing_blame.ranker.shape import LONGEST, kind_of, unlike_whoandwhen
from lacewing_blame.ranker.spectrum import rank_with_spectrum
from lacewing_blame.ranker.weights import Ranker
from lacewing_blame.reading.read import read_folder
from lacewing_blame.scoring import score
from scripted import small_trace

TOOLS: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "You serve the customers of a shop."},
        {"role": "user", "content": "Cancel my order 17."},
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "function": {"name": "cancel", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "done"},
        {"role": "assistant", "content": "It is cancelled."},
        {"role": "user", "content": "Thanks."},
    ]
}
"""A run of one assistant that calls tools for a customer."""


PASSIVE = ("human", "user", "system", "Computer_terminal")


def talk(names: Sequence[str], **changes: Any) -> Trace:
    """A run in which these speak in turn."""
    events = tuple(
        Event(at, name, f"It is {at}.", blamable=name not in PASSIVE)
        for at, name in enumerate(names)
    )
    return Trace("t", "How many?", events, "jsonl", **changes)


def led(steps: int) -> Trace:
    """A run of so many steps that a coordinator leads."""
    names = ("Orchestrator", "Orchestrator", "Surfer")
    return replace(
        talk(["human", *(names[at % 3] for at in range(steps - 1))]),
        events=tuple(
            replace(event, kind="ledger" if event.agent == "Orchestrator" else "message")
            for event in talk(["human", *(names[at % 3] for at in range(steps - 1))]).events
        ),
    )


def with_call(trace: Trace) -> Trace:
    """The same with a tool call at the end."""
    return replace(trace, events=(*trace.events[:-1], replace(trace.events[-1], kind="tool_call")))


@pytest.mark.parametrize(
    "trace",
    [
        talk(["Coder", "Checker"]),
        talk(["human", "Planner", "Coder"]),
        talk(["system", "user", "Planner", "Coder"]),
        talk(["Coder", "Computer_terminal"]),
        talk(["assistant", "Checker"]),
        talk(["Coder", "Checker"] * 7),
        led(LONGEST["coordinated"]),
    ],
    ids=["two", "asked", "instructed", "terminal", "one name", "long", "led"],
)
def test_shape_of_whoandwhen(trace: Trace) -> None:
    """Conversations of named agents are answered, without a remark."""
    assert unlike_whoandwhen(trace) is None
    found = rank(trace)
    assert not found.abstained
    assert found.step is not None
    assert () == found.notes


@pytest.mark.parametrize(
    ("trace", "why"),
    [
        (with_call(talk(["Coder", "Checker"])), "its agents call tools"),
        (talk(["Coder", "Checker", "user", "Coder"]), "a person takes part in it"),
        (talk(["human", "assistant"]), "its agents have no names"),
        (talk(["Assistant", "Computer_terminal"]), "its agents have no names"),
        (talk(["Coder", "Coder"]), "only one agent acts in it"),
        (talk(["Coder", "Checker"] * 8), "it is 16 steps long without a coordinator"),
        (led(LONGEST["coordinated"] + 1), "it is 196 steps long with a coordinator"),
    ],
)
def test_other_shapes(trace: Trace, why: str) -> None:
    """Anything else is ranked by what means the same everywhere; unsure, it names nobody."""
    assert (why, "general") == (unlike_whoandwhen(trace), kind_of(trace))
    silent = rank(trace, abstain_below=1.01)
    assert (True, None, None) == (silent.abstained, silent.agent, silent.step)
    assert f"({why})" in silent.reason
    assert set(trace.candidates()) <= {
        event for event in trace.events if event.index in {s.step for s in silent.ranking}
    }
    assert 1.0 == pytest.approx(sum(s.probability for s in silent.ranking))


def test_unsure_names_nobody_and_a_guess_says_so() -> None:
    """Below the weights' own threshold nobody is named; a guess carries the reason."""
    trace = talk(["Coder", "Coder"] * 8)
    found = rank(trace)
    assert found.ranking[0].probability < Ranker.shipped().general.answers_from
    assert (True, None, None) == (found.abstained, found.agent, found.step)
    guess = rank(trace, guess=True)
    assert (False, found.ranking[0].step) == (guess.abstained, guess.step)
    assert any(note.startswith("only a guess: no step is likely enough") for note in guess.notes)


def test_own_weights_know_their_system() -> None:
    """Weights of one's own name a step always."""
    shipped = Ranker.shipped()
    own = Ranker(replace(shipped.general, answers_from=0.0))
    assert not rank(talk(["human", *(["assistant"] * 20)]), own).abstained


def test_a_person_who_takes_part_may_be_suspected() -> None:
    """What a person says once the agents have begun is ranked; the first question is not."""
    trace = talk(["user", "Coder", "user", "Coder"])
    assert {1, 2, 3} == {suspect.step for suspect in rank(trace).ranking}


def test_other_runs_of_the_task_abstain_too() -> None:
    """Beside other runs nobody is named either where no step is likely enough."""
    runs = [
        replace(with_call(talk(["Coder"] * 12)), id=str(at), succeeded=at % 2 == 0)
        for at in range(6)
    ]
    for found in rank_with_spectrum(runs):
        assert (True, 12) == (found.abstained, len(found.ranking))
    for found in rank_with_spectrum(runs, guess=True):
        assert not found.abstained


def test_score_counts_abstentions_as_wrong() -> None:
    """An abstention is no answer: wrong in the figures, absent from `answered`."""
    runs = [small_trace(6), small_trace(40, "long")]
    result = score(runs, [rank(run) for run in runs])
    assert (2, 1) == (result["n"], result["answered"]["n"])


def test_command_abstains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says that nobody is named and why, shows the most suspicious steps, and may guess."""
    log = tmp_path / "shop.json"
    log.write_text(json.dumps(TOOLS), encoding="utf-8")
    main([str(log), "--abstain-below", "0.99"])
    out = capsys.readouterr().out
    assert "shop: 6 steps, openai" == out.splitlines()[0]
    assert "nobody named: no step is likely enough" in out
    assert "(its agents call tools); these are the most suspicious steps, no more" in out
    assert "\n      2  assistant" in out
    main([str(log), "--abstain-below", "0.99", "--guess"])
    out = capsys.readouterr().out
    assert "suspected: assistant at step" in out
    assert "note: only a guess: no step is likely enough" in out


def test_command_abstains_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON says that it abstained and why, and keeps the ranking with its evidence."""
    log = tmp_path / "shop.json"
    log.write_text(json.dumps(TOOLS), encoding="utf-8")
    main([str(log), "--json", "--abstain-below", "0.99"])
    found = json.loads(capsys.readouterr().out)
    assert (True, None, None) == tuple(found[key] for key in ("abstained", "agent", "step"))
    assert "its agents call tools" in found["reason"]
    assert found["ranking"][0]["evidence"]


def test_page_of_an_abstention(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page, too, names nobody and says why."""
    log, place = tmp_path / "shop.json", tmp_path / "shop.html"
    log.write_text(json.dumps(TOOLS), encoding="utf-8")
    main([str(log), "--abstain-below", "0.99", "--page", str(place)])
    assert f"page: {place}" in capsys.readouterr().out
    content = place.read_text(encoding="utf-8")
    assert "Nobody named" in content
    assert "its agents call tools" in content


@pytest.mark.parametrize("words", [["LOG", "--method", "hybrid"], ["train", "DIR"]])
def test_guess_goes_with_the_ranker(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no shipped weights are asked the flag is refused."""
    log = tmp_path / "shop.json"
    log.write_text(json.dumps(TOOLS), encoding="utf-8")
    places = {"LOG": str(log), "DIR": str(tmp_path)}
    with pytest.raises(SystemExit):
        main([*(places.get(word, word) for word in words), "--guess"])
    assert "--guess" in capsys.readouterr().err


def test_folder_says_how_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The score of a folder tells in how many logs nobody was named."""
    labelled = TOOLS | {"mistake_agent": "assistant", "mistake_step": 2}
    for number in range(3):
        (tmp_path / f"{number}.json").write_text(json.dumps(labelled), encoding="utf-8")
    words = ["score", str(tmp_path), "--abstain-below", "0.99"]
    main(words)
    assert "logs in which nobody is named: 3; --guess" in capsys.readouterr().out
    main([*words, "--json"])
    assert 3 == json.loads(capsys.readouterr().out)["abstained"]
    main([*words, "--guess", "--json"])
    assert 0 == json.loads(capsys.readouterr().out)["abstained"]


DATA = os.environ.get("LACEWING_WHOANDWHEN")


@pytest.mark.skipif(DATA is None, reason="LACEWING_WHOANDWHEN does not name the data's folder")
def test_whoandwhen_is_answered() -> None:
    """Every log of Who&When has its shape, but for one in which a single agent acts."""
    traces = read_folder(Path(str(DATA)))
    foreign = [trace.id for trace in traces if unlike_whoandwhen(trace) is not None]
    assert ["algorithm_generated/47"] == foreign
