"""The stages of `scripts/gpu/bench.py`: each hot operation on a GPU, the published way and ours.

A stage is made when it is measured and dropped before the next, because some fill a GPU. Before
anything is timed its `check` compares the two ways on the very tensors that are timed.
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import naive, pruning, steps
from lacewing.kernels.abs_topk import abs_topk_reference
from lacewing.kernels.cuda import abs_topk, keep_largest, sink_attention, sparse_linear
from lacewing.kernels.keep_largest import largest_reference
from lacewing.training.config import TrainConfig

Run = Callable[[], object]
DENSITIES = (1 / 32, 1 / 64, 1 / 128, 1 / 256, 1 / 512, 1 / 1024)


@dataclass(frozen=True)
class Size:
    """How large everything is."""

    device: str
    rows: int = 32_768
    """Tokens that the single operations work on."""
    width: int = 2048
    layers: int = 8
    batch: int = 64
    """Sequences in a training step."""
    length: int = 256
    """Tokens of a sequence in the attention stage."""
    pairs: int = 64
    """Pairs of prompts in a pruning step."""
    step_widths: tuple[int, ...] = (1024, 2048)
    probe: int = 8192
    """Side of the matrices of the arithmetic probe."""

    def config(self, width: int, density: float = 1 / 64) -> TrainConfig:
        """The reference training configuration at this size."""
        config = steps.reference(density, width, self.layers)
        tokens = self.batch * config.context * 10_000
        floor = min(config.floor, int(density * width))
        return replace(config, batch=self.batch, tokens=tokens, floor=floor)


QUICK = Size("cpu", 8, 32, layers=1, batch=1, length=40, pairs=1, step_widths=(32,), probe=128)
"""Small enough for an interpreter."""


def with_gradient(function: Callable[..., Tensor], *inputs: Tensor) -> Run:
    """One forward and backward pass."""

    def run() -> None:
        leaves = [t.detach().requires_grad_() for t in inputs]
        value = function(*leaves)
        torch.autograd.grad(value, leaves, torch.ones_like(value))

    return run


@dataclass(frozen=True)
class Stage:
    """Two ways of doing one thing, whether they agree, and the least it takes."""

    naive: Run
    ours: Run
    check: Run = lambda: None
    """Raises AssertionError where the two disagree."""
    flop: float = 0.0
    """Arithmetic that cannot be avoided, where that is the limit."""
    bytes: float = 0.0
    """Memory traffic that cannot be avoided, where that is the limit."""
    tokens: int = 0
    """Tokens that a run works on, where their rate is of interest."""
    model_flop: float = 0.0
    """Arithmetic of a dense model's run, for the share of the peak that people quote."""


def stages(size: Size) -> dict[str, Callable[[], Stage]]:
    """Every stage by name, in the order of measuring."""
    made: dict[str, Callable[[], Stage]] = {
        "abs_topk_bf16": lambda: abs_topk_stage(size, torch.bfloat16),
        "abs_topk_fp32": lambda: abs_topk_stage(size, torch.float32),
        "keep_largest": lambda: keep_largest_stage(size),
        "sink_attention": lambda: attention_stage(size),
    }
    for density in DENSITIES:
        name = f"sparse_linear_{round(1 / density)}"
        made[name] = lambda density=density: sparse_linear_stage(size, density)
    for width in size.step_widths:
        made[f"step_{width}"] = lambda width=width: step_stage(size, width)
        made[f"step_{width}_dense"] = lambda width=width: step_stage(size, width, dense=True)
    made["prune_step"] = lambda: prune_stage(size)
    return made


def drawn(size: Size, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Normal numbers, the same in every run."""
    generator = torch.Generator(size.device).manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, device=size.device).to(dtype)


def close(right: Tensor, ours: Tensor, most: float) -> None:
    """Assert that the relative error of a tensor is small."""
    error = float((right.double() - ours.double()).norm()) / max(
        float(right.double().norm()), 1e-30
    )
    assert error <= most, f"relative error {error:.2g}, allowed {most:.2g}"


def gradients(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """The value of a function, and its gradients for a gradient of ones and halves."""
    leaves = [t.detach().requires_grad_() for t in inputs]
    value = function(*leaves)
    slope = torch.ones_like(value)
    slope[..., ::2] = 0.5
    return [value.detach(), *torch.autograd.grad(value, leaves, slope)]


def abs_topk_stage(size: Size, dtype: torch.dtype) -> Stage:
    """The widest site of a block, forward and backward, a quarter kept."""
    width = 4 * size.width if dtype == torch.bfloat16 else size.width
    x = drawn(size, size.rows, width, dtype=dtype)
    k = width // 4

    def check() -> None:
        some = x[:256]
        for right, ours in zip(
            gradients(lambda t: abs_topk_reference(t, k), some),
            gradients(lambda t: abs_topk.forward(t, k), some),
            strict=True,
        ):
            assert torch.equal(right, ours), "other entries kept than by a full sort"

    return Stage(
        with_gradient(lambda t: naive.abs_topk(t, k), x),
        with_gradient(lambda t: abs_topk.forward(t, k), x),
        check,
        bytes=5.0 * x.numel() * x.element_size(),  # read, write; read gradient and output, write
    )


def block_matrices(size: Size) -> Iterator[tuple[Tensor, str]]:
    """All block matrices, as an optimizer step leaves them: few large weights, many tiny ones."""
    d = size.width
    shapes = (3 * d, d, "row"), (d, d, "column"), (4 * d, d, "row"), (d, 4 * d, "column")
    for layer in range(size.layers):
        for rows, columns, axis in shapes:
            values = drawn(size, rows, columns + layer)[:, :columns].contiguous()
            alive = drawn(size, columns + layer, rows)[:columns].t().abs() > 2.42  # 1 in 64
            yield values * torch.where(alive, 1.0, 1e-3), axis


def keep_largest_stage(size: Size) -> Stage:
    """The projection of all block matrices with a floor of 4, at 1/64."""
    weights, axes = map(list, zip(*block_matrices(size), strict=True))
    ks = [max(w.numel() // 64, 4 * max(w.shape)) for w in weights]
    work, floors = [w.clone() for w in weights], [4] * len(weights)

    def again() -> None:
        for into, weight in zip(work, weights, strict=True):
            into.copy_(weight)  # timed on both sides

    def published() -> None:
        again()
        for weight, k, axis in zip(work, ks, axes, strict=True):
            naive.keep_largest_(weight, k, 4, axis)

    def ours() -> None:
        again()
        keep_largest.keep_largest_(work, ks, floors, axes)

    def check() -> None:
        for _ in range(2):  # from no threshold, and from the last one
            ours()
            for weight, got, k, axis in list(zip(weights, work, ks, axes, strict=True))[:4]:
                right = weight.masked_fill(~largest_reference(weight, k, 4, axis), 0)
                assert torch.equal(right, got), "other weights kept than by full sorts"

    total = sum(w.numel() for w in weights)
    return Stage(published, ours, check, bytes=4.0 * 4 * total)  # the copy; one read, one write


def attention_stage(size: Size) -> Stage:
    """One layer's attention, with heads of 16 channels."""
    heads, length = size.width // 16, size.length
    q, k, v = (
        drawn(size, size.batch, length, heads, 16 + i, dtype=torch.bfloat16)[..., :16]
        .contiguous()
        .transpose(1, 2)
        for i in range(3)
    )
    sink = torch.linspace(-1, 1, heads, device=size.device)

    def check() -> None:
        exact = gradients(
            lambda *t: naive.sink_attention(*t, sink.double()), *(t[:1].double() for t in (q, k, v))
        )
        ours = gradients(
            lambda *t: sink_attention.sink_attention(*t, sink), *(t[:1] for t in (q, k, v))
        )
        for right, got in zip(exact, ours, strict=True):
            close(right, got, 0.02)

    if "TRITON_INTERPRET" in os.environ:  # it cannot multiply bfloat16
        q, k, v = q.float(), k.float(), v.float()
    return Stage(
        with_gradient(lambda q, k, v: naive.sink_attention(q, k, v, sink), q, k, v),
        with_gradient(lambda q, k, v: sink_attention.sink_attention(q, k, v, sink), q, k, v),
        check,
        flop=7.0 * size.batch * heads * length * length * 16,  # half the square
    )


def sparse_linear_stage(size: Size, density: float) -> Stage:
    """Forward and input gradient of one matrix, dense in bf16 against through the nonzeros."""
    d = size.width
    weight = drawn(size, 4 * d, d)
    weight *= drawn(size, d, 4 * d).t().abs() > math.sqrt(2) * float(
        torch.erfinv(torch.tensor(1 - density, dtype=torch.float64))
    )
    x, dy = (drawn(size, size.rows, n, dtype=torch.bfloat16) for n in (d, 4 * d))
    narrow, (rows, columns) = weight.bfloat16(), (csr(weight), csr(weight.t().contiguous()))

    def dense() -> tuple[Tensor, Tensor]:
        return F.linear(x, narrow), dy @ narrow

    def ours() -> tuple[Tensor, Tensor]:
        return sparse_linear.forward(x, *rows, None), sparse_linear.input_gradient(dy, *columns)

    def check() -> None:
        for right, got in zip(dense(), ours(), strict=True):
            close(right, got, 0.02)

    moved = 2.0 * 2 * (x.numel() + dy.numel())  # both read and both written once, two bytes each
    return Stage(dense, ours, check, bytes=moved)


def csr(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Beginnings, columns and values of the nonzeros of each row."""
    indptr = F.pad(torch.count_nonzero(weight, dim=1).cumsum(0), (1, 0)).int()
    return indptr, weight.nonzero()[:, 1].int(), weight[weight != 0]


def step_stage(size: Size, width: int, dense: bool = False) -> Stage:
    """A whole training step at 1/64 against the published way, or against a plain dense model."""
    config = size.config(width)
    other = (steps.dense if dense else steps.published)(config, device=size.device)
    matrices = 12 * width**2 * size.layers + width * config.vocab_size
    attention = 6.0 * size.layers * config.context * width  # a token's, forward and back, causal
    return Stage(
        other,
        steps.ours(config, size.device),
        flop=6.0 * matrices * config.step_tokens,
        tokens=config.step_tokens,
        model_flop=(6.0 * matrices + attention) * config.step_tokens,
    )


def prune_stage(size: Size) -> Stage:
    """One step of learning a mask, against plain autograd through every site and weight."""
    config = size.config(size.width)
    config = replace(config, batch=2 * size.pairs)
    published, ours, agree = pruning.search(config, 1, size.device)
    return Stage(published, ours, agree, tokens=config.step_tokens)
