"""One Adam step over all tensors at once, gradients divided by their RMS, in two passes.

    pass 1    gradients -> their root mean square
    pass 2    g = gradient / RMS;  m, v, weight and decay;  gradient = 0

Written out tensor by tensor the same takes some ten passes. The arithmetic of every entry is that
of torch.optim.Adam, in float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lacewing.kernels import cuda
from lacewing.kernels.jit import jitted

PIECE = 1 << 16
"""Entries of the pieces that threads take in turn; sums of squares are added piece by piece."""


@dataclass(frozen=True)
class Slot:
    """One tensor and what Adam keeps of it, all of one shape."""

    weight: Tensor
    gradient: Tensor
    first: Tensor
    """Running mean of the gradient."""
    second: Tensor
    """Running mean of its square."""
    shrink: float = 1.0
    """What the weight is multiplied by after the step: 1 - decay x rate."""


@dataclass(frozen=True)
class Step:
    """The numbers of one step, the same for all tensors."""

    rate: float
    beta1: float
    beta2: float
    epsilon: float
    count: int
    """Steps so far, this one included: what the moments' bias is corrected by."""
    guard: float
    """Added to the RMS before dividing by it."""

    @property
    def corrected_rate(self) -> float:
        """The rate over the first moment's bias."""
        return self.rate / (1 - self.beta1**self.count)

    @property
    def root(self) -> float:
        """What the root of the second moment is multiplied by."""
        return float((1 - self.beta2**self.count) ** -0.5)


def adam_step_(slots: Sequence[Slot], step: Step) -> float | Tensor:
    """Take one step, in place, and zero the gradients.

    Returns:
        The RMS over all gradients together; on a GPU still there, so that nobody waits for it.

    Source: train.py of openai/circuit_sparsity; Adam is arXiv 1412.6980.
    """
    with torch.no_grad():
        if all(_plain(tensor) for slot in slots for tensor in _tensors(slot)):
            return _on_cpu(slots, step)
        if all(slot.weight.device.type == "cuda" for slot in slots) and cuda.available():
            from lacewing.kernels.cuda import adam as gpu

            if gpu.covers([tensor for slot in slots for tensor in _tensors(slot)]):
                return _on_gpu(slots, step)
            cuda.fall_back("an Adam step on these tensors has no kernel")
        return adam_step_reference_(slots, step)


def adam_step_reference_(slots: Sequence[Slot], step: Step) -> float:
    """The same tensor by tensor."""
    total = torch.stack([slot.gradient.float().square().sum() for slot in slots]).sum()
    rms = float((total / sum(slot.gradient.numel() for slot in slots)).sqrt())
    for slot in slots:
        slot.gradient.mul_(1 / (rms + step.guard))
        slot.first.lerp_(slot.gradient, 1 - step.beta1)
        slot.second.mul_(step.beta2).addcmul_(slot.gradient, slot.gradient, value=1 - step.beta2)
        size = slot.second.sqrt().mul_(step.root).add_(step.epsilon)
        slot.weight.addcdiv_(slot.first, size, value=-step.corrected_rate).mul_(slot.shrink)
        slot.gradient.zero_()
    return rms


def _tensors(slot: Slot) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return slot.weight, slot.gradient, slot.first, slot.second


def _plain(tensor: Tensor) -> bool:
    known = tensor.dtype == torch.float32 and tensor.is_contiguous()
    return tensor.device.type == "cpu" and known


def _on_gpu(slots: Sequence[Slot], step: Step) -> Tensor:
    from lacewing.kernels.cuda import adam as gpu

    rms = gpu.gradient_rms([slot.gradient for slot in slots])
    for shrink in dict.fromkeys(slot.shrink for slot in slots):
        some = [slot for slot in slots if slot.shrink == shrink]
        weights, gradients, first, second = zip(*(_tensors(slot) for slot in some), strict=True)
        gpu.update_(
            weights,
            gradients,
            first,
            second,
            rms,
            rate=step.rate,
            step=step.count,
            beta1=step.beta1,
            beta2=step.beta2,
            epsilon=step.epsilon,
            guard=step.guard,
            factor=shrink,
            clear=True,
        )
    return rms


def _on_cpu(slots: Sequence[Slot], step: Step) -> float:
    from lacewing.kernels.cpu import adam as loops

    sizes = [slot.weight.numel() for slot in slots]
    owner = np.repeat(np.arange(len(slots)), [-(-size // PIECE) for size in sizes])
    start = np.concatenate([np.arange(0, size, PIECE) for size in sizes])
    size = np.minimum(PIECE, np.array(sizes)[owner] - start)
    base = np.array([[tensor.data_ptr() for tensor in _tensors(slot)] for slot in slots])
    address = np.ascontiguousarray((base[owner] + 4 * start[:, None]).T)
    sums = np.empty(len(size))
    jitted(loops.squares, reorder=True)(address[1], size, sums)
    rms = float(np.sqrt(sums.sum() / sum(sizes)))
    jitted(loops.update)(
        address,
        size,
        np.array([slot.shrink for slot in slots], dtype=np.float32)[owner],
        np.float32(1 / (rms + step.guard)),
        (np.float32(step.beta1), np.float32(step.beta2)),
        np.float32(step.corrected_rate),
        np.float32(step.root),
        np.float32(step.epsilon),
    )
    for slot in slots:
        torch.autograd.graph.increment_version(slot.weight)
    return rms
