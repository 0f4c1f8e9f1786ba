"""What the client keeps to itself and what it does not take: keys, redirects, endless answers."""

import gzip
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from lacewing_blame.cli import main
from lacewing_blame.errors import ConfigError
from lacewing_blame.llm import transport
from lacewing_blame.llm.client import Client
from lacewing_blame.llm.endpoint import Endpoint
from lacewing_blame.llm.replies import Passing
from scripted import Answer, in_turn, serving
from test_blame_client import CHAT, client, refusal


def test_key_in_a_servers_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that repeats the key, in its words or a redirect, does not get it printed."""
    monkeypatch.setenv("LACEWING_API_KEY", "sk-secret")
    for answer in (
        Answer("incorrect key sk-secret", 401),
        Answer("no model for sk-secret", 404),
        Answer("sk-secret is over its quota", 429, {"Retry-After": "3600"}),
        Answer("sk-secret broke the engine", 500),
        Answer("", 302, {"Location": "http://elsewhere/?key=sk-secret"}),
    ):
        with serving(in_turn(answer)) as server:
            line = refusal(server.url, retries=0)
        assert "***" in line
        assert "sk-secret" not in line


def test_key_in_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The query of the address is sent but not shown, since some endpoints take a key there."""
    monkeypatch.delenv("LACEWING_API_KEY", raising=False)
    with serving(in_turn(Answer("no", 404))) as server:
        line = refusal(server.url + "?api-key=sk-secret")
        assert "/v1/chat/completions?api-key=sk-secret" == server.asked[0].path
    assert "sk-secret" not in line


def test_key_in_no_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Libraries that log everything do not log the key."""
    monkeypatch.setenv("LACEWING_API_KEY", "sk-secret")
    caplog.set_level(logging.DEBUG)
    with serving(in_turn("yes")) as server:
        client(server.url, cache=tmp_path).ask(CHAT)
    assert caplog.records
    assert "sk-secret" not in caplog.text


def test_credentials_of_the_machine_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A .netrc for the host adds no header: only the named variable holds a key."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password sk-other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LACEWING_API_KEY", raising=False)
    with serving(in_turn("yes")) as server:
        client(server.url).ask(CHAT)
    assert "Authorization" not in server.asked[0].headers


def test_proxies_are_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server on this machine is asked directly, whatever proxy is set."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving(in_turn("directly")) as server:
        assert "directly" == client(server.url).ask(CHAT).text


def test_answers_have_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A response that does not end is not read to its end, be it an answer or a refusal."""
    monkeypatch.setattr(transport, "LARGEST_ANSWER", 100_000)
    whole = Answer("x" * 90_000).body()
    with serving(in_turn(Answer(raw=whole), Answer(raw=b" " * 30_000_000))) as server:
        one = client(server.url, retries=0)
        assert 90_000 == len(one.ask(CHAT).text)
        with pytest.raises(ConfigError, match=r"an answer of more than 100,000 bytes"):
            one.ask(CHAT)
    with serving(in_turn(Answer(status=404, raw=b"y" * 30_000_000))) as server:
        assert "refuses: 404 yyy" in refusal(server.url)


def test_endless_answers_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading stops soon after the limit, whatever is still to come."""
    monkeypatch.setattr(transport, "LARGEST_ANSWER", 100_000)
    pulled = 0

    def endless() -> Iterator[bytes]:
        nonlocal pulled
        while pulled < 1000:
            pulled += 1
            yield b"x" * 10_000

    one = transport.Transport(Endpoint("http://localhost:1/v1", "model"))
    one._http = httpx.Client(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, content=endless()))
    )
    with pytest.raises(Passing, match="more than"):
        one.post(b"{}")
    assert pulled < 30


def test_compressed_answers_have_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that grows when it is unpacked counts as large as it is then."""
    monkeypatch.setattr(transport, "LARGEST_ANSWER", 100_000)
    packed = gzip.compress(b" " * 30_000_000)
    with serving(in_turn(Answer(raw=packed, headers={"Content-Encoding": "gzip"}))) as server:
        assert "more than 100,000 bytes" in refusal(server.url, retries=0)
        assert "identity" == server.asked[0].headers["Accept-Encoding"]


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_byte_now_and_then_gains_nothing(part: str) -> None:
    """The time-out holds for the whole answer, whichever part of it trickles in."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.recv(65536)
                start = b"HTTP/1.1 200 OK\r\n"
                if part == "body":
                    start += b"Content-Length: 1000\r\n\r\n"
                connection.sendall(start)
                for _ in range(100):
                    connection.sendall(b"X")
                    time.sleep(0.05)

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        began = time.monotonic()
        with (
            Client(Endpoint(url, "m", timeout=0.5, retries=0)) as asked,
            pytest.raises(ConfigError, match=r"a time-out of 0\.5 s"),
        ):
            asked.ask([{"role": "user", "content": "Hello"}])
        assert time.monotonic() - began < 2


ECHOES = ["sk-secret-17", "\\u0073k-secret-17"]
"""A key as it is, and as JSON may write it."""


@pytest.mark.parametrize("echo", ECHOES)
def test_key_in_an_answer(
    echo: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An endpoint that repeats the key in its answer: it is neither shown nor kept."""
    monkeypatch.setenv("LACEWING_API_KEY", "sk-secret-17")
    inner = json.dumps({"agent": "Planner", "step": 0, "reason": "it says KEY"})
    content = json.dumps({"choices": [{"message": {"content": inner}}]}).replace("KEY", echo)
    log = tmp_path / "log.jsonl"
    log.write_text('{"agent": "Planner", "text": "a"}\n{"agent": "Coder", "text": "b"}\n')
    with serving(in_turn(Answer(raw=content.encode()))) as server:
        words = ["--method", "all-at-once", "--endpoint", server.url, "--model", "m"]
        for _ in range(2):
            main([str(log), *words, "--cache", str(tmp_path / "cache"), "--json"])
    told = capsys.readouterr()
    kept = [path.read_text() for path in (tmp_path / "cache").rglob("*.json")]
    assert "it says ***" in told.out
    assert kept
    for text in (told.out, told.err, *kept):
        assert "secret-17" not in text


def test_signs_that_steer_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of a log reaches the terminal raw: not its name, its agents, texts, or its faults."""
    evil = "\x1b[2J\x1b]0;x\x07\x9b31m\u202e"
    events = [{"agent": f"A{evil}", "text": f"I assume {evil} 4."}, {"agent": "B", "text": evil}]
    log = tmp_path / "log.json"
    log.write_text(json.dumps({"run_id": f"r{evil}", "question": evil, "events": events}))
    main([str(log)])
    main([str(log), "--guess", "--abstain-below", "1.01"])
    log.write_text(json.dumps([{f"x{evil}": 1}]))
    with pytest.raises(SystemExit):
        main([str(log)])
    told = capsys.readouterr()
    assert "of no known format" in told.err
    for sign in ("\x1b", "\x07", "\x9b", "\u202e"):
        assert sign not in told.out + told.err
