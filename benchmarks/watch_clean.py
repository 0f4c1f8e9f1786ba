"""Clean text: what `benchmarks.watch` reads of packages that nobody has seen, and its false alarms.

Every signal of every look is kept in --state, package by package, so that a run goes on where it
was stopped and detectors can be asked again. The packages are one stream: what a detector has
gathered in one it takes into the next.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.watch_baselines import BASELINES, Baselines, looks
from benchmarks.watch_table import poisson
from benchmarks.watch_text import OF_ONE, Package
from lacewing import artifacts
from lacewing.model.sites import site_widths
from lacewing.watch.detectors import RUN_LENGTH, Detectors
from lacewing.watch.monitor import Monitor

OURS, TOKENS = "ours", "tokens"
SIGNS = 8
"""Signs for each token that is wanted: more than there are."""
Rows = Mapping[str, np.ndarray]
"""By signal (`ours`, or a baseline's), [look unit]; under `tokens`, [look]."""


def read(package: Package, monitor: Monitor, baselines: Baselines, most: int) -> Rows:
    """Every signal of every look of one package, up to so many tokens."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in (OURS, TOKENS, *BASELINES)}
    encode = monitor.model.tokenizer.encode
    pieces = package.pieces(SIGNS * most + OF_ONE)
    sites, begun = list(site_widths(monitor.model.network.config)), monitor.tokens
    for look in looks(monitor.model, (encode(piece.text) for piece in pieces)):
        monitor.look(look, baselines.also, sites)
        found[OURS].append(monitor.seen)
        found[TOKENS].append(np.array(look.count))
        for name, x in baselines.scores(baselines.raw(monitor)).items():
            found[name].append(x)
        if monitor.tokens - begun >= most:
            break
    return {name: np.stack(rows) for name, rows in found.items() if rows}


def kept(folder: Path, package: Package, monitor: Monitor, baselines: Baselines, most: int) -> Rows:
    """The same, kept in a folder; empty where a package has less than a look."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{package.name}.safetensors"
    if not file.exists():
        rows = read(package, monitor, baselines, most)
        artifacts.write_tensors(file, {n: torch.from_numpy(row).float() for n, row in rows.items()})
        count = int(rows[TOKENS].sum()) if rows else 0
        print(f"<!-- {package.name}: {count:,} tokens -->", flush=True)
    return {name: row.double().numpy() for name, row in artifacts.read_tensors(file).items()}


def alarms(rows: Sequence[Rows], name: str, detectors: Detectors) -> list[list[int]]:
    """Of every package, the tokens of it that were read at each alarm."""
    found = []
    for row in rows:
        at = np.cumsum(row[TOKENS]) if row else np.zeros(0)
        found.append(
            [int(n) for n, x in zip(at, row.get(name, ()), strict=True) if _over(detectors, x)]
        )
    return found


def _over(detectors: Detectors, x: np.ndarray) -> bool:
    """Take a look; after an alarm the detectors begin anew."""
    over = detectors.look(x) >= 1
    if over:
        detectors.restart()
    return over


def told(names: Sequence[str], rows: Sequence[Rows], detectors: Mapping[str, Detectors]) -> None:
    """Print what came of clean text."""
    tokens = int(sum(row[TOKENS].sum() for row in rows if row))
    allowed = tokens / RUN_LENGTH
    print(f"\n{tokens:,} tokens of {len(rows)} packages; the promise allows {allowed:.1f} alarms\n")
    for name, detector in detectors.items():
        found = alarms(rows, name, detector)
        count = sum(map(len, found))
        low, high = poisson(count)
        most = sorted(zip(names, found, strict=True), key=lambda one: -len(one[1]))
        which = ", ".join(f"{n} {len(f)}" for n, f in most[:8] if f)
        print(f"  {name}: {count} alarms [{low:.1f}, {high:.1f}]; {which}")
