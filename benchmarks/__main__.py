"""`python -m benchmarks [STAGE ...]`: each hot operation against the published way.

The shape is that of the reference work: width 512, 4 layers, heads of 16, context 256, 4,096 tokens
a step, density 1/64, AbsTopK 1/4 at all eight sites, sinks; bf16 products on both sides. First both
sides must agree. Then they run in turns (A B B A) on the same tensors in one process; what is
printed is the median of the per-pair ratios with their 10-90 % range. The limit is the time that a
stage's arithmetic, or its bytes, would take at the peaks that two probes of the same run find.

`step` is compared with the published script as it runs by default, with gradient checkpointing;
`step_light` with the same without it.
"""

import datetime
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks.stages import Stage, all_stages
from benchmarks.steps import Run
from lacewing.kernels.memory import keep_pages
from lacewing.kernels.precision import half_pays

COPIED = 2**25
"""Floats copied to find the bandwidth: 128 MB, more than any cache."""


@dataclass(frozen=True)
class Bench:
    """What to measure."""

    stages: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names of stages; all by default."""
    pairs: int | None = None
    """Interleaved pairs per stage; default 8, with --quick 5."""
    quick: bool = False
    """Smaller shapes, in less than a minute."""
    processor: bool = False
    """Count processor time instead of wall time, where others use the machine."""
    json: bool = False
    """End with one line of JSON."""
    output: Path | None = None
    """Write a Markdown table there."""


def peaks(clock: Callable[[], float] = time.perf_counter) -> tuple[float, float]:
    """Measured peaks: products in flop/s, and copying in bytes/s (read and write).

    In bf16 where that pays, as all stages are.
    """
    kind = torch.bfloat16 if half_pays("cpu") else torch.float32
    a, b = torch.randn(4096, 2048).to(kind), torch.randn(2048, 2048).to(kind)
    return 2 * 4096 * 2048 * 2048 / fastest(lambda: a @ b, clock=clock), copying(clock)


def copying(clock: Callable[[], float] = time.perf_counter) -> float:
    """Measured peak of copying, in bytes/s read and written."""
    source, target = torch.randn(COPIED), torch.empty(COPIED)
    return 2 * 4 * COPIED / fastest(lambda: target.copy_(source), clock=clock)


def fastest(run: Run, times: int = 8, clock: Callable[[], float] = time.perf_counter) -> float:
    """Least time of several, in seconds."""
    spent = []
    for _ in range(times):
        began = clock()
        run()
        spent.append(clock() - began)
    return min(spent)


def measure(
    stage: Stage,
    pairs: int,
    arithmetic: float,
    memory: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median times in ms, the ratio naive / ours with its range, and the share of the limit."""
    stage.agree()  # which also compiles and warms the memory
    times: list[tuple[float, float]] = []
    ways = (stage.naive, stage.ours)
    for i in range(pairs + 1):
        spent = [0.0, 0.0]
        for which in (0, 1) if i % 2 else (1, 0):
            began = clock()
            ways[which]()
            spent[which] = 1e3 * (clock() - began)
        if i:
            times.append((spent[0], spent[1]))
    ratios = statistics.quantiles([a / b for a, b in times], n=10, method="inclusive")
    ours = statistics.median(b for _, b in times)
    limit = 1e3 * max(stage.flop / arithmetic, stage.bytes / memory)
    return {
        "naive_ms": statistics.median(a for a, _ in times),
        "ours_ms": ours,
        "ratio": statistics.median(a / b for a, b in times),
        "low": ratios[0],
        "high": ratios[8],
        "percent_of_limit": 100 * limit / ours,
    }


def summary(rows: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The figures people ask for, by name; what was not measured is left out."""
    wanted = {
        "step": {
            "vs_published": "step",
            "vs_published_without_checkpointing": "step_light",
            "vs_dense": "step_dense",
            "vs_dense_at_256": "step_256_dense",
        },
        "prune": {"vs_published": "prune", "twelve_vs_published": "prune_12"},
        "circuit_run": {"ratio": "circuit_100"},
    }
    figures = {
        part: {key: rows[name]["ratio"] for key, name in names.items() if name in rows}
        for part, names in wanted.items()
    }
    keys = ("ratio", "percent_of_limit")
    stages = [{"name": name} | {key: row[key] for key in keys} for name, row in rows.items()]
    return {"stages": stages} | figures


def table(rows: dict[str, dict[str, float]]) -> str:
    """The same as Markdown."""
    lines = [
        "| stage | published way, ms | ours, ms | ratio [10-90 %] | of the limit |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, row in rows.items():
        share = f"{row['percent_of_limit']:.0f} %" if row["percent_of_limit"] else ""
        lines.append(
            f"| `{name}` | {row['naive_ms']:,.1f} | {row['ours_ms']:,.1f} | {row['ratio']:.1f} "
            f"[{row['low']:.1f}, {row['high']:.1f}] | {share} |"
        )
    return "\n".join(lines) + "\n"


def processor() -> str:
    """What this machine calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main(bench: Bench) -> None:
    """Measure the stages and print a table."""
    keep_pages()
    torch.manual_seed(0)
    known = all_stages(bench.quick)
    unknown = set(bench.stages) - set(known)
    if unknown:
        raise SystemExit(f"unknown stages {sorted(unknown)}; there are {', '.join(known)}")
    clock = time.process_time if bench.processor else time.perf_counter
    arithmetic, memory = peaks(clock)
    facts = (
        f"{datetime.date.today()}, {processor()}, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}; peaks {arithmetic / 1e9:.0f} GFLOP/s in "
        f"{'bf16' if half_pays('cpu') else 'float32'}, "
        f"{memory / 1e9:.0f} GB/s copying"
    )
    print(facts, flush=True)
    rows = {}
    for name in bench.stages or known:
        pairs = bench.pairs or (5 if bench.quick else 8)
        row = rows[name] = measure(known[name](), pairs, arithmetic, memory, clock)
        share = f"{row['percent_of_limit']:.0f} % of the limit" if row["percent_of_limit"] else ""
        print(
            f"{name:15} naive {row['naive_ms']:8.1f} ms   ours {row['ours_ms']:8.1f} ms   "
            f"ratio {row['ratio']:5.1f} [{row['low']:.1f}, {row['high']:.1f}]   {share}",
            flush=True,
        )
    if bench.output:
        bench.output.write_text(facts + "\n\n" + table(rows))
    if bench.json:
        print(json.dumps(summary(rows)))


if __name__ == "__main__":
    main(tyro.cli(Bench))
