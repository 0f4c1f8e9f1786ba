"""Rows of which only k entries are not zero: choosing them, and products that touch no other.

    encode   x W^T + b -> the k largest of every row, as places and values
    decode   places and values -> sum of value * weight row

A sparse autoencoder of L latents spends 6 products of size tokens x channels x L on a step when it
works with all of them. Here one is left, the first: every other product, forward and backward, goes
through the k entries, which is L / k times less. Sums run in the order of the tokens, so that they
are the same on any number of threads.
"""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lacewing.kernels.abs_topk import abs_topk
from lacewing.kernels.cpu import sparse_rows as loops
from lacewing.kernels.jit import jitted

Index = Int64[Tensor, "row kept"]
"""Places of the entries that may be nonzero; a place may stand twice where its value is 0."""
Value = Float[Tensor, "row kept"]


def encode(
    x: Float[Tensor, "row channel"],
    weight: Float[Tensor, "latent channel"],
    bias: Float[Tensor, " latent"],
    k: int,
    absolute: bool = False,
) -> tuple[Index, Value]:
    """The k largest entries of x W^T + b of every row; gradients reach weight and bias.

    Args:
        x: Inputs, which get no gradient.
        weight: A row per latent.
        bias: One number per latent.
        k: Entries kept.
        absolute: Keep the largest magnitudes with their signs; else only what is above zero.
    """
    k = min(k, len(weight))
    found: tuple[Tensor, Tensor] = _Encode.apply(x, weight, bias, k, absolute)  # type: ignore[no-untyped-call]
    return found


def decode(
    index: Index, value: Value, weight: Float[Tensor, "latent channel"]
) -> Float[Tensor, "row channel"]:
    """The sum of the rows of a weight at some places, times values; gradients reach both."""
    out: Tensor = _Decode.apply(index, value, weight)  # type: ignore[no-untyped-call]
    return out


def dense(index: Index, value: Value, latents: int) -> Float[Tensor, "row latent"]:
    """The same rows with their zeros."""
    return value.new_zeros(len(index), latents).scatter_add(1, index, value)


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        k: int,
        absolute: bool,
    ) -> tuple[Tensor, Tensor]:
        before = torch.addmm(bias, x, weight.T)
        kept = abs_topk(before if absolute else before.relu_(), k)
        index, value = _picked(kept, k)
        ctx.mark_non_differentiable(index)
        ctx.save_for_backward(x, index, value)
        ctx.latents = len(weight)  # type: ignore[attr-defined]
        return index, value

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, _: Tensor, grad: Tensor
    ) -> tuple[None, Tensor, Tensor, None, None]:
        x, index, value = ctx.saved_tensors  # type: ignore[attr-defined]
        latents = ctx.latents  # type: ignore[attr-defined]
        grad = torch.where(value != 0, grad, 0)
        bias = grad.new_zeros(latents).index_add(0, index.flatten(), grad.flatten())
        return None, _scattered(index, grad, x, latents), bias, None, None


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, index: Tensor, value: Tensor, weight: Tensor
    ) -> Tensor:
        ctx.save_for_backward(index, value, weight)
        if not _fast(weight):
            return dense(index, value, len(weight)) @ weight
        out = torch.empty(len(index), weight.shape[1])
        jitted(loops.gather)(*_arrays(index, value, weight, out))
        return out

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[None, Tensor, Tensor]:
        index, value, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        scattered = _scattered(index, value, grad, len(weight))
        if not _fast(weight):
            return None, (grad @ weight.T).gather(1, index), scattered
        back = torch.empty_like(value)
        jitted(loops.dots, reorder=True)(*_arrays(index, value, weight, grad, back))
        return None, back, scattered


def _picked(kept: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Places and values of the entries that AbsTopK left."""
    if not _fast(kept):
        value, index = kept.abs().topk(k, dim=-1)
        return index, kept.gather(1, index)
    index = torch.empty(len(kept), k, dtype=torch.int64)
    value = torch.empty(len(kept), k)
    jitted(loops.pick)(*_arrays(kept, index, value))
    return index, value


def _scattered(index: Tensor, value: Tensor, rows: Tensor, latents: int) -> Tensor:
    """For every latent the sum of value times row over its entries, [latent channel]."""
    if not _fast(rows):
        return dense(index, value, latents).T @ rows
    start, order = np.empty(latents + 1, dtype=np.int64), np.empty(index.numel(), dtype=np.int64)
    jitted(loops.sort, parallel=False)(index.numpy(), start, order)
    out = torch.empty(latents, rows.shape[1])
    jitted(loops.scatter)(start, order, *_arrays(value, rows, out))
    return out


def _fast(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
