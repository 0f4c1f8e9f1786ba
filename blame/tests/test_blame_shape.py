"""Where a log is unlike Who&When the shipped weights name nobody, unless they are told to guess."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lacewing_blame import terminal
from lacewing_blame.cli import main
from lacewing_blame.events import Event, Trace
from lacewing_blame.ranker.ranking import rank
from lacewing_blame.ranker.shape import LONGEST, unlike_whoandwhen
from lacewing_blame.ranker.spectrum import rank_with_spectrum
from lacewing_blame.ranker.weights import Ranker
from lacewing_blame.reading.read import read_folder
from lacewing_blame.scoring import score
from scripted import in_turn, serving, small_trace

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
    """Anything else gets no suspect and no ranking but the reason; a guess says that it is one."""
    assert why == unlike_whoandwhen(trace)
    found = rank(trace)
    assert (True, None, None, ()) == (found.abstained, found.agent, found.step, found.ranking)
    assert f"({why})" in found.reason
    guess = rank(trace, guess=True)
    assert not guess.abstained
    assert len(trace.candidates()) == len(guess.ranking)
    assert any(why in note and "only a guess" in note for note in guess.notes)


def test_own_weights_know_their_system() -> None:
    """Weights of one's own are not held to the shape of Who&When."""
    shipped = Ranker.shipped()
    own = Ranker(shipped.flat, shipped.coordinated)
    assert not rank(talk(["human", "assistant"]), own).abstained


def test_other_runs_of_the_task_do_not_help() -> None:
    """Beside other runs the shipped weights abstain as they do alone."""
    runs = [
        replace(with_call(talk(["Coder", "Checker"])), id=str(at), succeeded=at % 2 == 0)
        for at in range(6)
    ]
    for found in rank_with_spectrum(runs):
        assert (True, ()) == (found.abstained, found.ranking)
    for found in rank_with_spectrum(runs, guess=True):
        assert found.ranking


def test_score_counts_abstentions_as_wrong() -> None:
    """An abstention is no answer: wrong in the figures, absent from `answered`."""
    runs = [small_trace(6), small_trace(40, "long")]
    result = score(runs, [rank(run) for run in runs])
    assert (2, 1) == (result["n"], result["answered"]["n"])


def test_command_abstains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says why and which flag makes it guess; with the flag it guesses and says so."""
    log = tmp_path / "shop.json"
    log.write_text(json.dumps(TOOLS), encoding="utf-8")
    main([str(log)])
    head, line = capsys.readouterr().out.splitlines()
    assert "shop: 6 steps, openai" == head
    assert line.startswith("no suspect: the log is unlike Who&When (its agents call tools)")
    assert line.endswith("--guess names one anyway")
    main([str(log), "--guess"])
    out = capsys.readouterr().out
    assert "suspected: assistant at step" in out
    assert "note: only a guess, the log is unlike Who&When" in out


def test_command_abstains_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON says that it abstained and why; with the flag it has an answer."""
    log = tmp_path / "shop.json"
    log.write_text(json.dumps(TOOLS), encoding="utf-8")
    main([str(log), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (True, None, None, []) == tuple(
        found[key] for key in ("abstained", "agent", "step", "ranking")
    )
    assert "its agents call tools" in found["reason"]
    main([str(log), "--json", "--guess"])
    found = json.loads(capsys.readouterr().out)
    assert (False, "assistant") == (found["abstained"], found["agent"])
    assert found["ranking"]


def test_page_of_an_abstention(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page, too, names nobody and says why."""
    log, place = tmp_path / "shop.json", tmp_path / "shop.html"
    log.write_text(json.dumps(TOOLS), encoding="utf-8")
    main([str(log), "--page", str(place)])
    assert f"page: {place}" in capsys.readouterr().out
    content = place.read_text(encoding="utf-8")
    assert "No suspect: the method does not know" in content
    assert "its agents call tools" in content


def test_rerank_asks_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the ranker has no order, no model is asked to better it."""
    log = tmp_path / "shop.json"
    log.write_text(json.dumps(TOOLS), encoding="utf-8")
    with serving(in_turn('{"order": [4, 2]}')) as server:
        words = ["--method", "rerank", "--endpoint", server.url, "--model", "m", "--no-cache"]
        main([str(log), *words, "--json"])
        found = json.loads(capsys.readouterr().out)
        assert (True, 0, []) == (found["abstained"], found["calls"], server.asked)
        main([str(log), *words, "--json", "--guess"])
        found = json.loads(capsys.readouterr().out)
    assert (False, 4, 1) == (found["abstained"], found["step"], found["calls"])


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
    """The score of a folder tells how many logs got no suspect."""
    labelled = TOOLS | {"mistake_agent": "assistant", "mistake_step": 2}
    for number in range(3):
        (tmp_path / f"{number}.json").write_text(json.dumps(labelled), encoding="utf-8")
    main(["score", str(tmp_path)])
    assert "logs without a suspect: 3; --guess names one" in capsys.readouterr().out
    main(["score", str(tmp_path), "--json"])
    assert 3 == json.loads(capsys.readouterr().out)["abstained"]
    main(["score", str(tmp_path), "--guess", "--json"])
    assert 0 == json.loads(capsys.readouterr().out)["abstained"]


def test_terminal_hint_is_for_the_shape_only() -> None:
    """An abstention by threshold has a ranking, and guessing would not change it."""
    found = rank(talk(["Coder", "Checker"]), abstain_below=1.01)
    result = found.as_json() | {"steps": 2, "format": "jsonl", "ranking": []}
    assert "--guess" in terminal.log(result, 5)
    whole = found.as_json() | {"steps": 2, "format": "jsonl"}
    for suspect in whole["ranking"]:
        suspect["evidence"] = []
    assert "--guess" not in terminal.log(whole, 5)


DATA = os.environ.get("LACEWING_WHOANDWHEN")


@pytest.mark.skipif(DATA is None, reason="LACEWING_WHOANDWHEN does not name the data's folder")
def test_whoandwhen_is_answered() -> None:
    """Every log of Who&When has its shape, but for one in which a single agent acts."""
    traces = read_folder(Path(str(DATA)))
    foreign = [trace.id for trace in traces if unlike_whoandwhen(trace) is not None]
    assert ["algorithm_generated/47"] == foreign
