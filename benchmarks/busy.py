"""Work beside another program: how much slower it gets, with threads that sleep or that spin.

    python -m benchmarks.busy [--model builtin:taught-tiny] [--task indent_for] [--rounds 2]
    python -m benchmarks.busy --work train

`prune` finds a circuit. `train` takes steps of the demo's training, which is most of its time.
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
from typing import Literal

import tyro

from lacewing.demo import CORPUS, SPARSE

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

    work: Literal["prune", "train"] = "prune"
    """What is done."""
    model: str = "builtin:taught-tiny"
    """A model to prune."""
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
    steps: int = 120
    """Of training; the first third is not counted."""


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
    """Wall time of one piece of work, as it tells it itself: without starting or reading text."""
    drop = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "made"
        words = _prune(given) if given.work == "prune" else _train(given)
        done = subprocess.run(
            [sys.executable, "-m", "lacewing", *words, "--json", "--output", str(output)],
            env=kept | WAITING[waiting],
            check=True,
            capture_output=True,
            text=True,
        )
        if given.work == "prune":
            facts = json.loads(done.stdout.splitlines()[-1])
            took, said = float(facts["seconds"]), f"{facts['nodes']} nodes"
        else:
            lines = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            first, *_, last = map(json.loads, lines)
            took, said = last["seconds"] - first["seconds"], f"loss {last['loss']:.4f}"
    load = os.getloadavg()[0]
    print(f"{waiting}: {took:.1f} s, {said}; load {load:.1f}", file=sys.stderr, flush=True)
    return took


def _prune(given: Busy) -> list[str]:
    task = ["--model", given.model, "--task", given.task]
    return ["prune", *task, "--prompts", str(given.prompts)]


def _train(given: Busy) -> list[str]:
    tokens = given.steps * SPARSE.batch * SPARSE.context
    words = ["train", "--corpus", CORPUS, "--tokens", str(tokens)]
    words += ["--learning-rate", str(SPARSE.learning_rate)]
    return [*words, "--evaluate-every", str(given.steps // 3)]


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
