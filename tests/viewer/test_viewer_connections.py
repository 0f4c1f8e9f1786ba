"""Clients that hold connections, and a viewer that dies: nobody else waits, nothing is left."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from lacewing.viewer import connections, tie

HALF = "GET /api/jobs HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Half: "
BODY = (
    "POST /api/circuits/none/try HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    "Content-Type: application/json\r\nContent-Length: 90\r\n\r\n{{"
)


@contextmanager
def held(port: int, count: int, prepare: Callable[[socket.socket], None]) -> Iterator[list[Any]]:
    """Connections of one client, each left in some state."""
    with ExitStack() as stack:
        lines = []
        for _ in range(count):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
            with suppress(ConnectionError):  # already gone to make room
                prepare(line)
            lines.append(line)
        yield lines


def first_then_half(line: socket.socket, port: int) -> None:
    """A whole request, and half of a second one on the same line."""
    line.sendall((HALF.format(port=port) + "1\r\n\r\n").encode())
    answer = b""
    while b"}" not in answer and (part := line.recv(65536)):
        answer += part
    line.sendall(HALF.format(port=port).encode())


def has_ended(line: socket.socket) -> bool:
    """Whether the server has closed it; TimeoutError where it has not."""
    try:
        while line.recv(4096):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("kind", ["nothing", "half", "second", "body"])
def test_a_holder_of_connections_keeps_nobody_waiting(
    made: Path, here: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """However many it opens and whatever it leaves unsent: others are answered within a second."""
    monkeypatch.setattr(connections, "MOST", 20)
    with here(made) as server, server.client() as client:
        start = {
            "nothing": lambda line: None,
            "half": lambda line: line.sendall(HALF.format(port=server.port).encode()),
            "second": lambda line: first_then_half(line, server.port),
            "body": lambda line: line.sendall(BODY.format(port=server.port).encode()),
        }[kind]
        client.get("/api/jobs")
        with held(server.port, 80, start) as lines:
            for _ in range(3):
                began = time.monotonic()
                with server.client() as other:
                    assert 200 == other.get("/api/jobs").status_code
                assert time.monotonic() - began < 1.0
            ended = 0
            for line in lines:
                line.settimeout(0.05)
                with suppress(TimeoutError):
                    ended += has_ended(line)
            assert ended >= 50


def test_room_is_made_without_a_look_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand connections that come at once cost each a look at few, whoever has how many."""
    looks = []

    class Seen(connections.Timed):
        def __init__(self, address: str) -> None:
            self.address = address

        @property
        def client(self) -> tuple[str, int]:
            looks.append(self)
            return self.address, 1

        @client.setter
        def client(self, value: object) -> None:
            raise AssertionError

        def _hang_up(self) -> None:
            room.leave(self)
            ended.append(self)

    monkeypatch.setattr(connections, "MOST", 20)
    room, ended = connections._Room(), list[Any]()
    others = [Seen(f"10.0.0.{number}") for number in range(5)]
    many = [Seen("10.0.1.1") for _ in range(1000)]
    for one in (*others, *many):
        room.enter(one)
        room.make(one)
    assert ended == many[:985]  # those first that wait longest, of the client that has most
    assert len(looks) < 10 * len(many)
    for one in (*others, *many[985:], *many[:3]):
        room.leave(one)
    assert (room._count, room._clients) == (0, {})


def test_bytes_that_trickle_move_no_limit(
    made: Path, here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head of a second request has its time from its first byte on, not from its last."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.6)
    with here(made) as server, held(server.port, 1, lambda line: None) as (line,):
        first_then_half(line, server.port)
        began = time.monotonic()
        line.settimeout(0.05)
        over = False
        while not over and time.monotonic() - began < 20:
            with suppress(ConnectionError):
                line.sendall(b"x")
            with suppress(TimeoutError):
                over = has_ended(line)
        assert 0.3 < time.monotonic() - began < 5


def test_who_does_not_read_is_left(made: Path, here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are sent, answers are never taken: the connection ends.

    Whether it has is asked of the server first: a client whose window is shut learns of it only by
    its next probe, which may be many seconds later.
    """
    monkeypatch.setattr(connections, "READING_SECONDS", 0.5)
    left = threading.Event()
    lost = connections.Timed.connection_lost

    def tell(connection: Any, error: Any) -> None:
        lost(connection, error)
        left.set()

    monkeypatch.setattr(connections.Timed, "connection_lost", tell)
    with here(made, buffer=4096) as server, held(server.port, 1, lambda line: None) as (line,):
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        asked = (
            HALF.format(port=server.port).replace("/api/jobs", "/api/circuits/circuits-planted")
            + "1\r\n\r\n"
        ).encode() * 20
        line.settimeout(0.5)
        with suppress(TimeoutError, ConnectionError):
            while not left.is_set():
                line.sendall(asked)
        assert left.wait(20)
        assert has_ended(line)


CHILD = """
import sys, time
from lacewing.viewer.tie import end_with_parent
end_with_parent()
print("ready", flush=True)
time.sleep(120)
"""
PARENT = """
import subprocess, sys, time
from lacewing.viewer import tie
command = [sys.executable, "-c", sys.argv[1]]
child = subprocess.Popen(command, stdout=subprocess.PIPE, **tie.options())
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(120)
"""


def test_a_job_ends_with_a_killed_viewer(environment: dict[str, str]) -> None:
    """Kill -9 leaves the parent no time to end anybody."""
    command = [sys.executable, "-c", PARENT, CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)  # it lives
        parent.send_signal(signal.SIGKILL)
        parent.wait(30)
        for _ in range(200):
            try:
                os.kill(child, 0)
            except ProcessLookupError:
                return
            status = Path(f"/proc/{child}/stat")
            if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
                return  # dead; nobody has asked for its status yet
            time.sleep(0.05)
    pytest.fail("the child outlived its parent")


def test_jobs_are_tied(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line asks for it, once: what it starts itself is not tied to the viewer."""
    from lacewing.cli import machine

    started = []
    monkeypatch.setattr(tie, "_watch", lambda: started.append(1))
    monkeypatch.setenv(tie.TIED, "1")
    machine.settle()
    machine.settle()
    time.sleep(0.1)
    assert [1] == started
    assert "1" == tie.options()["env"][tie.TIED]
