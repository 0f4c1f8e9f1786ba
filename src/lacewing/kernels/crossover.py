"""From which density on a dense product is faster than one through the nonzeros, on this machine.

Measured once and kept in the user's cache folder: a choice that changed from one process to the
next would change how sums are rounded, and so which weights a run ends with. Of processes that
measure at the same time the first to finish is believed by all.
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

from lacewing.artifacts import cache_folder
from lacewing.kernels.precision import half_pays
from lacewing.kernels.sparse_linear import SparseWeight, multiply

TOKENS, WIDTH, ROWS, TIMES = 2048, 512, 1024, 7
"""Shape of the trial, large enough that the cost of a call does not count; the median counts."""
LOW, HIGH = 1 / 64, 1 / 8
"""Densities tried; through the nonzeros, time grows in a straight line."""
MOST = 0.25
"""No crossover beyond this is believed: there lies only extrapolation."""


UNKNOWN = 0.1
"""Taken where nothing can be kept, so that at least all processes agree."""


@functools.cache
def crossover() -> float:
    """The density up to which products through the nonzeros are faster, from 0 to MOST."""
    path = cache_folder() / f"crossover-{_machine()}.json"
    known = _read(path)
    if known is None and _writable(path.parent):
        _keep(path, _measure())
        known = _read(path)
    return UNKNOWN if known is None else known


def _machine() -> str:
    """What the answer depends on, as one word; not the number of threads, which hardly matters."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = {line for line in lines if line.startswith(("model", "cpu family", "flags"))}
    except OSError:
        processor = {platform.processor(), platform.machine()}
    facts = [*sorted(processor), torch.__version__, f"half: {half_pays('cpu')}"]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _read(path: Path) -> float | None:
    try:
        density = float(json.loads(path.read_text())["density"])
    except OSError:  # not there
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        density = -1.0
    if 0 <= density <= MOST:
        return density
    path.unlink(missing_ok=True)  # damaged: measured anew
    return None


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _keep(path: Path, density: float) -> None:
    """Write the answer, unless another process has."""
    draft = path.with_suffix(f".{os.getpid()}")
    try:
        draft.write_text(json.dumps({"density": density}))
        os.link(draft, path)
    except OSError:
        return  # there by now, or not to be had
    finally:
        draft.unlink(missing_ok=True)


def _measure() -> float:
    generator = torch.Generator().manual_seed(0)
    used = torch.bfloat16 if half_pays("cpu") else torch.float32
    x = torch.randn(TOKENS, WIDTH, generator=generator).to(used)
    weight = torch.randn(ROWS, WIDTH, generator=generator)
    chance = torch.rand(ROWS, WIDTH, generator=generator)
    sparse = [SparseWeight(weight * (chance < density)).by_row for density in (LOW, HIGH)]
    dense = weight.to(used)
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
