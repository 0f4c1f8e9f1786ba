"""The methods that ask a model, log by log: what they ask, in which order, how often."""

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lacewing_blame.attribution import Attribution, Suspect
from lacewing_blame.errors import ConfigError
from lacewing_blame.events import Event, Trace
from lacewing_blame.llm.client import Client
from lacewing_blame.llm.endpoint import Endpoint
from lacewing_blame.llm.methods import METHODS, attribute
from lacewing_blame.llm.prompts import Options
from lacewing_blame.reading.read import read_folder
from scripted import Answer, Asked, Server, in_turn, serving, small_trace

GUILTY = '{"reason": "It guessed.", "quote": "word", "mistake": "yes"}'
INNOCENT = '{"reason": "Fine.", "mistake": "no"}'


def ask(server: Server, trace: Trace, method: str, **options: Any) -> Attribution:
    """One attribution by a client that does not wait."""
    temperature = options.pop("temperature", 0.0)
    endpoint = Endpoint(server.url, "model", backoff=0.0, temperature=temperature)
    return attribute(trace, method, Client(endpoint), Options(**options))


def named(agent: object, step: object, **more: object) -> str:
    """A well-formed answer to all-at-once."""
    return json.dumps({"reason": "It guessed.", "agent": agent, "step": step, **more})


def newest(question: str) -> int:
    """Which step a question of step-by-step is about."""
    found = re.search(r"===== newest step =====\n.*?word-(\d+) ", question)
    assert found is not None
    return int(found[1])


def halves(question: str) -> tuple[list[int], list[int]]:
    """The steps of both halves of a question of binary-search."""
    first, second = question.split("===== second half =====")
    one, other = (re.findall(r"word-(\d+) ", part) for part in (first, second))
    return [int(n) for n in one], [int(n) for n in other]


def oracle(guilty: int) -> Callable[[Asked, int], Answer]:
    """A model that knows the decisive step."""

    def script(asked: Asked, _number: int) -> Answer:
        if "second half" in asked.user:
            side = "first" if guilty in halves(asked.user)[0] else "second"
            return Answer(f'{{"half": "{side}"}}')
        return Answer(GUILTY if newest(asked.user) == guilty else INNOCENT)

    return script


@pytest.mark.parametrize("number", [1, 2, 3, 7, 10, 16])
def test_step_by_step_visits_in_order(number: int) -> None:
    """Steps 0 to the guilty one are asked about in order, each with what came before it."""
    trace = small_trace(number)
    for guilty in range(number):
        with serving(oracle(guilty)) as server:
            found = ask(server, trace, "step-by-step")
        asked = server.questions()
        assert list(range(guilty + 1)) == [newest(question) for question in asked]
        for at, question in enumerate(asked):
            shown = [int(n) for n in re.findall(r"word-(\d+) ", question)]
            assert list(range(at + 1)) == shown
        assert (guilty, trace.events[guilty].agent) == (found.step, found.agent)
        assert (guilty + 1, 10 * (guilty + 1)) == (found.calls, found.tokens)
        assert "It guessed." == found.reason == found.ranking[0].evidence[0].reason


@pytest.mark.parametrize("number", [1, 2, 3, 5, 8, 10, 13, 30])
def test_binary_search_halves(number: int) -> None:
    """The shown part halves each time; log2 n questions, rounded up at most, find the step."""
    trace = small_trace(number)
    for guilty in range(number):
        with serving(oracle(guilty)) as server:
            found = ask(server, trace, "binary-search")
        assert (guilty, trace.events[guilty].agent) == (found.step, found.agent)
        assert math.floor(math.log2(number)) <= found.calls <= math.ceil(math.log2(number))
        assert found.calls == len(server.asked)
        part = list(range(number))
        for question in server.questions():
            first, second = halves(question)
            assert part == first + second
            assert len(first) - len(second) in (0, 1)
            part = first if guilty in first else second
    assert () == found.notes


def test_all_at_once() -> None:
    """One question with the whole log; agent, step, reason and quoted words come back."""
    trace = small_trace()
    with serving(in_turn(named("coder", 4, quote="WORD-4  of"))) as server:
        found = ask(server, trace, "all-at-once")
    [question] = server.questions()
    assert [f"word-{i}" for i in range(6)] == re.findall(r"word-\d", question)
    assert ("Coder", 4, "It guessed.", 1) == (found.agent, found.step, found.reason, found.calls)
    [suspect] = found.ranking
    assert 0.0 == suspect.probability
    [evidence] = suspect.evidence
    assert "word-4 of" == trace.events[4].text[evidence.start : evidence.end]
    assert () == found.notes


@pytest.mark.parametrize(
    ("text", "agent", "step", "note"),
    [
        ("I would rather not say.", None, None, "no JSON object"),
        ("{agent: Coder, step: 4}", None, None, "no JSON object"),
        ("", None, None, "no JSON object"),
        (named("Nobody", 4), None, 4, "no agent of the log is called 'Nobody'"),
        (named(None, 4), None, 4, "no agent of the log is called None"),
        (named("Coder", 6), "Coder", None, "6 is no step of the log"),
        (named("Coder", -1), "Coder", None, "-1 is no step"),
        (named("Coder", True), "Coder", None, "True is no step"),
        (named("Coder", "four"), "Coder", None, "'four' is no step"),
        (named("Coder", 0), "Coder", 0, "the step named is not Coder's but Planner's"),
        (named("Coder", 10**30), "Coder", None, "is no step"),
    ],
)
def test_all_at_once_gone_wrong(text: str, agent: str | None, step: int | None, note: str) -> None:
    """What cannot be read is no prediction, only the other part stands, and a note says why."""
    with serving(in_turn(text)) as server:
        found = ask(server, small_trace(), "all-at-once")
    assert (agent, step, 1, False) == (found.agent, found.step, found.calls, found.abstained)
    assert any(note in n for n in found.notes)


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{named('Coder', 4)}\n```",
        f"<think>{named('Planner', 0)} no...</think> So: {named('Coder', 4)}",
        f"First {named('Planner', 0)}; but rather {named('Coder', 4)}. Done {{}}",
        named("CODER (thought)", "4"),
        named("Coder", "Step 4"),
        named("Coder", 4.0),
    ],
)
def test_forgiven_forms(text: str) -> None:
    """Fences, thoughts, corrections, suffixes of speakers and steps as text are understood."""
    with serving(in_turn(text)) as server:
        found = ask(server, small_trace(), "all-at-once")
    assert ("Coder", 4, ()) == (found.agent, found.step, found.notes)


def test_original_step_numbers() -> None:
    """Numbered, a step is meant by its own number; else by its place, as the model counted."""
    events = tuple(Event(10 + i, "Solo", f"text {i}") for i in range(3))
    trace = Trace("gaps", "", events, "jsonl")
    with serving(in_turn(named("Solo", 11), named("Solo", 1))) as server:
        assert 11 == ask(server, trace, "all-at-once", step_numbers=True).step
        assert 11 == ask(server, trace, "all-at-once").step
    numbered, plain = server.questions()
    assert "[step 11] Solo: text 1" in numbered
    assert "[step" not in plain


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"rerank"}))
def test_what_the_model_sees(method: str) -> None:
    """The right answer only when asked for, the guideline likewise, and never the label."""
    trace = small_trace()
    with serving(in_turn(named("Coder", 1))) as server:
        ask(server, trace, method)
        without = "\n".join(server.questions())
        ask(server, trace, method, with_answer=True, guideline=True)
        shown = "\n".join(server.questions()).removeprefix(without)
    assert "Find the word." in without
    assert "the-right-answer" not in without
    assert "How people decide" not in without
    assert "the-right-answer" in shown
    assert "How people decide" in shown
    assert "the-secret-label-reason" not in without + shown


def test_no_answer_to_show() -> None:
    """Asked to show an answer that the log does not hold, the method goes on and says so."""
    with serving(in_turn(named("Coder", 1))) as server:
        found = ask(server, small_trace(expected=None), "all-at-once", with_answer=True)
    assert ("Coder", 1) == (found.agent, found.step)
    assert ("the log holds no right answer: asked without it",) == found.notes


def test_never_yes() -> None:
    """Where no step is found guilty, step-by-step asks about all and predicts nothing."""
    with serving(in_turn(INNOCENT)) as server:
        found = ask(server, small_trace(), "step-by-step")
    assert (None, None, (), 6) == (found.agent, found.step, found.ranking, found.calls)
    assert ("no step was found guilty: no prediction",) == found.notes


@pytest.mark.parametrize(
    ("text", "guilty", "clear"),
    [
        ("Yes. It guessed.", True, True),
        ("1. No, that is fine.", False, True),
        ('{"mistake": true}', True, True),
        ('{"mistake": "maybe"}', False, False),
        ("It depends.", False, False),
        ("", False, False),
        ("Nobody knows", False, False),
    ],
)
def test_yes_or_no(text: str, guilty: bool, clear: bool) -> None:
    """A plain yes or no counts; what is neither counts as no, with a note."""
    with serving(in_turn(text)) as server:
        found = ask(server, small_trace(1), "step-by-step")
    assert (0 if guilty else None) == found.step
    assert clear != any("neither yes nor no at step 0" in note for note in found.notes)


def test_coin_of_binary_search() -> None:
    """An unclear half is decided by a seeded coin that lands on both sides, and noted."""
    with serving(in_turn("The first or the second half.")) as server:
        found = [ask(server, small_trace(2), "binary-search", seed=s) for s in range(12)]
        again = [ask(server, small_trace(2), "binary-search", seed=s) for s in range(12)]
    assert found == again
    assert {0, 1} == {attribution.step for attribution in found}
    for attribution in found:
        side = "first" if attribution.step == 0 else "second"
        assert (f"no clear half of steps 0 to 1: a coin chose the {side}",) == attribution.notes


def test_hybrid_looks_at_one_agent() -> None:
    """After the agent is named, only this agent's steps are visited, in order, up to the guilty."""

    def script(asked: Asked, number: int) -> Answer:
        if number == 0:
            return Answer(named("Coder", 1))
        return Answer(GUILTY if newest(asked.user) == 7 else INNOCENT)

    with serving(script) as server:
        found = ask(server, small_trace(12), "hybrid")
    assert [1, 4, 7] == [newest(question) for question in server.questions()[1:]]
    assert ("Coder", 7, 4) == (found.agent, found.step, found.calls)


def test_hybrid_gone_wrong() -> None:
    """Never yes keeps the agent without a step; no known agent stops after one question."""
    with serving(in_turn(named("Coder", 1), INNOCENT)) as server:
        found = ask(server, small_trace(), "hybrid")
    assert (
        found.agent,
        found.step,
        found.calls,
        found.reason,
    ) == ("Coder", None, 3, "It guessed.")
    with serving(in_turn(named("Nobody", 1), GUILTY)) as server:
        found = ask(server, small_trace(), "hybrid")
    assert (None, None, 1) == (found.agent, found.step, found.calls)
    assert "no agent to look at: no prediction" in found.notes


def test_majority() -> None:
    """Of several samples the majority counts: the agent first, then the step among its answers."""
    answers = [named("Coder", 4), named("Planner", 0), named("Coder", 1), named("Coder", 4)]

    def script(_asked: Asked, number: int) -> Answer:
        return Answer([*answers, named("Planner", 0)][number])

    with serving(script) as server:
        found = ask(server, small_trace(), "all-at-once", samples=5, temperature=0.7)
    assert ("Coder", 4, 5) == (found.agent, found.step, found.calls)
    shares = {suspect.step: suspect.probability for suspect in found.ranking}
    assert {4: 0.4, 0: 0.4, 1: 0.2} == shares
    assert 4 == found.ranking[0].step


def test_majority_of_verdicts() -> None:
    """A step is guilty when more than half of the samples say so; two of four are not enough."""
    told = [GUILTY, INNOCENT, GUILTY, INNOCENT, GUILTY, GUILTY, INNOCENT, GUILTY]

    with serving(in_turn(*told)) as server:
        found = ask(server, small_trace(), "step-by-step", samples=4, temperature=0.7)
    assert (1, 8) == (found.step, found.calls)


def test_samples_need_a_temperature() -> None:
    """Several samples at temperature 0, or none, are refused before anything is asked."""
    with serving(in_turn("")) as server:
        with pytest.raises(ConfigError, match="3 samples at temperature 0"):
            ask(server, small_trace(), "all-at-once", samples=3)
        with pytest.raises(ConfigError, match="at least 1"):
            ask(server, small_trace(), "all-at-once", samples=0)
        with pytest.raises(ConfigError, match="no method 'guess'; there are all-at-once"):
            ask(server, small_trace(), "guess")
    assert [] == server.asked


def prior(trace: Trace, order: list[int]) -> Attribution:
    """A ranking of some steps, probabilities falling."""
    shares = [2.0 ** -(i + 1) for i in range(len(order))]
    suspects = tuple(
        Suspect(step, trace.events[step].agent, p) for step, p in zip(order, shares, strict=True)
    )
    return Attribution(trace.id, "ranker", suspects[0].agent, order[0], False, suspects)


def test_rerank() -> None:
    """Only the first ten are shown; their probabilities are dealt anew, the rest stays."""
    trace = small_trace(12)
    before = prior(trace, [8, 2, 6, 0, 4, 10, 1, 3, 5, 7, 9])
    with serving(in_turn('{"order": [4, 2], "reason": "so", "quote": "word-4"}')) as server:
        client = Client(Endpoint(server.url, "model"))
        found = attribute(trace, "rerank", client, None, before)
    assert [4, 2, 8, 6, 0, 10, 1, 3, 5, 7, 9] == [suspect.step for suspect in found.ranking]
    assert [s.probability for s in before.ranking] == [s.probability for s in found.ranking]
    assert (4, "Coder", 1, "so") == (found.step, found.agent, found.calls, found.reason)
    assert "word-4" == trace.events[4].text[: found.ranking[0].evidence[0].end]
    assert math.isclose(sum(s.probability for s in found.ranking), sum(found.agents.values()))
    [question] = server.questions()
    shown = [int(n) for n in re.findall(r"candidate step (\d+) ", question)]
    assert [0, 1, 2, 3, 4, 5, 6, 7, 8, 10] == shown


@pytest.mark.parametrize("text", ["no idea", '{"order": []}', '{"order": "4"}', '{"order": [99]}'])
def test_rerank_without_an_order(text: str) -> None:
    """Where the model gives no usable order, the ranker's stands, with a note."""
    trace = small_trace(12)
    before = prior(trace, [8, 2, 6])
    with serving(in_turn(text)) as server:
        found = attribute(trace, "rerank", Client(Endpoint(server.url, "model")), None, before)
    assert (8, before.ranking) == (found.step, found.ranking)
    assert "the ranker's order stands" in found.notes


def test_cut_answer() -> None:
    """An answer that was cut off is noted."""
    with serving(in_turn(Answer(named("Coder", 1), finish="length"))) as server:
        found = ask(server, small_trace(), "all-at-once")
    assert any("cut off" in note for note in found.notes)


def knowing(at: int, number: int) -> Callable[[Asked, int], Answer]:
    """A model that knows the place of the decisive step and keeps track of the halves."""
    part = [0, number]

    def script(asked: Asked, count: int) -> Answer:
        if "second half" not in asked.user:
            return Answer(GUILTY if count == at else INNOCENT)
        middle = part[0] + (part[1] - part[0] + 1) // 2
        part[:] = [part[0], middle] if at < middle else [middle, part[1]]
        return Answer(f'{{"half": "{"first" if at < middle else "second"}"}}')

    return script


def test_call_counts_on_whoandwhen() -> None:
    """On every real log, a model that knows the label costs what the publication counts."""
    folder = os.environ.get("LACEWING_WHOANDWHEN")
    if not folder:
        pytest.skip("LACEWING_WHOANDWHEN names no folder of Who&When logs")
    for trace in read_folder(Path(folder)):
        assert trace.label is not None
        at = next(i for i, e in enumerate(trace.events) if e.index == trace.label.step)
        number = len(trace.events)
        with serving(knowing(at, number)) as server:
            halving = ask(server, trace, "binary-search")
        assert trace.label.step == halving.step
        assert halving.calls == len(server.asked) <= math.ceil(math.log2(number))
        with serving(knowing(at, number)) as server:
            stepping = ask(server, trace, "step-by-step")
        assert trace.label.step == stepping.step
        assert at + 1 == stepping.calls == len(server.asked)
        with serving(in_turn(named(trace.label.agent, at))) as server:
            whole = ask(server, trace, "all-at-once")
        assert (trace.label.step, 1) == (whole.step, len(server.asked))
