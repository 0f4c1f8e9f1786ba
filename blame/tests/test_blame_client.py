"""The client of OpenAI-compatible endpoints, against a scripted server over real HTTP."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from lacewing_blame.errors import ConfigError, DataError
from lacewing_blame.llm.client import Client
from lacewing_blame.llm.endpoint import Endpoint
from scripted import Answer, Asked, in_turn, serving

CHAT = [{"role": "user", "content": "Who was it?"}]


def client(url: str, **settings: Any) -> Client:
    """A client that does not wait between attempts."""
    return Client(Endpoint(url, "model", **{"backoff": 0.0, "retries": 3, **settings}))


def refusal(url: str, kind: type[Exception] = ConfigError, **settings: Any) -> str:
    """The one line of an error that asking has to end with."""
    with pytest.raises(kind) as error:
        client(url, **settings).ask(CHAT)
    line = str(error.value)
    assert "\n" not in line
    return line


def test_question_and_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question is posted with model, temperature and key; text and tokens come back."""
    monkeypatch.setenv("LACEWING_API_KEY", "sk-secret\n")
    with serving(in_turn(Answer("It was me.", tokens=42))) as server:
        reply = client(server.url).ask(CHAT)

    assert ("It was me.", 42, False) == (reply.text, reply.tokens, reply.cut)
    [asked] = server.asked
    assert "/v1/chat/completions" == asked.path
    assert "Bearer sk-secret" == asked.headers["Authorization"]
    assert {"model": "model", "messages": CHAT, "temperature": 0.0} == asked.body


def test_optional_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no header; no temperature, none sent; a limit on tokens is sent where set."""
    monkeypatch.delenv("LACEWING_API_KEY", raising=False)
    with serving(in_turn(Answer("so", finish="length"))) as server:
        reply = client(server.url + "/", temperature=None, max_tokens=7).ask(CHAT)

    [asked] = server.asked
    assert reply.cut
    assert "Authorization" not in asked.headers
    assert {"model": "model", "messages": CHAT, "max_tokens": 7} == asked.body
    assert "/v1/chat/completions" == asked.path


@pytest.mark.parametrize(
    "failure",
    [
        Answer("slow down", 429, {"Retry-After": "0"}),
        Answer("slow down", 429, {"Retry-After": formatdate(0)}),
        Answer("slow down", 429, {"Retry-After": "soon"}),
        Answer("oh", 500),
        Answer("oh", 503),
        Answer("late", 408),
        Answer(raw=b"<html>gateway</html>"),
        Answer(raw=b'{"choices": []}'),
        Answer(raw=b"[" * 100_000),
        Answer(raw=b'{"choices": [{"message": {"content": 7}}]}'),
        Answer(hang_up=True),
    ],
    ids=lambda a: f"{a.status}-{'-'.join(a.headers.values())}{a.body()[:12]!r}{a.hang_up}",
)
def test_passing_failure(failure: Answer) -> None:
    """A failure that may pass is tried again, and the answer after it counts."""
    with serving(in_turn(failure, failure, "at last")) as server:
        one = client(server.url)
        assert "at last" == one.ask(CHAT).text
        assert 3 == len(server.asked) == one.sent


def test_retry_after_is_waited_for() -> None:
    """The next attempt does not come before Retry-After allows it."""
    with serving(in_turn(Answer("", 429, {"Retry-After": "0.4"}), "now")) as server:
        start = time.monotonic()
        assert "now" == client(server.url).ask(CHAT).text
        assert time.monotonic() - start >= 0.4


def test_retry_after_too_long() -> None:
    """Asked to wait for an hour, the run ends at once and says when to come back."""
    with serving(in_turn(Answer("quota", 429, {"Retry-After": "3600"}))) as server:
        assert "3600 s (429 quota)" in refusal(server.url)
        assert 1 == len(server.asked)


def test_patience_ends() -> None:
    """After the last attempt the error says how often and with what it failed."""
    with serving(in_turn(Answer("broken\nengine", 500))) as server:
        line = refusal(server.url, retries=2)
        assert "failed 3 times, at last with 500 broken engine" in line
        assert 3 == len(server.asked)


def test_time_out() -> None:
    """A silent server is given up and asked again."""
    done = threading.Event()

    def script(_asked: Asked, number: int) -> Answer:
        if number == 0:
            done.wait(30)
        return Answer("awake")

    with serving(script) as server:
        assert "awake" == client(server.url, timeout=0.5, retries=20).ask(CHAT).text
        assert len(server.asked) >= 2
        done.set()


def test_time_out_for_good() -> None:
    """A server that stays silent is one error that names the time-out."""
    done = threading.Event()

    def script(_asked: Asked, _number: int) -> Answer:
        done.wait(30)
        return Answer("too late")

    with serving(script) as server:
        one = client(server.url, timeout=0.1, retries=1)
        with pytest.raises(ConfigError, match=r"failed 2 times, at last with a time-out of 0\.1 s"):
            one.ask(CHAT)
        assert 2 == one.sent
        done.set()


def test_nobody_listens() -> None:
    """Where nobody listens, there is one line and no second attempt."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        one = client(url)
        with pytest.raises(ConfigError, match=r"cannot reach .* start the server, or correct"):
            one.ask(CHAT)
        assert 1 == one.sent


def test_wrong_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused key is named by its variable, never by itself."""
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with serving(in_turn(Answer("invalid key", 401))) as server:
        line = refusal(server.url, key_variable="MY_KEY")
        assert "MY_KEY" in line
        assert "sk-secret" not in line
        assert "which is unset" in refusal(server.url, key_variable="NO_SUCH_KEY")
        assert 2 == len(server.asked)


def test_wrong_model() -> None:
    """What the server says of an unknown model is passed on, once."""
    with serving(in_turn(Answer("no model called model", 404))) as server:
        assert "refuses: 404 no model called model; check" in refusal(server.url)
        assert 1 == len(server.asked)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_question_too_long(status: int) -> None:
    """A question that the endpoint cannot take is an error of the data, not of the settings."""
    with serving(in_turn(Answer("context length exceeded", status))) as server:
        line = refusal(server.url, DataError)
        assert f"cannot take this question: {status} context length exceeded" in line
        assert 1 == len(server.asked)


def test_redirects_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key does not travel to another host; the error says where the endpoint pointed."""
    monkeypatch.setenv("LACEWING_API_KEY", "sk-secret")
    with (
        serving(in_turn("from elsewhere")) as other,
        serving(in_turn(Answer("", 302, {"Location": other.url}))) as server,
    ):
        assert f"redirects to {other.url}" in refusal(server.url)
        assert [] == other.asked


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost:8000/v1", "is no endpoint"),
        ("file:///etc/passwd", "is no endpoint"),
        ("http://", "is no endpoint"),
        ("http://user:key@host/v1", "environment variable LACEWING_API_KEY"),
    ],
)
def test_endpoints_that_cannot_be(url: str, said: str) -> None:
    """What is no HTTP address, or holds a key, is refused before anything is sent."""
    with pytest.raises(ConfigError, match=said):
        Endpoint(url, "model")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://h:1/v1/", "http://h:1/v1/chat/completions"),
        ("http://h/v1/chat/completions", "http://h/v1/chat/completions"),
        ("https://h/x?api-version=2", "https://h/x/chat/completions?api-version=2"),
    ],
)
def test_address(url: str, address: str) -> None:
    """The path is appended once, and a query stays at the end."""
    assert address == Endpoint(url, "model").address()


def test_settings_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model, no concurrency and a key with line breaks are refused."""
    with pytest.raises(ConfigError, match="name of a model"):
        Endpoint("http://h/v1", "")
    with pytest.raises(ConfigError, match="concurrency of at least 1"):
        Endpoint("http://h/v1", "m", concurrency=0)
    monkeypatch.setenv("LACEWING_API_KEY", "sk\r\nX-Evil: 1")
    with pytest.raises(ConfigError, match="LACEWING_API_KEY holds signs"):
        Client(Endpoint("http://h/v1", "m"))


def test_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same question is asked once, also by another client; any difference asks anew."""
    monkeypatch.setenv("LACEWING_API_KEY", "sk-secret")
    with serving(in_turn("one", "two", "three", "four", "five")) as server:
        first = client(server.url, cache=tmp_path)
        again = client(server.url, cache=tmp_path)
        assert ["one", "one", "one"] == [c.ask(CHAT).text for c in (first, first, again)]
        assert (1, 1, 10) == (first.sent, first.cached, first.tokens)
        assert (0, 1, 0) == (again.sent, again.cached, again.tokens)
        assert "two" == again.ask(CHAT, sample=1).text
        assert "three" == client(server.url, cache=tmp_path, temperature=0.5).ask(CHAT).text
        assert "four" == again.ask([{"role": "user", "content": "Who else?"}]).text
        assert 4 == len(server.asked)

    kept = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"four" in kept
    assert b"sk-secret" not in kept
    assert b"Who was it?" not in kept


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"text": 1}', b"\xff\xfe"])
def test_damaged_cache(content: bytes, tmp_path: Path) -> None:
    """A file of the cache that cannot be read is asked for anew and mended."""
    with serving(in_turn("right")) as server:
        client(server.url, cache=tmp_path).ask(CHAT)
        [file] = [p for p in tmp_path.rglob("*") if p.is_file()]
        file.write_bytes(content)
        assert "right" == client(server.url, cache=tmp_path).ask(CHAT).text
        assert 2 == len(server.asked)
        assert "right" == json.loads(file.read_text())["text"]


def test_concurrency() -> None:
    """As many requests as allowed are under way together, and never more."""
    together = threading.Barrier(3)
    counting, under_way, most = threading.Lock(), [0], [0]

    def script(_asked: Asked, _number: int) -> Answer:
        with counting:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        together.wait(30)
        with counting:
            under_way[0] -= 1
        return Answer("yes")

    with serving(script) as server:
        one = client(server.url, concurrency=3, timeout=60.0)
        with ThreadPoolExecutor(9) as pool:
            replies = list(pool.map(lambda sample: one.ask(CHAT, sample), range(9)))
    assert 9 == len(replies)
    assert 3 == most[0]


def test_stopped_client_waits_no_longer() -> None:
    """A client that is stopped gives up between attempts instead of sitting out its wait."""
    with serving(in_turn(Answer("", 429, {"Retry-After": "299"}))) as server:
        one = client(server.url)
        errors = []

        def wait() -> None:
            try:
                one.ask(CHAT)
            except ConfigError as error:
                errors.append(str(error))

        waiting = threading.Thread(target=wait)
        waiting.start()
        while not server.asked:
            time.sleep(0.01)
        one.stop("enough")
        waiting.join(30)
        assert ["enough"] == errors
        assert 1 == len(server.asked)


def test_half_surrogates() -> None:
    """Half of a surrogate pair in a log is sent as a question mark; servers refuse it otherwise."""
    with serving(in_turn("fine")) as server:
        client(server.url).ask([{"role": "user", "content": "a\ud800b"}])
    assert "a?b" == server.asked[0].user
