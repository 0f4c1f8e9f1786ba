"""What the client keeps to itself and what it does not take: keys, redirects, endless answers."""

import gzip
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lacewing_blame.errors import ConfigError
from lacewing_blame.llm import transport
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
