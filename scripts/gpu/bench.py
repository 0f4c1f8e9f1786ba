"""Each hot operation on one GPU against the published way; ends with a table.

    python scripts/gpu/bench.py --output OUT [--minutes 9] [--stages NAME ...] [--pairs 10]

A stage's figures go to OUT/NAME.json as soon as they are measured; a stage already there is left
out, so a call that ran out of time (exit status 75) is simply repeated. OUT/results.json and
OUT/table.md are made anew from what is there at the end of every call.

Pairs run interleaved (A B B A) on the same tensors, after both ways were shown to agree on them;
times are CUDA events. Given are the medians, the median of the per-pair ratios with its 10-90 %
range, and the share of the limit: what the stage's bytes or arithmetic would take at the rates of
two probes of the same run (a copy of 1 GiB, a square product in bf16).

`--device cpu --quick` walks through everything on small shapes without a GPU; the kernels then
need TRITON_INTERPRET=1, and the times mean nothing.
"""

import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, log
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
import tyro
from benchmarks.gpu import QUICK, Size, Stage, stages

from lacewing.artifacts import write_json

Run = Callable[[], object]
OUT_OF_TIME = 75


ASKED = {
    "training step, width 1024, against the authors' way without checkpointing": "step_1024",
    "the same against a plain dense step": "step_1024_dense",
    "mask training, one task, against the published way": "prune_step",
}
"""What is asked of every processor, and the stage that answers it here."""


@dataclass(frozen=True)
class Bench:
    """What to measure, and where the results go."""

    output: Path
    """Folder of the results."""
    minutes: float = 9.0
    """No stage is begun after this time."""
    stages: tuple[str, ...] = ()
    """Names of stages; all by default."""
    pairs: int = 10
    """Interleaved pairs per stage."""
    device: str = "cuda"
    """Where to run."""
    quick: bool = False
    """Small shapes and few pairs, to see that everything runs."""


def milliseconds(run: Run, device: str) -> float:
    """Time of one run: between two events of a GPU, or on the clock of a CPU."""
    if device == "cpu":
        began = time.perf_counter()
        run()
        return 1e3 * (time.perf_counter() - began)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    run()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))


def probes(size: Size, quick: bool) -> dict[str, float]:
    """Measured peaks: products in bf16 in flop/s, and copying in bytes/s, read and write."""
    n, length = size.probe, 2**18 if quick else 2**28
    a, b = (torch.randn(n, n, device=size.device).bfloat16() for _ in range(2))
    source = torch.randn(length, device=size.device)
    target = torch.empty_like(source)
    times = {
        "bf16_flops": min(milliseconds(lambda: a @ b, size.device) for _ in range(12)),
        "copy_bytes": min(
            milliseconds(lambda: target.copy_(source), size.device) for _ in range(12)
        ),
    }
    work = {"bf16_flops": 2.0 * n**3, "copy_bytes": 8.0 * length}
    return {name: 1e3 * work[name] / times[name] for name in work}


def measure(
    stage: Stage, pairs: int, warm: int, device: str, peaks: dict[str, float]
) -> dict[str, Any]:
    """Agreement, then the figures of one stage."""
    stage.check()
    ways, times = (stage.naive, stage.ours), []
    for i in range(warm + pairs):  # the first ones warm up code and memory
        spent = [0.0, 0.0]
        for which in (0, 1) if i % 2 else (1, 0):
            spent[which] = milliseconds(ways[which], device)
        times.append(spent)
    times = times[warm:]
    ratios = [a / b for a, b in times]
    spread = statistics.quantiles(ratios, n=10) if len(ratios) > 1 else ratios * 9
    theirs, ours = (statistics.median(column) for column in zip(*times, strict=True))
    limit = max(stage.flop / peaks["bf16_flops"], stage.bytes / peaks["copy_bytes"])
    row = {
        "pairs": pairs,
        "naive_ms": theirs,
        "ours_ms": ours,
        "ratio": statistics.median(ratios),
        "ratio_low": spread[0],
        "ratio_high": spread[8],
        "percent_of_limit": 1e5 * limit / ours if limit else None,
    }
    for name, spent in (("naive", theirs), ("ours", ours)):
        if stage.tokens:
            row[f"{name}_tokens_per_second"] = 1e3 * stage.tokens / spent
        if stage.model_flop:
            rate = 1e3 * stage.model_flop / spent
            row[f"{name}_percent_of_bf16"] = 100 * rate / peaks["bf16_flops"]
    return row


def attempt(make: Callable[[], Stage], bench: Bench, peaks: dict[str, float]) -> dict[str, Any]:
    """Measure a stage; one that does not fit the memory, or disagrees, is shown as failed."""
    if bench.device != "cpu":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        pairs, warm = (1, 0) if bench.quick else (bench.pairs, 2)
        row = measure(make(), pairs, warm, bench.device, peaks)
    except torch.OutOfMemoryError as error:
        return {"failed": f"out of memory: {str(error).splitlines()[0]}"}
    except AssertionError as error:
        return {"failed": f"disagrees: {error}"}
    finally:
        gc.collect()
    if bench.device != "cpu":
        row["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return row


def machine(device: str) -> dict[str, Any]:
    """What the figures were measured on."""
    import triton

    cuda = device != "cpu"
    return {
        "date": time.strftime("%Y-%m-%d"),
        "device": torch.cuda.get_device_name() if cuda else platform.machine(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "interpreted": "TRITON_INTERPRET" in os.environ,
    }


def crossover(rows: dict[str, dict[str, Any]]) -> float | None:
    """Density at which the sparse map is as fast as the dense one, between measured densities."""
    known = [
        (1 / int(name.rsplit("_", 1)[1]), row["ratio"])
        for name, row in rows.items()
        if name.startswith("sparse_linear_") and "ratio" in row
    ]
    known.sort()
    for (low, faster), (high, slower) in pairwise(known):
        if faster >= 1 > slower:
            way = log(faster) / log(faster / slower)
            return exp(log(low) + way * log(high / low))
    return None


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    m, peaks = results["machine"], results["peaks"]
    kind = ", kernels interpreted: the times mean nothing" if m["interpreted"] else ""
    lines = [
        f"{m['date']}, {m['device']}, torch {m['torch']}, Triton {m['triton']}{kind}. Peaks: "
        f"{peaks['bf16_flops'] / 1e12:.3g} TFLOP/s in bf16, {peaks['copy_bytes'] / 1e9:.4g} GB/s.",
        "",
        "| stage | naive ms | ours ms | ratio (10-90 %) | of the limit | tokens/s | of bf16 peak |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in results["stages"].items():
        if "failed" in row:
            lines.append(f"| {name} | {row['failed']} | | | | | |")
            continue
        limit, rate = row["percent_of_limit"], row.get("ours_tokens_per_second")
        share = row.get("ours_percent_of_bf16")
        lines.append(
            f"| {name} | {row['naive_ms']:.3g} | {row['ours_ms']:.3g} "
            f"| {row['ratio']:.2f} ({row['ratio_low']:.2f}-{row['ratio_high']:.2f}) "
            f"| {'' if limit is None else f'{limit:.0f} %'} | {f'{rate:,.0f}' if rate else ''} "
            f"| {f'{share:.1f} %' if share else ''} |"
        )
    if results["crossover_density"]:
        lines += [
            "",
            f"Sparse maps are faster below density 1/{1 / results['crossover_density']:.0f}.",
        ]
    return "\n".join([*lines, "", *asked(results["stages"])]) + "\n"


def asked(rows: dict[str, dict[str, Any]]) -> list[str]:
    """The table of docs/benchmarks.md, as far as it is about this device."""
    lines = ["| work | times as fast (10-90 %) |", "| --- | --- |"]
    for work, name in ASKED.items():
        row = rows.get(name, {})
        measured = "not measured"
        if "ratio" in row:
            measured = f"{row['ratio']:.1f} ({row['ratio_low']:.1f}-{row['ratio_high']:.1f})"
        lines.append(f"| {work} | {measured} |")
    return [*lines, "", "Whole commands run on the CPU: `python -m benchmarks.profile`."]


def main(bench: Bench) -> None:
    """Measure what is not measured yet, and write the table."""
    if bench.device == "cpu" and "TRITON_INTERPRET" not in os.environ:
        raise SystemExit("on a CPU the kernels run interpreted only: set TRITON_INTERPRET=1")
    if bench.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; --device cpu --quick walks through everything")
    began = time.monotonic()
    size = replace(QUICK, device=bench.device) if bench.quick else Size(bench.device)
    known = stages(size)
    unknown = set(bench.stages) - set(known)
    if unknown:
        raise SystemExit(f"unknown stages {sorted(unknown)}; there are {', '.join(known)}")
    bench.output.mkdir(parents=True, exist_ok=True)
    peaks, late = probes(size, bench.quick), False
    for name in bench.stages or known:
        path = bench.output / f"{name}.json"
        if path.exists():
            continue
        late = time.monotonic() - began > 60 * bench.minutes
        if late:
            break
        row = attempt(known[name], bench, peaks)
        write_json(path, row | {"peaks": peaks})
        print(name, json.dumps(row), flush=True)
    rows = {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name in known
        if (path := bench.output / f"{name}.json").exists()
    }
    results = {
        "machine": machine(bench.device),
        "peaks": peaks,
        "crossover_density": crossover(rows),
        "stages": rows,
    }
    write_json(bench.output / "results.json", results)
    (bench.output / "table.md").write_text(table(results), encoding="utf-8")
    print(table(results))
    if late:
        print("time is up; call again to go on", file=sys.stderr)
        raise SystemExit(OUT_OF_TIME)


if __name__ == "__main__":
    main(tyro.cli(Bench))
