"""What is compared: for every stage the published way, ours, their agreement, the least it takes.

`quick` shapes are smaller, so that all stages take less than a minute.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import naive, pruning, steps
from benchmarks.steps import Run
from lacewing.kernels.abs_topk import abs_topk, abs_topk_reference
from lacewing.kernels.adam import Slot, Step, adam_step_
from lacewing.kernels.cross_entropy import cross_entropy
from lacewing.kernels.keep_largest import Matrix, keep_largest_of_all_
from lacewing.kernels.sink_attention import sink_attention
from lacewing.kernels.sparse_linear import SparseWeight, sparse_linear
from lacewing.model.transformer import Transformer
from lacewing.model.weights import FLOOR_AXIS
from lacewing.training.config import TrainConfig


@dataclass(frozen=True)
class Stage:
    """A naive and a better way of doing one thing, and the least it takes."""

    naive: Run
    ours: Run
    agree: Callable[[], None]
    """Raises unless both give the same."""
    flop: float = 0.0
    """Arithmetic that ours cannot avoid, if it is bound by that."""
    bytes: float = 0.0
    """Memory traffic that ours cannot avoid, if it is bound by that."""


def all_stages(quick: bool) -> dict[str, Callable[[], Stage]]:
    """Every stage by name; made only when it is measured, because some need gigabytes."""
    shape = steps.reference(layers=2, batch=8) if quick else steps.reference()
    sparser = steps.reference(density=1 / 256)
    stages = {
        "abs_topk": lambda: abs_topk_stage(shape),
        "keep_largest": lambda: keep_largest_stage(shape),
        "sparse_linear": lambda: sparse_linear_stage(shape),
        "sink_attention": lambda: sink_attention_stage(shape),
        "cross_entropy": lambda: cross_entropy_stage(shape),
        "adam": lambda: adam_stage(shape),
        "step": lambda: step_stage(shape, steps.published(shape, checkpointing=True)),
        "step_light": lambda: step_stage(shape, steps.published(shape)),
        "step_dense": lambda: step_stage(shape, steps.dense(shape), same=False),
        "prune": lambda: prune_stage(shape, circuits=1),
        "circuit_100": lambda: circuit_stage(shape),
    }
    if not quick:
        dense = steps.dense
        stages["prune_12"] = lambda: prune_stage(shape, circuits=12)
        stages["step_256_dense"] = lambda: step_stage(sparser, dense(sparser), same=False)
    return stages


def _gradients(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    leaves = [t.detach().requires_grad_() for t in inputs]
    value = function(*leaves)
    return [value.detach(), *torch.autograd.grad(value, leaves, torch.ones_like(value))]


def _close(one: list[Tensor], other: list[Tensor], share: float) -> None:
    """Refuse results that differ by more than a share of the largest entry."""
    for a, b in zip(one, other, strict=True):
        worst = float((a.float() - b.float()).abs().max() / b.float().abs().max())
        if worst > share:
            raise AssertionError(f"the two ways differ by {worst:.3g} of the largest entry")


def _differentiated(
    published: Callable[..., Tensor],
    ours: Callable[..., Tensor],
    inputs: list[Tensor],
    share: float,
    **limits: float,
) -> Stage:
    """Forward and backward pass of one function."""

    def agree() -> None:
        _close(_gradients(ours, *inputs), _gradients(published, *inputs), share)

    return Stage(
        lambda: _gradients(published, *inputs), lambda: _gradients(ours, *inputs), agree, **limits
    )


def abs_topk_stage(config: TrainConfig) -> Stage:
    """Neurons of one MLP, the widest site; equal to the bit, but for the published way's ties."""
    width = 4 * config.width
    x, k = torch.randn(config.step_tokens, width).bfloat16(), width // 4

    def agree() -> None:
        mine, theirs = abs_topk(x, k), naive.abs_topk(x, k)
        if not torch.equal(mine, abs_topk_reference(x, k)):
            raise AssertionError("AbsTopK keeps other entries than a full stable sort")
        _close([mine.abs().sort(-1).values], [theirs.abs().sort(-1).values], 0.0)

    return Stage(
        lambda: _gradients(lambda t: naive.abs_topk(t, k), x),
        lambda: _gradients(lambda t: abs_topk(t, k), x),
        agree,
        bytes=5 * x.numel() * x.element_size(),  # read, write; read two, write
    )


def keep_largest_stage(config: TrainConfig) -> Stage:
    """All block matrices, as an optimizer step leaves them: few large weights, many tiny ones."""
    torch.manual_seed(0)
    jobs = []
    for name, p in Transformer(config.model(config.vocab_size)).named_parameters():
        kind = name.split(".")[-2] if "." in name else name
        if kind in FLOOR_AXIS and p.ndim == 2:
            alive = torch.rand_like(p) < config.density
            values = torch.randn_like(p) * torch.where(alive, 1.0, 1e-3)
            jobs.append((values, int(p.numel() * config.density), FLOOR_AXIS[kind]))

    def published() -> list[Tensor]:
        copies = [values.clone() for values, _, _ in jobs]  # timed on both sides
        for copy, (_, k, axis) in zip(copies, jobs, strict=True):
            naive.keep_largest_(copy, k, config.floor, axis)
        return copies

    def ours() -> list[Tensor]:
        copies = [values.clone() for values, _, _ in jobs]
        keep_largest_of_all_(
            [Matrix(c, k, config.floor, axis) for c, (_, k, axis) in zip(copies, jobs, strict=True)]
        )
        return copies

    size = sum(values.numel() for values, _, _ in jobs)
    # copied: read and written; then read once and written once
    return Stage(published, ours, lambda: _close(ours(), published(), 0.0), bytes=4.0 * 4 * size)


def sparse_linear_stage(config: TrainConfig) -> Stage:
    """Forward pass and input gradient of one MLP's first map; F.linear in bf16."""
    generator = torch.Generator().manual_seed(0)
    shape = (4 * config.width, config.width)
    weight = torch.randn(shape, generator=generator)
    weight *= torch.rand(shape, generator=generator) < config.density
    x = torch.randn(config.step_tokens, config.width, generator=generator).bfloat16()
    half, sparse = weight.bfloat16(), SparseWeight(weight)
    moved = 2 * config.step_tokens * sum(shape) * 2  # both in and out, twice, in bf16
    return _differentiated(
        lambda t: F.linear(t, half),
        lambda t: sparse_linear(t, weight, None, sparse),
        [x],
        0.02,
        bytes=moved,
    )


def sink_attention_stage(config: TrainConfig) -> Stage:
    """One layer's attention."""
    heads = config.width // config.d_head
    size = (config.batch, heads, config.context, config.d_head)
    inputs, sink = [torch.randn(size).bfloat16() for _ in range(3)], torch.zeros(heads)
    return _differentiated(
        lambda q, k, v: naive.sink_attention(q, k, v, sink),
        lambda q, k, v: sink_attention(q, k, v, sink),
        inputs,
        0.05,
        # two products forward, five backward, half of the square each
        flop=7 * config.batch * heads * config.context**2 * config.d_head,
    )


def cross_entropy_stage(config: TrainConfig) -> Stage:
    """The loss over the vocabulary."""
    logits = torch.randn(config.step_tokens, config.vocab_size).bfloat16()
    answers = torch.randint(config.vocab_size, (config.step_tokens,))
    return _differentiated(
        lambda t: F.cross_entropy(t.float(), answers),
        lambda t: cross_entropy(t, answers),
        [logits],
        0.02,
        bytes=3 * 2 * logits.numel(),  # read, write the gradient, read it
    )


def adam_stage(config: TrainConfig) -> Stage:
    """Gradient RMS, Adam and decay of all weights; torch's foreach Adam."""
    torch.manual_seed(0)
    shapes = [p.shape for p in Transformer(config.model(config.vocab_size)).parameters()]
    values = [torch.randn(shape) for shape in shapes]
    gradients = [torch.randn(shape) for shape in shapes]
    theirs = [v.clone().requires_grad_() for v in values]
    optimizer = torch.optim.Adam(theirs, lr=1e-3, betas=(0.9, 0.95), eps=0.1, foreach=True)
    slots = [
        Slot(v.clone(), g.clone(), torch.zeros_like(v), torch.zeros_like(v), 0.999)
        for v, g in zip(values, gradients, strict=True)
    ]
    count = [0]

    def published() -> None:
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        naive.normalise(theirs)
        optimizer.step()
        with torch.no_grad():
            for parameter in theirs:
                parameter.mul_(0.999)

    def ours() -> None:
        count[0] += 1
        for slot, gradient in zip(slots, gradients, strict=True):
            slot.gradient.copy_(gradient)
        adam_step_(slots, Step(1e-3, 0.9, 0.95, 0.1, count[0], naive.RMS_GUARD))

    def agree() -> None:
        published()
        ours()
        _close([slot.weight for slot in slots], [p.detach() for p in theirs], 1e-4)

    size = sum(v.numel() for v in values)
    return Stage(published, ours, agree, bytes=4.0 * 11 * size)  # copy 2, read 1; read 4, write 4


def step_stage(config: TrainConfig, other: steps.Train, same: bool = True) -> Stage:
    """A whole training step; the first losses must agree where both train the same model."""
    ours = steps.ours(config)

    def agree() -> None:
        losses = ours(), other()
        if same and abs(losses[0] - losses[1]) > 0.02:
            raise AssertionError(f"losses of the first step: {losses}")

    # A step whose forward pass and input gradients cost nothing: the dense weight gradient.
    matrices = 12 * config.width**2 * config.n_layer + config.width * config.vocab_size
    return Stage(other, ours, agree, flop=2.0 * matrices * config.step_tokens)


def prune_stage(config: TrainConfig, circuits: int) -> Stage:
    """One step of mask training for some circuits."""
    published, ours, agree = pruning.search(config, circuits)
    return Stage(published, ours, agree)


def circuit_stage(config: TrainConfig) -> Stage:
    """A finished circuit of a hundred nodes, spread over all sites."""
    masked, live = pruning.circuit(config, 100)
    return Stage(masked, live, lambda: _close([live()], [masked()], 1e-3))
