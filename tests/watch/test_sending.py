"""Alarms on their way out: a file that fills up, receivers that are slow, down, or leak nothing."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lacewing.errors import ArtifactError, ConfigError
from lacewing.watch.serving import sending
from lacewing.watch.serving.sending import Lines, Webhook, address

SECRET = "T0KEN-that-nobody-may-see"


class Receiver(ThreadingHTTPServer):
    """Takes alarms, with the statuses it was told to answer with first."""

    daemon_threads = True

    def __init__(self, *statuses: int) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.statuses, self.got, self.slow = list(statuses), list[Any](), threading.Event()
        self.slow.set()


class Taking(BaseHTTPRequestHandler):
    """One request to it."""

    server: Receiver

    def do_POST(self) -> None:
        """Note the alarm, and answer."""
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.slow.wait(20)
        status = self.server.statuses.pop(0) if self.server.statuses else 204
        self.server.got.append((self.path, status, json.loads(body)))
        self.send_response(status)
        if status == 302:
            self.send_header("location", f"/elsewhere/{SECRET}")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *said: Any) -> None:
        """Nothing is said."""


@contextmanager
def receiving(*statuses: int) -> Iterator[Receiver]:
    """A receiver, in threads of this process."""
    with Receiver(*statuses) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.slow.set()
        server.shutdown()


class Tally(Counter[tuple[str, str]]):
    """What came of alarms; may be waited for."""

    def __call__(self, to: str, outcome: str) -> None:
        """Count one."""
        self[to, outcome] += 1

    def wait(self, outcome: str, count: int = 1) -> None:
        """Until so many have had that outcome."""
        until = time.monotonic() + 20
        while self["webhook", outcome] < count:
            assert time.monotonic() < until, self
            time.sleep(0.01)


def hook(server: Receiver, tally: Tally, **more: Any) -> Webhook:
    """A webhook of the receiver, impatient."""
    url = f"http://127.0.0.1:{server.server_port}/{SECRET}?key={SECRET}"
    return Webhook(url, tally, pause=0.01, **more)


def test_an_alarm_is_posted_once(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON, to the address that was named."""
    tally = Tally()
    with receiving() as server:
        webhook = hook(server, tally)
        webhook.add({"number": 1})
        tally.wait("delivered")
        webhook.close()
        assert [(path.split("?")[0], body) for path, _, body in server.got] == [
            (f"/{SECRET}", {"number": 1})
        ]
    assert SECRET not in capsys.readouterr().err


def test_it_is_tried_again() -> None:
    """Through what may pass: busy, too many, and errors of the server."""
    tally = Tally()
    with receiving(503, 429, 500) as server:
        webhook = hook(server, tally)
        webhook.add({"number": 1})
        tally.wait("delivered")
        assert [status for _, status, _ in server.got] == [503, 429, 500, 204]
        webhook.close()


@pytest.mark.parametrize("status", [400, 401, 404, 302])
def test_a_refusal_is_final(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told without the address, redirects are not followed, and the next alarm goes out."""
    tally = Tally()
    with receiving(status) as server:
        webhook = hook(server, tally)
        webhook.add({"number": 1})
        webhook.add({"number": 2})
        tally.wait("delivered")
        webhook.close()
        assert [(s, body["number"]) for _, s, body in server.got] == [(status, 1), (204, 2)]
    said = capsys.readouterr().err
    assert f"it answers {status}" in said
    assert SECRET not in said
    assert tally == {("webhook", "failed"): 1, ("webhook", "delivered"): 1}


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    """After some tries it is told, without the address."""
    with receiving() as server:
        port = server.server_port
    tally = Tally()
    webhook = Webhook(f"http://127.0.0.1:{port}/{SECRET}", tally, pause=0.001)
    webhook.add({"number": 1})
    tally.wait("failed")
    webhook.close()
    said = capsys.readouterr().err
    assert f"an alarm was not delivered to http://127.0.0.1:{port}/...: " in said
    assert SECRET not in said


def test_a_slow_receiver_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding returns at once; what does not fit in the queue is dropped, and counted."""
    monkeypatch.setattr(sending, "QUEUE", 3)
    tally = Tally()
    with receiving() as server:
        server.slow.clear()
        webhook = hook(server, tally)
        began = time.monotonic()
        for number in range(40):
            webhook.add({"number": number})
        assert time.monotonic() - began < 1
        assert tally["webhook", "dropped"] >= 36
        server.slow.set()
        tally.wait("delivered", 3)
        webhook.close()


def test_an_answer_that_never_comes_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    """After its seconds, each time."""
    tally = Tally()
    with receiving() as server:
        server.slow.clear()
        webhook = hook(server, tally, seconds=0.05)
        webhook.add({"number": 1})
        tally.wait("failed")
        webhook.close()
    assert "it does not answer in time" in capsys.readouterr().err


NO_ADDRESSES = ("", "example.org", "file:///etc/passwd", "ftp://a/b", "http://", "http://[")
NO_ADDRESSES += ("http://a:x/", "http://a b/", "http://a/\r\nX: y", "http://a:99999/")


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_what_is_no_address(url: str) -> None:
    """It is refused before anything is sent, and not repeated: it may hold a secret."""
    with pytest.raises(ConfigError, match="http:// or https:// address, and this is none"):
        address(url)


def test_a_full_disk_ends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told once; when there is room again, whole lines follow."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    tally = Tally()
    lines = Lines(tmp_path / "alarms.jsonl", tally)
    lines.add({"number": 1})
    lines.path = full
    lines.add({"number": 2})
    lines.add({"number": 3})
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "disk full while writing /dev/full" in said[0]
    lines.path = tmp_path / "alarms.jsonl"
    lines.add({"number": 4})
    kept = [json.loads(line) for line in lines.path.read_text().splitlines() if line]
    assert [one["number"] for one in kept] == [1, 4]
    assert tally == {("file", "written"): 2, ("file", "failed"): 2}


def test_a_place_for_no_file(tmp_path: Path) -> None:
    """A folder, or one that is not there, is refused at the beginning."""
    with pytest.raises(ArtifactError, match="is a folder"):
        Lines(tmp_path, Tally())
    with pytest.raises(ArtifactError, match="cannot write"):
        Lines(tmp_path / "none" / "alarms.jsonl", Tally())
