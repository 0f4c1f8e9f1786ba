"""Long logs, roles, rules, the second look, and what it all costs, over real HTTP."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from lacewing_blame.attribution import Attribution
from lacewing_blame.cli import main
from lacewing_blame.events import Event, Label, Trace
from lacewing_blame.llm.client import Client
from lacewing_blame.llm.endpoint import Endpoint
from lacewing_blame.llm.methods import attribute
from lacewing_blame.llm.prompts import Options
from lacewing_blame.llm.windows import parts
from lacewing_blame.ranker.ranking import rank
from lacewing_blame.scoring import score
from scripted import Answer, Asked, Script, Server, in_turn, serving, small_trace


def asked(
    trace: Trace, method: str, script: Script, **options: object
) -> tuple[Attribution, Server]:
    """One answer, and the server it was asked of."""
    with serving(script) as server, Client(Endpoint(server.url, "model")) as client:
        return attribute(trace, method, client, Options(**options)), server


def long_trace(steps: int = 40) -> Trace:
    """Steps of some 300 characters each, the 23rd holding the fault."""
    said = ["x" * 280 + f" word-{at}" for at in range(steps)]
    said[23] = "I assume that it is 17. " + said[23]
    events = tuple(Event(at, ("Planner", "Coder")[at % 2], text) for at, text in enumerate(said))
    return Trace("long", "Find it.", events, "jsonl")


def by_part(request: Asked, _number: int) -> Answer:
    """A model that finds the fault where it is shown, and concludes from the suspected steps."""
    question = request.user
    if "part by part" in question:
        step = 23 if "I assume that it is 17" in question else 0
        told = {"agent": "Coder", "step": step, "quote": "I assume that it is 17", "reason": "so"}
        return Answer(json.dumps(told))
    suspects = [{"step": 23, "reason": "assumed"}] if "I assume that it is 17" in question else []
    return Answer(json.dumps({"summary": f"{len(question)} signs", "suspects": suspects}))


def test_long_logs_part_by_part() -> None:
    """Each part is shown once and within bounds; the last question holds the suspected step."""
    found, server = asked(long_trace(), "hierarchical", by_part, window=3000)
    *windows, last = server.questions()
    assert len(parts(long_trace(), 3000)) == len(windows) == found.calls - 1
    for at in range(40):
        assert 1 == sum(f"word-{at}\n" in text for text in windows)
    assert all(len(text) < 5000 for text in windows)
    assert "(suspected: assumed)" in last
    assert "word-24" not in last
    assert ("Coder", 23, "so") == (found.agent, found.step, found.reason)
    span = found.ranking[0].evidence[0]
    assert "I assume that it is 17" == long_trace().events[23].text[span.start : span.end]


@pytest.mark.parametrize("window", [1, 100, 289, 100_000])
def test_parts_hold_every_step_once(window: int) -> None:
    """Whatever the window, the parts follow on one another from the first step to the last."""
    cut = parts(long_trace(), window)
    assert (0, 40) == (cut[0][0], cut[-1][1])
    assert all(a[1] == b[0] and a[0] < a[1] for a, b in itertools.pairwise(cut))


def test_parts_that_say_nothing() -> None:
    """Unreadable summaries are noted, and suspects of another part are not believed."""
    script = in_turn("no idea", '{"summary": "s", "suspects": [{"step": 0}, {"step": "x"}, 7]}')
    found, server = asked(long_trace(), "hierarchical", script, window=6000)
    assert "(nothing told)" in server.questions()[-1]
    assert any("no summary of steps 0 to" in note for note in found.notes)
    assert found.step is None


def test_rules_have_their_place() -> None:
    """The system message stands before the log, once, under a heading of its own."""
    rules = Event(0, "system", "Never refund.", role="system", blamable=False)
    trace = Trace("t", "Serve.", (rules, Event(1, "agent", "Refunded.")), "openai")
    _, server = asked(trace, "all-at-once", in_turn("{}"))
    [question] = server.questions()
    assert question.index("rules the agents were given") < question.index("===== log =====")
    assert 1 == question.count("Never refund.")


def test_roles_instead_of_agents() -> None:
    """A role that an answer names is its agent; in a score either name is right."""
    trace = replace(small_trace(6), label=Label("Action_Expert", 1))
    aliases = (("Coder", "Action_Expert"), ("Checker", "Verifier"))
    script = in_turn('{"agent": "action_expert", "step": 1}')
    found, server = asked(trace, "all-at-once", script, aliases=aliases)
    assert "Coder as Action_Expert" in server.questions()[0]
    assert ("Coder", 1, ()) == (found.agent, found.step, found.notes)
    assert 0.0 == score([trace], [found])["agent"]["accuracy"]
    assert 1.0 == score([trace], [found], aliases=dict(aliases))["agent"]["accuracy"]


@pytest.mark.parametrize(
    ("second", "step", "note"),
    [
        ('{"holds": "yes"}', 4, "confirmed by a second look"),
        ('{"holds": "no", "step": 2}', 2, "moved the suspicion from step 4"),
        ('{"holds": "no", "step": 5}', 4, "names no other suspect"),
        ("perhaps", 4, "neither yes nor no"),
    ],
)
def test_second_look(second: str, step: int, note: str) -> None:
    """It confirms, or moves to another step of the ranking, and to nothing else."""
    trace = small_trace(6)
    ranked = rank(trace)
    order = [4, 2, *(s.step for s in ranked.ranking if s.step not in (2, 4, 5)), 5]
    keep = {s.step: s for s in ranked.ranking}
    prior = replace(ranked, ranking=tuple(keep[s] for s in order))
    script = in_turn('{"order": [4, 2]}', second)
    with serving(script) as server, Client(Endpoint(server.url, "model")) as client:
        found = attribute(trace, "rerank", client, Options(verify=True), prior)
    assert (step, 2) == (found.step, found.calls)
    assert any(note in one for one in found.notes)
    assert step == found.ranking[0].step
    assert "step 4 holds the mistake" in server.questions()[1]


def test_rerank_names_where_the_ranker_does_not() -> None:
    """The ranker narrows to ten; the model names its first; its silence names none."""
    trace = long_trace()
    assert rank(trace).abstained
    step = rank(trace).ranking[3].step
    found, server = asked(trace, "rerank", in_turn(json.dumps({"order": [step]})))
    assert (False, step) == (found.abstained, found.step)
    assert 10 == server.questions()[0].count("===== candidate step")
    silent, _ = asked(trace, "rerank", in_turn("no order"))
    assert (True, None) == (silent.abstained, silent.step)


def test_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tokens read and written, and their price per log, where prices are given."""
    usage = {"total_tokens": 1_000_100, "completion_tokens": 100}
    content = {"choices": [{"message": {"content": '{"agent": "Ann", "step": 0}'}}], "usage": usage}
    log = tmp_path / "log.json"
    log.write_text('[{"agent": "Ann", "text": "4"}, {"agent": "Bob", "text": "5"}]')
    with serving(in_turn(Answer(raw=json.dumps(content).encode()))) as server:
        words = ["--method", "all-at-once", "--endpoint", server.url, "--model", "m", "--no-cache"]
        main([str(log), *words, "--price-read", "2", "--price-written", "10000"])
        out = capsys.readouterr().out
        assert "1 questions, 1,000,100 tokens, 100 of them written; cost 3.0000" in out
        main([str(log), *words])
        assert "cost" not in capsys.readouterr().out
        main([str(log), *words, "--price-read", "2", "--json"])
        assert 2.0 == json.loads(capsys.readouterr().out)["cost"]


@pytest.mark.parametrize(
    ("flags", "told"),
    [(["--alias", "Coder"], "--alias takes AGENT=ROLE"), (["--window", "9"], "at least 1000")],
)
def test_flags_that_cannot_be(
    flags: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bad values are told before anything is asked."""
    log = tmp_path / "log.json"
    log.write_text('[{"agent": "Ann", "text": "4"}, {"agent": "Bob", "text": "5"}]')
    words = ["--method", "all-at-once", "--endpoint", "http://localhost:9/v1", "--model", "m"]
    with pytest.raises(SystemExit):
        main([str(log), *words, *flags])
    assert told in capsys.readouterr().err
