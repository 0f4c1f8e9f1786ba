"""A linear map through its nonzero weights on a GPU: forward, input gradient, support gradient.

    features as rows:   x_t [column token]     y_t[row] = sum over nonzeros  value * x_t[column]

Each nonzero reads a run of tokens of one feature, which stays in the second-level cache, because
programs for all rows work on the same tokens at the same time. Tensors come and go as [token
feature]; one whose memory already has features as rows (`x.t()` contiguous) is read as it is, so a
caller that needs one twice transposes it once. Sums are formed in float32.

Below about one weight in a hundred this beats the dense product in bf16; measure (scripts/gpu).
"""

import torch
import triton.language as tl
from torch import Tensor

from lacewing.kernels.cuda.launch import jit, power_of_two

TOKENS = 512
"""Tokens of one feature that a program reads at once, at most."""
NONZEROS = 8
"""Nonzeros that a program reads at once."""


def covers(x: Tensor, values: Tensor) -> bool:
    """Whether the kernels handle these types; there must be a token and a weight."""
    types = (torch.float32, torch.bfloat16, torch.float16)
    return x.dtype in types and values.dtype in types and x.numel() > 0


def forward(
    x: Tensor, indptr: Tensor, indices: Tensor, values: Tensor, bias: Tensor | None
) -> Tensor:
    """Y = x W^T + b.

    Args:
        x: [token, column].
        indptr: Where each row of W begins in `indices`, and its end: int32, [row + 1].
        indices: Columns of the nonzero weights, int32.
        values: The nonzero weights.
        bias: [row], or none.

    Returns:
        [token, row] of the type of `x`, contiguous.
    """
    return _through(x, indptr, indices, values, bias)


def input_gradient(dy: Tensor, indptr_t: Tensor, indices_t: Tensor, values_t: Tensor) -> Tensor:
    """Dx = dy W.

    Args:
        dy: Gradient of the output, [token, row].
        indptr_t: Where each column of W begins in `indices_t`, and its end: int32, [column + 1].
        indices_t: Rows of the nonzero weights, column by column, int32.
        values_t: The nonzero weights in that order.

    Returns:
        [token, column] of the type of `dy`, contiguous.
    """
    return _through(dy, indptr_t, indices_t, values_t, None)


def support_gradient(dy: Tensor, x: Tensor, indptr: Tensor, indices: Tensor) -> Tensor:
    """The gradient of the nonzero weights: <dy[:, row], x[:, column]> for each.

    Args:
        dy: Gradient of the output, [token, row].
        x: Input, [token, column].
        indptr: Rows of W as in `forward`.
        indices: Columns of the nonzero weights, int32.

    Returns:
        Float32, one value per nonzero, in the order of `indices`.
    """
    return _on_support(dy, x, indptr, indices)


@torch.library.custom_op("lacewing::sparse_linear", mutates_args=())
def _through(
    x: Tensor, indptr: Tensor, indices: Tensor, values: Tensor, bias: Tensor | None
) -> Tensor:
    tokens, rows = len(x), len(indptr) - 1
    x_t = x.t().contiguous()
    y_t = x.new_empty(rows, tokens)
    block = min(TOKENS, max(16, power_of_two(tokens)))
    _gather[(rows, -(-tokens // block))](
        *(x_t, indptr, indices, values, values if bias is None else bias, y_t, tokens),
        BIAS=bias is not None,
        TOKENS=block,
        NONZEROS=NONZEROS,
    )
    return y_t.t().contiguous()


@_through.register_fake
def _(x: Tensor, indptr: Tensor, indices: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(x.shape[0], indptr.shape[0] - 1)


@torch.library.custom_op("lacewing::sparse_linear_support_gradient", mutates_args=())
def _on_support(dy: Tensor, x: Tensor, indptr: Tensor, indices: Tensor) -> Tensor:
    tokens, rows = len(x), len(indptr) - 1
    out = x.new_empty(len(indices), dtype=torch.float32)
    if len(indices):
        _dots[(rows,)](
            *(dy.t().contiguous(), x.t().contiguous(), indptr, indices, out, tokens),
            TOKENS=min(TOKENS, max(16, power_of_two(tokens))),
            NONZEROS=NONZEROS,
        )
    return out


@_on_support.register_fake
def _(dy: Tensor, x: Tensor, indptr: Tensor, indices: Tensor) -> Tensor:
    return x.new_empty(indices.shape[0], dtype=torch.float32)


@jit
def _gather(
    x: tl.tensor,
    indptr: tl.tensor,
    indices: tl.tensor,
    values: tl.tensor,
    bias: tl.tensor,
    y: tl.tensor,
    tokens: tl.tensor,
    BIAS: tl.constexpr,
    TOKENS: tl.constexpr,
    NONZEROS: tl.constexpr,
) -> None:
    """One row of W over a run of tokens; neighbouring programs share the tokens."""
    row = tl.program_id(0)
    at = tl.program_id(1) * TOKENS + tl.arange(0, TOKENS)
    inside = at[None, :] < tokens
    begin, end = tl.load(indptr + row), tl.load(indptr + row + 1)
    total = tl.zeros([NONZEROS, TOKENS], tl.float32)
    for first in range(begin, end, NONZEROS):
        place = first + tl.arange(0, NONZEROS)
        column = tl.load(indices + place, mask=place < end, other=0).to(tl.int64)
        value = tl.load(values + place, mask=place < end, other=0.0).to(tl.float32)
        wanted = (place < end)[:, None] & inside
        run = tl.load(x + column[:, None] * tokens + at[None, :], mask=wanted, other=0.0)
        total += value[:, None] * run.to(tl.float32)
    out = tl.sum(total, 0)
    if BIAS:
        out += tl.load(bias + row).to(tl.float32)
    tl.store(y + row.to(tl.int64) * tokens + at, out.to(y.dtype.element_ty), mask=at < tokens)


@jit
def _dots(
    dy: tl.tensor,
    x: tl.tensor,
    indptr: tl.tensor,
    indices: tl.tensor,
    out: tl.tensor,
    tokens: tl.tensor,
    TOKENS: tl.constexpr,
    NONZEROS: tl.constexpr,
) -> None:
    """All nonzeros of one row of W, some at a time, over all tokens."""
    row = tl.program_id(0)
    begin, end = tl.load(indptr + row), tl.load(indptr + row + 1)
    for first in range(begin, end, NONZEROS):
        place = first + tl.arange(0, NONZEROS)
        column = tl.load(indices + place, mask=place < end, other=0).to(tl.int64)
        total = tl.zeros([NONZEROS, TOKENS], tl.float32)
        for start in range(0, tokens, TOKENS):
            at = start + tl.arange(0, TOKENS)
            slope = tl.load(dy + row.to(tl.int64) * tokens + at, mask=at < tokens, other=0.0)
            wanted = (place < end)[:, None] & (at < tokens)[None, :]
            run = tl.load(x + column[:, None] * tokens + at[None, :], mask=wanted, other=0.0)
            total += slope.to(tl.float32)[None, :] * run.to(tl.float32)
        tl.store(out + place, tl.sum(total, 1), mask=place < end)
