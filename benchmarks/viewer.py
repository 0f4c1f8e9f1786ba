"""`python -m benchmarks.viewer CIRCUIT [...]`: how quick the viewer's server is, and how steady.

Starts `lacewing view` over a folder with copies of the circuits, then

    edits   one client cuts and steers, one edit at a time: median and 90 % of what a client waits
    load    clients in threads of this process read at a fixed rate for some seconds: errors,
            median and 99 % of waiting, and the server's resident memory along the way

Both ends share this machine's cores. Circuits that ship are taken by name.
"""

import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import tyro

from lacewing.circuit.circuit import Circuit


@dataclass(frozen=True)
class Bench:
    """What to measure."""

    circuits: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of circuits, or names of shipped ones; the first is cut and steered."""
    edits: int = 60
    """Cuts and steers."""
    clients: int = 50
    """Readers at once."""
    rate: float = 200.0
    """Requests a second of all readers together."""
    seconds: float = 60.0
    """How long they read."""
    json: bool = False
    """End with one JSON object."""


@contextmanager
def server(circuits: tuple[Path, ...]) -> Iterator[tuple[str, int]]:
    """A server over copies of some circuits: its URL and process id."""
    with tempfile.TemporaryDirectory() as place:
        for circuit in circuits:
            Circuit.load(circuit).save(Path(place) / circuit.name)
        command = [sys.executable, "-m", "lacewing", "view", "--run", place, "--port", "0"]
        process = subprocess.Popen([*command, "--no-browser"], stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            found = re.search(r"(http://[^/]+)/", line)
            if not found:
                raise SystemExit(line + process.stderr.read())
            yield found[1], process.pid
        finally:
            process.terminate()
            process.wait(30)


def resident(pid: int) -> float:
    """Resident memory of a process, MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def edits(url: str, circuit: str, count: int) -> dict[str, float]:
    """How long a client waits for each of some random cuts and steers, ms."""
    dice = random.Random(0)
    waits: list[float] = []
    here = f"/api/circuits/{circuit}"
    with httpx.Client(base_url=url, timeout=120) as client:
        facts = client.get(here).json()
        nodes = [node["id"] for node in facts["nodes"]]
        warm = [{"edits": [{"off": nodes[0]}]}] * 3
        asked = [
            {"edits": [{"off": n}] if dice.random() < 0.5 else [{"node": n, "value": 1.0}]}
            for n in dice.choices(nodes, k=count)
        ]
        for body in [*warm, *asked]:
            start = time.perf_counter()
            client.post(f"{here}/ask", json=body | {"pair": 0}).raise_for_status()
            waits.append(1000 * (time.perf_counter() - start))
    waits = waits[len(warm) :]
    tenths = statistics.quantiles(waits, n=10)
    return {
        "nodes": len(nodes),
        "edits": count,
        "median_ms": statistics.median(waits),
        "p90_ms": tenths[8],
    }


def urls(base: str, names: list[str]) -> list[str]:
    """What tabs read."""
    found = ["/api/home", "/api/jobs", "/", "/api/frontier"]
    with httpx.Client(base_url=base, timeout=120) as client:
        for name in names:
            here = f"/api/circuits/{name}"
            facts = client.get(here).json()
            nodes = [node["id"] for node in facts["nodes"]][:20]
            heads = [head["head"] for head in facts["heads_kept"]][:2]
            found += [here, f"{here}/notes", f"{here}/prompts", f"{here}/effects"]
            found += [f"{here}/nodes/{node}" for node in nodes]
            found += [f"{here}/activations/{node}?text=task" for node in nodes[:8]]
            found += [f"{here}/attention?head={h}&pair={p}" for h in heads for p in range(3)]
        for url in found:  # made once, as the first visitor makes them
            while b'"computing"' in client.get(url).raise_for_status().content[:300]:
                time.sleep(0.2)
    return found


def load(base: str, pid: int, names: list[str], bench: Bench) -> dict[str, object]:
    """Read at a fixed rate from many clients."""
    wanted = urls(base, names)
    waits: list[float] = []
    ends: list[float] = []
    errors: list[str] = []
    memory = [resident(pid)]
    start = time.perf_counter() + 1
    pause = bench.clients / bench.rate

    def read(person: int) -> None:
        dice = random.Random(person)
        due = start + person * pause / bench.clients
        with httpx.Client(base_url=base, timeout=30) as client:
            while due < start + bench.seconds:
                time.sleep(max(0.0, due - time.perf_counter()))
                due += pause
                began = time.perf_counter()
                try:
                    client.get(dice.choice(wanted)).raise_for_status()
                except httpx.HTTPError as error:
                    errors.append(repr(error))
                ends.append(time.perf_counter())
                waits.append(1000 * (ends[-1] - began))

    readers = [threading.Thread(target=read, args=(i,)) for i in range(bench.clients)]
    for reader in readers:
        reader.start()
    while any(reader.is_alive() for reader in readers):
        time.sleep(max(1.0, bench.seconds / 20))
        memory.append(resident(pid))
    done = max(ends) - start
    return {
        "requests": len(waits),
        "per_second": len(waits) / done,
        "errors": len(errors),
        "first_errors": errors[:3],
        "median_ms": statistics.median(waits),
        "p99_ms": statistics.quantiles(waits, n=100)[98],
        "memory_mib": [round(m, 1) for m in memory],
    }


def main() -> None:
    """Measure and print."""
    bench = tyro.cli(Bench)
    with server(bench.circuits) as (url, pid):
        names = [circuit.name for circuit in bench.circuits]
        found: dict[str, object] = {"edits": edits(url, names[0], bench.edits)}
        found["load"] = load(url, pid, names, bench)
    for part, numbers in found.items():
        print(part)
        for name, value in numbers.items():  # type: ignore[attr-defined]
            print(
                f"  {name:14} {value:.1f}" if isinstance(value, float) else f"  {name:14} {value}"
            )
    if bench.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
