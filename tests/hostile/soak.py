"""The viewer in a crowd: mixed load, clients that are killed, slow ones, and many who write."""

import os
import random
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ONE, TWO = "run-circuits-one", "run-circuits-two"
ROUTES = ("trace", "trace/cancel", "switched", "near")
"""Of a model, below /api/models/ID."""
ANSWER = 1.0
"""Seconds in which others have to be answered while slow clients hold on."""
WRITERS = 16


@dataclass(frozen=True)
class Served:
    """A viewer in a process of its own."""

    process: "subprocess.Popen[str]"
    port: int
    folder: Path

    def client(self) -> httpx.Client:
        """Somebody who asks it."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=600)

    @property
    def megabytes(self) -> float:
        """Memory it holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        return int(found[1]) / 1024 if found else 0.0

    @property
    def handles(self) -> int:
        """Files and connections it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@contextmanager
def served(root: Path) -> Iterator[Served]:
    """A viewer over a copy of the material's site."""
    with tempfile.TemporaryDirectory(prefix="hostile.soak.") as name:
        folder = Path(name) / "site"
        shutil.copytree(root / "site", folder)
        environment = {k: v for k, v in os.environ.items() if k != "NUMBA_THREADING_LAYER"}
        command = [sys.executable, "-m", "lacewing", "view", "--run", str(folder)]
        with open(Path(name) / "err", "w") as err:
            process = subprocess.Popen(
                [*command, "--port", "0", "--no-browser"],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=err,
                text=True,
            )
        try:
            yield Served(process, _port(process, Path(name) / "err"), folder)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _port(process: "subprocess.Popen[str]", said: Path) -> int:
    for _ in range(3000):
        if found := re.search(r"http://127.0.0.1:(\d+)/", said.read_text()):
            return int(found[1])
        assert process.poll() is None, said.read_text()
        time.sleep(0.2)
    raise AssertionError("the viewer did not start")


def mixed(server: Served, seconds: float, seed: int) -> dict[str, Any]:
    """Load of every kind, while a client is killed every second."""
    statuses: Counter[str] = Counter()
    slowest = [0.0]
    with server.client() as client:
        for path in ("/api/home", f"/api/circuits/{ONE}", "/api/frontier"):
            assert client.get(path).status_code == 200, path
    before, end = (server.megabytes, server.handles), time.monotonic() + seconds

    def load(number: int) -> None:
        dice = random.Random(f"{seed}:{number}")
        with server.client() as client:
            while time.monotonic() < end:
                begun = time.monotonic()
                path, answer = _ask(client, dice)
                slowest[0] = max(slowest[0], time.monotonic() - begun)
                statuses[f"{answer.status_code}"] += 1
                if answer.status_code >= 500 and answer.status_code != 503:
                    statuses[f"{answer.status_code} {path}"] += 1

    killed = 0
    with ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(load, number) for number in range(6)]
        while time.monotonic() < end:
            killed += _killed_client(server, random.Random(f"{seed}:{killed}"))
        for one in waiting:
            one.result()
    time.sleep(1)
    bad = {s: n for s, n in statuses.items() if s.startswith("5") and not s.startswith("503")}
    grown = server.megabytes - before[0]
    failures = [f"answers {bad}"] if bad else []
    failures += ["the viewer ended"] if server.process.poll() is not None else []
    failures += [f"{server.handles} handles, {before[1]} before"] * (
        server.handles > before[1] + 40
    )
    failures += [f"grew by {grown:.0f} MB"] * (grown > 500)
    return {
        "requests": sum(n for s, n in statuses.items() if " " not in s),
        "statuses": dict(statuses),
        "killed": killed,
        "slowest": round(slowest[0], 2),
        "grown_mb": round(grown),
        "failures": failures,
    }


def _ask(client: httpx.Client, dice: random.Random) -> tuple[str, httpx.Response]:
    """One request of some kind."""
    base = f"/api/circuits/{dice.choice((ONE, TWO))}"
    below = ("", "/notes", "/prompts", "/attention?head=0.0", "/nodes/0.attn_in.1")
    paths = ["/", "/api/home", "/api/frontier", f"{base}/export/graph.json"]
    path = dice.choice([*paths, *(f"{base}{rest}" for rest in below)])
    kind = dice.random()
    if kind < 0.7:
        return path, client.get(path)
    if kind < 0.8:
        note = f"{base}/annotations/n{dice.randrange(20)}"
        return note, client.put(note, json={"on": "circuit", "text": "x" * dice.randrange(500)})
    if kind < 0.95:
        return f"{base}/ask", client.post(f"{base}/ask", json={"pair": dice.randrange(8)})
    if kind < 0.98:
        route = f"/api/models/builtin-taught-tiny/{dice.choice(ROUTES)}"
        body = {"text": f"if x{dice.randrange(50)}", "answer": dice.randrange(400), "rival": 3}
        held = [{"node": f"0.attn_out.{dice.randrange(200)}", "value": 1e6 * dice.random()}]
        more = {"switched": {"held": held}, "near": {"node": held[0]["node"]}}
        return route, client.post(route, json=body | more.get(route.rpartition("/")[2], {}))
    return "/api/nothing", client.get("/api/nothing")


def _killed_client(server: Served, dice: random.Random) -> int:
    """A client that is killed within a second, in the midst of whatever it does."""
    child = os.fork()
    if child == 0:
        try:
            with server.client() as client:
                while True:
                    _ask(client, dice)
        except BaseException:
            os._exit(1)
    time.sleep(dice.uniform(0.2, 1.0))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 1


def slow(server: Served, count: int) -> dict[str, Any]:
    """Clients that send half of a request and hold on; others are answered meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 500)), hard))
    first = f"GET /api/jobs HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
    alone, _ = _longest(server)  # what the machine itself needs, however busy others keep it
    found: dict[str, Any] = {"failures": [], "without": round(alone, 2)}
    for kind, whole in (("first", b""), ("second", first)):
        with ExitStack() as lines:
            held = 0
            for _ in range(count):
                line = lines.enter_context(socket.socket())
                line.settimeout(20)
                try:
                    line.connect(("127.0.0.1", server.port))
                    if whole:
                        line.sendall(whole)
                        line.recv(65536)
                    line.sendall(first[:30])
                    held += 1
                except OSError:
                    continue
            longest, refused = _longest(server)
            found[kind] = {"held": held, "longest": round(longest, 2), "refused": refused}
            if longest > ANSWER or refused:
                found["failures"].append(f"{kind} requests half sent: {found[kind]}")
    return found


def _longest(server: Served, requests: int = 20) -> tuple[float, int]:
    """The longest time until an answer, each over a line of its own, and how many got none."""
    longest, refused = 0.0, 0
    for _ in range(requests):
        try:
            with httpx.Client(timeout=10) as client:
                begun = time.monotonic()  # a client's own beginnings are not the server's
                status = client.get(f"http://127.0.0.1:{server.port}/api/jobs").status_code
            refused += status != 200
        except httpx.HTTPError:
            refused += 1
        longest = max(longest, time.monotonic() - begun)
    return longest, refused


def savers(server: Served, rounds: int) -> dict[str, Any]:
    """Six who save a circuit under one name at once: one is told 201, five 409."""
    failures = []
    for number in range(rounds):
        start = threading.Barrier(6)

        def save(_: int, name: str = f"same{number}", start: threading.Barrier = start) -> int:
            with server.client() as client:
                start.wait()
                body = {"name": name, "edits": [{"off": "0.attn_in.1"}]}
                return client.post(f"/api/circuits/{ONE}/save", json=body).status_code

        told = sorted(_together(save, 6))
        if told != [201] + [409] * 5:
            failures.append(f"round {number}: {told}")
    rest = [p.name for p in server.folder.rglob(".same*")]
    if rest:
        failures.append(f"left behind: {rest[:3]}")
    return {"rounds": rounds, "failures": failures}


def writers(server: Served, saves: int) -> dict[str, Any]:
    """Many who save notes at once; each note's last text is there, and no circuit ever vanishes."""
    each, ids = saves // WRITERS, 40

    def write(number: int) -> tuple[dict[str, str], Counter[int]]:
        last, statuses = dict[str, str](), Counter[int]()
        with server.client() as client:
            for turn in range(each):
                name, text = f"w{number}-{turn % ids}", f"{number} {turn}"
                path = f"/api/circuits/{ONE}/annotations/{name}"
                try:
                    status = client.put(path, json={"on": "circuit", "text": text}).status_code
                except httpx.HTTPError:  # nobody was told whether it was saved
                    status = 0
                    last.pop(name, None)
                statuses[status] += 1
                if status == 200:
                    last[name] = text
        return last, statuses

    begun = time.monotonic()
    written = _together(write, WRITERS)
    seconds = time.monotonic() - begun
    with server.client() as client:
        notes = client.get(f"/api/circuits/{ONE}/notes").json()["annotations"]
    there = {note["id"]: note["text"] for note in notes}
    expected = {name: text for last, _ in written for name, text in last.items()}
    lost = {name for name, text in expected.items() if there.get(name) != text}
    statuses = sum((counts for _, counts in written), Counter[int]())
    failures = [f"{len(lost)} notes lost, such as {min(lost)}"] if lost else []
    failures += [f"statuses {dict(statuses)}"] if set(statuses) != {200} else []
    return {"saves": each * WRITERS, "seconds": round(seconds, 1), "failures": failures}


def reset(server: Served, count: int = 50) -> None:
    """Clients that vanish with a reset in the midst of a request."""
    for _ in range(count):
        line = socket.create_connection(("127.0.0.1", server.port), 20)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.sendall(b"GET /api/home HTTP/1.1\r\nHost: 127.0.0.1")
        line.close()


def _together(work: Callable[[int], Any], count: int) -> list[Any]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


PARTS = ("mixed", "slow", "savers", "writers")


def soak(
    root: Path, parts: list[str], seconds: float, clients: int, saves: int, seed: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """All of it, or some parts, one after the other, on one server.

    Args:
        root: The material.
        parts: Of PARTS.
        seconds: Of mixed load.
        clients: Slow ones.
        saves: Of notes.
        seed: Draws the requests.
    """
    if not parts:
        return
    with served(root) as server:
        if "mixed" in parts:
            yield "mixed", mixed(server, seconds, seed)
            reset(server)
        if "slow" in parts:
            yield "slow", slow(server, clients)
        if "savers" in parts:
            yield "savers", savers(server, 5)
        if "writers" in parts:
            yield "writers", writers(server, saves)
