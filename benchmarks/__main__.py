"""`python -m benchmarks [STAGE ...] [--pairs N]`: each hot operation against the published way.

All stages have the reference shape (width 512, 4 layers, heads of 16, context 256, 4,096 tokens a
step, density 1/64, AbsTopK 1/4 at all eight sites, sinks; bf16 products on both sides). Pairs run
interleaved (A B B A) on the same tensors; what is printed is the median of the per-pair ratios with
their 10-90 % range. Memory and code are warm before anything is timed. The limit is the time that
the stage's arithmetic, or its bytes, would take at the peak that two probes of the same run find.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor

from benchmarks import naive, pruning, steps
from lacewing.kernels.abs_topk import abs_topk
from lacewing.kernels.keep_largest import Matrix, keep_largest_of_all_
from lacewing.kernels.memory import keep_pages
from lacewing.kernels.sink_attention import sink_attention
from lacewing.model.transformer import Transformer
from lacewing.training.density import FLOOR_AXIS

Run = Callable[[], object]


@dataclass(frozen=True)
class Stage:
    """A naive and a better way of doing one thing, and the least it takes."""

    naive: Run
    ours: Run
    flop: float = 0.0
    """Arithmetic that ours cannot avoid, if it is bound by that."""
    bytes: float = 0.0
    """Memory traffic that ours cannot avoid, if it is bound by that."""


@dataclass(frozen=True)
class Bench:
    """What to measure."""

    stages: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names of stages; all by default."""
    pairs: int = 8
    """Interleaved pairs per stage."""
    json: bool = False
    """End with one JSON object."""


def with_gradient(function: Callable[..., Tensor], *inputs: Tensor) -> Run:
    """One forward and backward pass."""

    def run() -> None:
        leaves = [t.detach().requires_grad_() for t in inputs]
        value = function(*leaves)
        torch.autograd.grad(value, leaves, torch.ones_like(value))

    return run


def abs_topk_stage() -> Stage:
    """Neurons of one MLP: the widest site."""
    x, k = torch.randn(4096, 2048).bfloat16(), 512
    return Stage(
        with_gradient(lambda t: naive.abs_topk(t, k), x),
        with_gradient(lambda t: abs_topk(t, k), x),
        bytes=5 * x.numel() * 2,  # read, write; read gradient and output, write
    )


def keep_largest_stage() -> Stage:
    """All block matrices, as an optimizer step leaves them: few large weights, many tiny ones."""
    torch.manual_seed(0)
    network = Transformer(steps.reference().model(2048))
    jobs = []
    for name, p in network.named_parameters():
        kind = name.split(".")[-2] if "." in name else name
        if kind in FLOOR_AXIS and p.ndim == 2:
            alive = torch.rand_like(p) < 1 / 64
            values = torch.randn_like(p) * torch.where(alive, 1.0, 1e-3)
            jobs.append((values, p.numel() // 64, FLOOR_AXIS[kind]))

    def published() -> None:
        for values, k, axis in jobs:
            naive.keep_largest_(values.clone(), k, 4, axis)  # the copy is timed on both sides

    def ours() -> None:
        keep_largest_of_all_([Matrix(values.clone(), k, 4, axis) for values, k, axis in jobs])

    size = sum(values.numel() for values, _, _ in jobs)
    return Stage(published, ours, bytes=4.0 * 4 * size)  # copied; read once, written once


def sink_attention_stage() -> Stage:
    """One layer's attention."""
    heads = [torch.randn(16, 32, 256, 16).bfloat16() for _ in range(3)]
    sink = torch.zeros(32)
    return Stage(
        with_gradient(lambda q, k, v: naive.sink_attention(q, k, v, sink), *heads),
        with_gradient(lambda q, k, v: sink_attention(q, k, v, sink), *heads),
        flop=7 * 16 * 32 * 256 * 256 * 16,  # two products forward, five backward, half the square
    )


def step_flop() -> float:
    """A step whose forward pass and input gradients cost nothing: the dense weight gradient."""
    config = steps.reference()
    matrices = 12 * config.width**2 * config.n_layer + 2 * config.width * config.vocab_size
    return 2.0 * matrices * config.step_tokens


def stages() -> dict[str, Callable[[], Stage]]:
    """Every stage by name; made only when it is measured, because some need gigabytes."""
    config = steps.reference()
    sparser = steps.reference(density=1 / 256)
    flop = step_flop()
    return {
        "abs_topk": abs_topk_stage,
        "keep_largest": keep_largest_stage,
        "sink_attention": sink_attention_stage,
        "step": lambda: Stage(steps.published(config), steps.ours(config), flop),
        "step_dense": lambda: Stage(steps.dense(config), steps.ours(config), flop),
        "step_256_dense": lambda: Stage(steps.dense(sparser), steps.ours(sparser), flop),
        "prune_step": lambda: Stage(pruning.published(), pruning.ours()),
        "circuit_100": lambda: Stage(*pruning.circuit(100)),
    }


def peaks() -> tuple[float, float]:
    """Measured peaks: bf16 products in flop/s, and copying in bytes/s (read and write)."""
    a = torch.randn(4096, 2048).bfloat16()
    b = torch.randn(2048, 2048).bfloat16()
    product = fastest(lambda: a @ b)
    source, target = torch.randn(2**25), torch.empty(2**25)
    copying = fastest(lambda: target.copy_(source))
    return 2 * 4096 * 2048 * 2048 / product, 2 * 4 * 2**25 / copying


def fastest(run: Run, times: int = 8) -> float:
    """Least time of several, in seconds."""
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        spent.append(time.perf_counter() - began)
    return min(spent)


def measure(stage: Stage, pairs: int, arithmetic: float, memory: float) -> dict[str, float]:
    """Median times in ms, the ratio naive / ours with its range, and the share of the limit."""
    times: list[tuple[float, float]] = []
    ways = (stage.naive, stage.ours)
    for i in range(pairs + 2):
        spent = [0.0, 0.0]
        for which in (0, 1) if i % 2 else (1, 0):
            began = time.perf_counter()
            ways[which]()
            spent[which] = 1e3 * (time.perf_counter() - began)
        if i >= 2:
            times.append((spent[0], spent[1]))
    ratios = statistics.quantiles([a / b for a, b in times], n=10)
    ours = statistics.median(b for _, b in times)
    limit = 1e3 * max(stage.flop / arithmetic, stage.bytes / memory)
    return {
        "naive_ms": statistics.median(a for a, _ in times),
        "ours_ms": ours,
        "ratio": statistics.median(a / b for a, b in times),
        "low": ratios[0],
        "high": ratios[8],
        "limit_share": limit / ours,
    }


def main(bench: Bench) -> None:
    """Measure the stages and print a table."""
    keep_pages()
    torch.manual_seed(0)
    known = stages()
    unknown = set(bench.stages) - set(known)
    if unknown:
        raise SystemExit(f"unknown stages {sorted(unknown)}; there are {', '.join(known)}")
    arithmetic, memory = peaks()
    print(
        f"{torch.get_num_threads()} threads; peak {arithmetic / 1e9:.0f} GFLOP/s in bf16, "
        f"{memory / 1e9:.1f} GB/s copying"
    )
    rows = []
    for name in bench.stages or known:
        row = {"name": name} | measure(known[name](), bench.pairs, arithmetic, memory)
        rows.append(row)
        limit = f"{row['limit_share']:.0%} of the limit" if row["limit_share"] else ""
        print(
            f"{name:15} naive {row['naive_ms']:8.1f} ms   ours {row['ours_ms']:8.1f} ms   "
            f"ratio {row['ratio']:5.1f} [{row['low']:.1f}, {row['high']:.1f}]   {limit}",
            flush=True,
        )
    if bench.json:
        print(json.dumps({"stages": rows, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main(tyro.cli(Bench))
