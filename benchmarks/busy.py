"""Pruning beside another program: how much slower it gets, with threads that sleep or that spin.

    python -m benchmarks.busy [--model builtin:taught-tiny] [--task indent_for] [--rounds 2]

Each run is a command line of its own on two cores. Another process that only counts keeps the
second core busy, or not. The cases take turns, so that whatever else the machine does hits all
alike; the table has the median of their seconds, and each over the quiet run of the same waiting.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tyro

WAITING = {
    "sleep": {},  # what the command line settles
    "spin shortly": {"GOMP_SPINCOUNT": "1000"},
    "spin": {"OMP_WAIT_POLICY": "ACTIVE", "KMP_BLOCKTIME": "200"},
    "as torch": {"GOMP_SPINCOUNT": "300000", "OMP_WAIT_POLICY": ""},
}
"""How threads wait for each other: variables of the run's environment."""


@dataclass(frozen=True)
class Busy:
    """What is measured."""

    model: str = "builtin:taught-tiny"
    """A model."""
    task: str = "indent_for"
    """A task it has learned."""
    prompts: int = 1152
    """Prompts of the search; a quarter of the default, so that a run is short."""
    rounds: int = 2
    """Runs of each case."""
    waits: tuple[str, ...] = ("sleep", "as torch")
    """Which ways of waiting."""
    core: int = 1
    """The core that is kept busy."""


@contextmanager
def counting(core: int, wanted: bool) -> Iterator[None]:
    """Another process that never stops, on one core."""
    if not wanted:
        yield
        return
    loop = subprocess.Popen(["taskset", "-c", str(core), "sh", "-c", "while :; do :; done"])
    try:
        yield
    finally:
        loop.kill()
        loop.wait()


def seconds(given: Busy, waiting: str) -> float:
    """Wall time of one pruning, as it tells it itself: without starting Python or reading text."""
    drop = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "circuit"
        command = [sys.executable, "-m", "lacewing", "prune", "--model", given.model]
        command += ["--task", given.task, "--prompts", str(given.prompts), "--json"]
        done = subprocess.run(
            [*command, "--output", str(output)],
            env=kept | WAITING[waiting],
            check=True,
            capture_output=True,
            text=True,
        )
    facts = json.loads(done.stdout.splitlines()[-1])
    said = f"{waiting}: {facts['seconds']:.1f} s, {facts['nodes']} nodes"
    print(f"{said}; load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    return float(facts["seconds"])


def main(given: Busy) -> None:
    """Run the cases in turn, and print a table."""
    cases = [(waiting, busy) for waiting in given.waits for busy in (False, True)]
    found: dict[tuple[str, bool], list[float]] = {case: [] for case in cases}
    for _ in range(given.rounds):
        for waiting, busy in cases:
            with counting(given.core, busy):
                found[waiting, busy].append(seconds(given, waiting))
    print(f"load of the machine: {', '.join(f'{x:.1f}' for x in os.getloadavg())}")
    print("| threads | quiet, s | beside a busy core, s | ratio |\n| --- | --- | --- | --- |")
    for waiting in given.waits:
        quiet, busy = (statistics.median(found[waiting, b]) for b in (False, True))
        print(f"| {waiting} | {quiet:.1f} | {busy:.1f} | {busy / quiet:.2f} |")


if __name__ == "__main__":
    main(tyro.cli(Busy))
