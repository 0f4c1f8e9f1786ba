"""`python -m benchmarks.loading`: what comparing sums and looking at every tensor costs a load.

    python -m benchmarks.loading [--model builtin:taught-sparse] [--before FOLDER]

A model is loaded again and again in processes that take turns (A B B A): one as it is; one in which
no sum is compared and no tensor is looked at; with --before, one of another checkout of the source,
such as a commit before the sums. Printed are the medians of the ratios of neighbours, with their
95 % intervals (bootstrap over the pairs). Processor time, because others may use the machine.
"""

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import tyro

UNCHECKED = """
from lacewing import artifacts
from lacewing.artifacts import files, manifest
def content(whole, name, most=None):
    return files.read_bytes(whole.folder / name, most)
manifest.Whole.bytes = content
manifest.Whole.path = lambda whole, name: whole.folder / name
artifacts.check_tensors = artifacts.check_values = lambda *_: None
"""
TURNS = """
import sys, time
import torch
torch.set_num_threads(1)
{patch}
from lacewing.model.store import load
for _ in range(2):
    load({model!r})
print("ready", flush=True)
for _ in sys.stdin:
    begun = time.process_time()
    load({model!r})
    print(time.process_time() - begun, flush=True)
"""


@dataclass(frozen=True)
class Loading:
    """What to measure."""

    model: str = "builtin:taught-sparse"
    """The model that is loaded."""
    before: Path | None = None
    """Another checkout, whose src and blame/src are imported instead."""
    pairs: int = 40
    """Of loads."""
    seed: int = 0
    """Of the bootstrap."""


class Side:
    """A process that loads the model when it is asked to."""

    def __init__(self, model: str, patch: str = "", home: Path | None = None) -> None:
        environment = dict(os.environ)
        if home is not None:
            paths = [str(home.resolve() / part) for part in ("src", "blame/src")]
            environment["PYTHONPATH"] = os.pathsep.join(paths)
        self.process = subprocess.Popen(
            [sys.executable, "-c", TURNS.format(patch=patch, model=model)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._says() == "ready"

    def seconds(self) -> float:
        """Of one load."""
        print(file=self.process.stdin, flush=True)
        return float(self._says())

    def _says(self) -> str:
        out: IO[str] | None = self.process.stdout
        assert out is not None
        if not (line := out.readline()):
            raise RuntimeError("a process ended; what it said stands above")
        return line.strip()

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def paired(one: Side, other: Side, pairs: int, seed: int) -> dict[str, object]:
    """Both in turns: their medians, and the ratio of neighbours with its interval."""
    times: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        for side in (0, 1) if pair % 2 == 0 else (1, 0):
            times[side].append((one, other)[side].seconds())
    ratios = np.divide(*map(np.array, times))
    drawn = np.random.default_rng(seed).choice(ratios, (10_000, pairs))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    return {
        "milliseconds": [round(1e3 * statistics.median(side), 2) for side in times],
        "ratio": round(float(np.median(ratios)), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
        "pairs": pairs,
        "seed": seed,
    }


def main() -> None:
    """Measure, and print one JSON object."""
    asked = tyro.cli(Loading, description=__doc__)
    now, others = Side(asked.model), {"unchecked": Side(asked.model, UNCHECKED)}
    if asked.before is not None:
        others["before"] = Side(asked.model, home=asked.before)
    others["itself"] = Side(asked.model)  # what the machine's own noise comes to
    found = {name: paired(now, side, asked.pairs, asked.seed) for name, side in others.items()}
    for side in (now, *others.values()):
        side.end()
    print(json.dumps({"model": asked.model} | found, indent=1))


if __name__ == "__main__":
    main()
