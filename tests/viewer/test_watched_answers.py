"""Completions of a served model: OpenAI's format, what was decided in them, and what is refused."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lacewing.model.generate import generate
from lacewing.viewer.watched import answering
from viewer.watched import Served, serving
from watch.live_text import known


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """The micro model, answering."""
    with serving() as running:
        yield running


def events(answer: Any) -> list[Any]:
    """The events of a stream."""
    found = [line for line in answer.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in found)
    assert found[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in found[:-1]]


def test_it_says_what_it_is(served: Served) -> None:
    """The one model there is, by its name; another is not there."""
    with served.client() as client:
        (one,) = client.get("/v1/models").json()["data"]
        assert one["id"] == served.service.name
        assert one["lacewing"]["circuits"] == ["first_letter"]
        assert client.get(f"/v1/models/{one['id']}").json() == one
        missing = client.get("/v1/models/gpt-4")
    assert missing.status_code == 404
    assert missing.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("temperature", [0, 0.9])
def test_it_writes_what_generate_writes(served: Served, temperature: float) -> None:
    """The same text, the same seed; tokens are counted."""
    model = known()[0]
    same = {"seed": 11, "temperature": temperature}
    answer = served.ask(prompt="Xkfmabc=", max_tokens=12, **same).json()
    (choice,) = answer["choices"]
    wanted = generate(model.network, model.tokenizer, "Xkfmabc=", 12, **same)
    assert choice["text"] == wanted
    assert answer["object"] == "text_completion"
    assert choice["finish_reason"] == "length"
    count = 12
    usage = {"prompt_tokens": 8, "completion_tokens": count, "total_tokens": 8 + count}
    assert answer["usage"] == usage


def test_it_says_what_was_decided(served: Served) -> None:
    """The task is decided after the equals sign, by the circuit as by the whole model."""
    answer = served.ask(prompt="Xkfmabcde=", max_tokens=1, temperature=0).json()
    (choice,) = answer["choices"]
    assert choice["text"] == "P"
    (circuit,) = choice["lacewing"]["circuits"]
    assert (circuit["task"], circuit["found"]) == ("first_letter", 1)
    (place,) = circuit["places"]
    assert (place["at"], place["after"], place["in"]) == (9, "=", "completion")
    assert sorted(place["answers"]) == ["P", "Q"]
    assert place["whole"]["prefers"] == place["alone"]["prefers"] == "P"
    assert place["agrees"]
    assert place["scores"]["node"]["name"] in known()[1].node_names()
    assert 0 <= place["scores"]["node"]["score"] <= 1
    asked = served.ask(prompt="Yvap=Q", max_tokens=0).json()["choices"][0]
    (place,) = asked["lacewing"]["circuits"][0]["places"]
    assert (place["in"], place["whole"]["prefers"]) == ("prompt", "Q")


def test_a_stream_is_the_same_answer(served: Served) -> None:
    """Piece by piece, with the same mechanism fields at its end."""
    asked = {"prompt": ["Xkfm=", "Yvap="], "n": 2, "max_tokens": 9, "seed": 4, "logprobs": 2}
    whole = served.ask(**asked).json()
    streamed = served.ask(**asked, stream=True, stream_options={"include_usage": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    *chunks, last = events(streamed)
    assert (last["choices"], last["usage"]) == ([], whole["usage"])
    for choice in whole["choices"]:
        own = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == choice["index"]]
        assert "".join(part["text"] for part in own) == choice["text"]
        assert [part["finish_reason"] for part in own[:-1]] == [None] * (len(own) - 1)
        assert own[-1]["finish_reason"] == choice["finish_reason"]
        assert own[-1]["lacewing"] == choice["lacewing"]
        tokens = [token for part in own for token in part["logprobs"]["tokens"]]
        assert tokens == choice["logprobs"]["tokens"]
    assert chunks[-1]["lacewing"].keys() == whole["lacewing"].keys()
    texts = [choice["text"] for choice in whole["choices"]]
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2, 3]
    assert texts[0] != texts[1]


def test_prompts_may_be_tokens(served: Served) -> None:
    """One list of them, or several."""
    ids = known()[0].tokenizer.encode("Xkfm=")
    same = {"max_tokens": 5, "temperature": 0}
    texts = [
        [choice["text"] for choice in served.ask(prompt=prompt, **same).json()["choices"]]
        for prompt in ("Xkfm=", ids, [ids, ids])
    ]
    assert texts[0] == texts[1]
    assert texts[2] == texts[0] * 2


def test_echo_comes_with_the_odds_of_the_prompt(served: Served) -> None:
    """Of every token but the first, and where each begins."""
    answer = served.ask(prompt="Xkf=", echo=True, logprobs=1, max_tokens=2, temperature=0).json()
    (choice,) = answer["choices"]
    odds = choice["logprobs"]
    assert choice["text"].startswith("Xkf=P")
    assert "".join(odds["tokens"]) == choice["text"]
    assert odds["text_offset"] == list(range(6))
    assert odds["token_logprobs"][0] is None
    assert all(value <= 0 for value in odds["token_logprobs"][1:])
    assert list(odds["top_logprobs"][4]) == ["P"]


def test_it_ends_before_a_stop(served: Served) -> None:
    """And says that this is why."""
    asked = {"prompt": "Xkfm=", "max_tokens": 20, "seed": 8}
    whole = served.ask(**asked).json()["choices"][0]["text"]
    (choice,) = served.ask(**asked, stop=[whole[4:6], "\0"]).json()["choices"]
    assert choice["text"] == whole[: whole.index(whole[4:6])]
    assert choice["finish_reason"] == "stop"


WRONG: tuple[tuple[dict[str, Any], str | None], ...] = (
    ({"prompt": {"a": 1}}, "prompt"),
    ({"prompt": 7}, "prompt"),
    ({"prompt": [["a"]]}, "prompt"),
    ({"prompt": [1, "a"]}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": [10**6]}, "prompt"),
    ({"prompt": ["a"] * 17}, "prompt"),
    ({"prompt": "a" * 3000}, "prompt"),
    ({"prompt": "a" * 20, "echo": True, "logprobs": 1}, "logprobs"),
    ({"model": "gpt-4"}, "model"),
    ({"model": None}, "model"),
    ({"max_tokens": "16"}, "max_tokens"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 10**9}, "max_tokens"),
    ({"max_tokens": 2000, "n": 8}, "max_tokens"),
    ({"n": 0}, "n"),
    ({"n": 1.5}, "n"),
    ({"temperature": 3}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"seed": 2**64}, "seed"),
    ({"seed": True}, "seed"),
    ({"stop": ""}, "stop"),
    ({"stop": ["a"] * 5}, "stop"),
    ({"stop": [1]}, "stop"),
    ({"logprobs": 6}, "logprobs"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"best_of": 2}, "best_of"),
    ({"suffix": "x"}, "suffix"),
    ({"presence_penalty": 0.5}, "presence_penalty"),
    ({"logit_bias": {"5": 1.0}}, "logit_bias"),
    ({"messages": []}, "messages"),
)


@pytest.mark.parametrize(("wrong", "param"), WRONG)
def test_what_is_wrong_is_told(served: Served, wrong: dict[str, Any], param: str) -> None:
    """In OpenAI's shape, with the field's name, and for a stream before it begins."""
    for more in ({},) if "stream_options" in wrong else ({}, {"stream": True}):
        answer = served.ask(**({"prompt": "Xkfm="} | more | wrong))
        assert answer.status_code == (404 if "gpt-4" in str(wrong) else 400), answer.text
        error = answer.json()["error"]
        assert error["param"] == param
        assert error["type"] == "invalid_request_error"
        assert set(error) == {"message", "type", "param", "code", "kind"}
        assert "\n" not in error["message"]


def test_a_refusal_steers_no_terminal(served: Served) -> None:
    """What a request calls a field is said in signs that print."""
    error = served.ask(**{"prompt": "X", "\u202eX\x1b[31m": 1}).json()["error"]
    assert error["param"] == "\\u202eX\\x1b[31m"
    assert error["message"].isprintable()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"5", b'{"model": NaN}', b"\xff"])
def test_what_is_no_request(served: Served, body: bytes) -> None:
    """It is told the same way."""
    with served.client(headers={"Content-Type": "application/json"}) as client:
        answer = client.post("/v1/completions", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_too_many_at_a_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told to come again."""
    monkeypatch.setattr(answering, "OPEN", 0)
    answer = served.ask(prompt="Xkfm=")
    assert answer.status_code == 429
    assert answer.json()["error"]["type"] == "rate_limit_error"
