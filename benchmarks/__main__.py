"""`python -m benchmarks [--quick] [--json]`: each hot operation against the published way.

Pairs run interleaved (A B B A) on the same tensors after both agree; what is printed is the median
of the per-pair ratios with their 10-90 % range. Memory and code are warm before anything is timed.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor

from lacewing.kernels.abs_topk import abs_topk
from lacewing.kernels.keep_largest import keep_largest_
from lacewing.kernels.memory import keep_pages
from lacewing.kernels.sink_attention import sink_attention, sink_attention_reference

Stage = tuple[Callable[[], object], Callable[[], object]]


@dataclass(frozen=True)
class Bench:
    """What to measure."""

    quick: bool = False
    """Smaller shapes and fewer pairs."""
    json: bool = False
    """End with one JSON object."""


def published_abs_topk(x: Tensor, k: int) -> Tensor:
    """AbsTopK by torch.topk and a scatter (gpt.py of openai/circuit_sparsity)."""
    index = x.abs().topk(k, dim=-1).indices
    return torch.zeros_like(x).scatter_(-1, index, x.gather(-1, index))


def published_projection(weight: Tensor, k: int, floor: int) -> Tensor:
    """Keep the largest by torch.topk, rows first, then the whole matrix (train.py)."""
    score = weight.abs()
    score.scatter_(1, score.topk(floor, dim=1).indices, 1e10)
    mask = torch.zeros(weight.numel(), dtype=torch.bool)
    mask[score.flatten().topk(k).indices] = True
    return weight * mask.view_as(weight)


def projected(weight: Tensor, k: int, floor: int) -> Tensor:
    """Ours, on a copy: the copy is timed too, which is to our disadvantage."""
    weight = weight.clone()
    keep_largest_(weight, k, floor)
    return weight


def with_gradient(loss: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], list[Tensor]]:
    """One forward and backward pass."""

    def run() -> list[Tensor]:
        leaves = [t.detach().requires_grad_() for t in inputs]
        value = loss(*leaves)
        return [value, *torch.autograd.grad(value.float().sum(), leaves)]

    return run


def stages(tokens: int, width: int) -> dict[str, Stage]:
    """Naive and ours for every operation, on the same tensors."""
    x = torch.randn(tokens, width).bfloat16()
    weight = torch.randn(4 * width, width)
    keep = weight.numel() // 20
    heads = [torch.randn(tokens // 64, width // 32, 64, 32).bfloat16() for _ in range(3)]
    sink = torch.zeros(width // 32)
    return {
        "abs_topk": (lambda: published_abs_topk(x, width // 4), lambda: abs_topk(x, width // 4)),
        "keep_largest": (
            lambda: published_projection(weight, keep, 4),
            lambda: projected(weight, keep, 4),
        ),
        "sink_attention": (
            with_gradient(lambda q, k, v: sink_attention_reference(q, k, v, sink), *heads),
            with_gradient(lambda q, k, v: sink_attention(q, k, v, sink), *heads),
        ),
    }


def agree(name: str, naive: object, ours: object) -> None:
    """Refuse to time what does not give the same result."""
    pairs = zip(naive, ours, strict=True) if isinstance(naive, list) else [(naive, ours)]
    for a, b in pairs:
        if name == "abs_topk":  # bf16 has ties, which torch.topk breaks as it likes
            a, b = a.abs().sort().values, b.abs().sort().values
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.05, msg=f"{name} disagrees")


def measure(stage: Stage, pairs: int) -> dict[str, object]:
    """Median times in ms, and the ratios naive / ours."""
    times: list[tuple[float, float]] = []
    for i in range(pairs + 3):
        order = (0, 1) if i % 2 else (1, 0)
        spent = [0.0, 0.0]
        for which in order:
            began = time.perf_counter()
            stage[which]()
            spent[which] = 1e3 * (time.perf_counter() - began)
        if i >= 3:
            times.append((spent[0], spent[1]))
    ratios = statistics.quantiles([a / b for a, b in times], n=10)
    return {
        "naive_ms": statistics.median(a for a, _ in times),
        "ours_ms": statistics.median(b for _, b in times),
        "ratio": ratios[4],
        "range": [ratios[0], ratios[8]],
    }


def main(bench: Bench) -> None:
    """Measure every stage and print a table."""
    keep_pages()
    torch.manual_seed(0)
    rows = []
    for name, stage in stages(1024 if bench.quick else 4096, 320).items():
        agree(name, stage[0](), stage[1]())
        row = {"name": name} | measure(stage, 6 if bench.quick else 20)
        rows.append(row)
        low, high = row["range"]
        print(
            f"{name:16} naive {row['naive_ms']:8.2f} ms   ours {row['ours_ms']:8.2f} ms   "
            f"ratio {row['ratio']:5.1f} [{low:.1f}, {high:.1f}]"
        )
    if bench.json:
        print(json.dumps({"stages": rows, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main(tyro.cli(Bench))
