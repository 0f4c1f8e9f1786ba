"""From which density on a dense product is faster than one through the nonzeros, on this machine.

Measured once and kept in the user's cache folder: a choice that changed from one process to the
next would change how sums are rounded, and so which weights a run ends with.
"""

import functools
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F

from lacewing.kernels.sparse_linear import SparseWeight, multiply

TOKENS, WIDTH, ROWS, TIMES = 2048, 512, 1024, 7
"""Shape of the trial, large enough that the cost of a call does not count; the median counts."""
LOW, HIGH = 1 / 64, 1 / 8
"""Densities tried; through the nonzeros, time grows in a straight line."""
MOST = 0.25
"""No crossover beyond this is believed: there lies only extrapolation."""


@functools.cache
def crossover() -> float:
    """The density up to which products through the nonzeros are faster, from 0 to MOST."""
    path = _folder() / "crossover.json"
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    machine = _machine()
    if machine not in known:
        known[machine] = _measure()
        _keep(path, known)
    return float(known[machine])


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lacewing"


def _machine() -> str:
    """What the answer depends on, as one word."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = {line for line in lines if line.startswith(("model", "cpu family", "flags"))}
    except OSError:
        processor = {platform.processor(), platform.machine()}
    facts = [*sorted(processor), str(torch.get_num_threads()), torch.__version__]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _keep(path: Path, known: dict[str, float]) -> None:
    """Write the cache whole or not at all; where it cannot be written, every process measures."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(known))
        draft.replace(path)
    except OSError:
        return


def _measure() -> float:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(TOKENS, WIDTH, generator=generator).bfloat16()
    weight = torch.randn(ROWS, WIDTH, generator=generator)
    chance = torch.rand(ROWS, WIDTH, generator=generator)
    sparse = [SparseWeight(weight * (chance < density)).by_row for density in (LOW, HIGH)]
    dense = weight.bfloat16()
    ways: tuple[Callable[[], object], ...] = (
        lambda: F.linear(x, dense),
        lambda: multiply(x, sparse[0]),
        lambda: multiply(x, sparse[1]),
    )
    plain, low, high = _medians(ways)
    slope = (high - low) / (HIGH - LOW)
    if slope <= 0:
        return MOST if low < plain else 0.0
    return float(min(MOST, max(0.0, LOW + (plain - low) / slope)))


def _medians(ways: tuple[Callable[[], object], ...]) -> list[float]:
    """Median seconds of each, taken in turns; the first round compiles and warms up."""
    spent: list[list[float]] = [[] for _ in ways]
    for _ in range(TIMES + 1):
        for way, seconds in zip(ways, spent, strict=True):
            began = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - began)
    return [sorted(seconds[1:])[TIMES // 2] for seconds in spent]
