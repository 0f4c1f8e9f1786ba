"""A linear map whose weight is mostly zero: forward pass and input gradient through the nonzeros.

    y = x W^T + b       over the nonzeros, row by row of W
    dx = dy W           over the nonzeros, column by column
    dW = dy^T x         dense, because Adam keeps moments of every weight: the matrix product of the
                        library, in bfloat16 where x is. Or, to save work, of the zeros from some
                        tokens only, and exactly of the nonzeros

Dense products win above some density. `crossover` measures where, once on every machine.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lacewing.kernels.jit import CHUNKS, jitted, numbers

LANES, TILE = 16, 64
"""Widths are padded to a multiple of LANES, tokens to TILE (kernels/cpu/vector.py)."""


@dataclass(frozen=True)
class Nonzeros:
    """The nonzero entries of a matrix, row by row: pointers, columns, values."""

    shape: tuple[int, int]
    pointer: np.ndarray
    index: np.ndarray
    value: np.ndarray

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.index)


class SparseWeight:
    """The nonzeros of one weight at one moment, row by row and column by column."""

    sample: slice | None = None
    """Tokens that the gradients of zero weights are estimated from; none for all."""

    def __init__(self, weight: Float[Tensor, "row column"]) -> None:
        dense = weight.detach().float().contiguous().numpy()
        self.by_row = _rows(dense)
        self.by_column = _columns(self.by_row)

    def __deepcopy__(self, memo: dict[int, object]) -> None:
        """Nothing: a network is copied in order to be changed, and would run on old weights."""
        return

    @property
    def density(self) -> float:
        """Nonzero entries / entries."""
        rows, columns = self.by_row.shape
        return self.by_row.count / (rows * columns)


def sparse_linear(
    x: Float[Tensor, "*batch channel"],
    weight: Float[Tensor, "row channel"],
    bias: Float[Tensor, " row"] | None,
    sparse: SparseWeight | None,
) -> Float[Tensor, "*batch row"]:
    """X W^T + b, through the nonzeros where they are given.

    Args:
        x: float32, or bfloat16 (as autocast makes it): sums are in float32 either way.
        weight: The whole matrix; its gradient is dense.
        bias: Added to every row; none for none.
        sparse: The nonzeros of `weight` as it is now; none for the dense product.

    Returns:
        The product, in the type of `x`, or of autocast where it is on.

    Source: SparseProp (arXiv 2302.04852) for the idea of a compressed backward pass.
    """
    if sparse is None or x.device.type != "cpu":
        return F.linear(x, weight, bias)
    if torch.is_autocast_enabled("cpu"):
        x = x.to(torch.get_autocast_dtype("cpu"))
    if x.dtype not in (torch.float32, torch.bfloat16):
        return F.linear(x, weight, bias)
    out: Tensor = _SparseLinear.apply(x, weight, bias, sparse)  # type: ignore[no-untyped-call]
    return out


class _SparseLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        sparse: SparseWeight,
    ) -> Tensor:
        ctx.save_for_backward(x if weight.requires_grad else x.new_empty(0))
        ctx.sparse, ctx.has_bias = sparse, bias is not None  # type: ignore[attr-defined]
        return multiply(x, sparse.by_row, bias)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        wanted = ctx.needs_input_grad  # type: ignore[attr-defined]
        rows = grad.flatten(0, -2)
        dx, db = None, torch.empty(0)
        if wanted[0]:
            dx, db = _multiply(grad, ctx.sparse.by_column, None, add=wanted[2])  # type: ignore[attr-defined]
        if wanted[2] and not len(db):
            db = rows.sum(0, dtype=torch.float32)
        dw = _weight_gradient(rows, x.flatten(0, -2), ctx.sparse) if wanted[1] else None  # type: ignore[attr-defined]
        return dx, dw, db if wanted[2] else None, None


def _weight_gradient(grad: Tensor, x: Tensor, sparse: SparseWeight) -> Tensor:
    """dy^T x, of the zeros perhaps from some of the tokens only, scaled up to all."""
    sample, rows = sparse.sample, sparse.by_row
    whole = all(size % LANES == 0 for size in rows.shape) and len(x) % TILE == 0
    if sample is None or not whole:
        return (grad.t() @ x).float()
    from lacewing.kernels.cpu import sparse_linear as loops

    some, others = grad[sample], x[sample]
    dense = (some.t() @ others).float().mul_(len(x) / len(others))
    exact = torch.zeros(CHUNKS // 4, rows.count)
    first = np.arange(0, len(x), TILE)
    grad, x = grad.contiguous(), x.contiguous()
    arrays = numbers(grad), numbers(x), rows.pointer, rows.index, numbers(exact), first
    jitted(loops.support_gradient)(*arrays)
    jitted(loops.put)(rows.pointer, rows.index, numbers(exact.sum(0)), numbers(dense))
    return dense


def multiply(
    x: Float[Tensor, "*batch channel"], matrix: Nonzeros, bias: Tensor | None = None
) -> Float[Tensor, "*batch row"]:
    """X times the transpose of a matrix given by its nonzeros, plus a bias. No gradient."""
    return _multiply(x, matrix, bias)[0]


def _multiply(
    x: Tensor, matrix: Nonzeros, bias: Tensor | None, add: bool = False
) -> tuple[Tensor, Tensor]:
    """The product and, with `add`, the sum of all rows of x where it comes for nothing."""
    from lacewing.kernels.cpu import sparse_linear as loops

    rows, columns = matrix.shape
    tokens = x.numel() // columns
    pad = (0, -columns % LANES, 0, max(0, TILE - tokens))
    source = x.detach().reshape(tokens, columns).contiguous()
    source = F.pad(source, pad) if any(pad) else source
    width = rows + -rows % LANES
    pointer = np.pad(matrix.pointer, (0, width - rows), mode="edge")
    start = np.zeros(width, dtype=np.float32)
    if bias is not None:
        start[:rows] = bias.detach().float().numpy()
    out = source.new_empty(len(source), width)
    add = add and len(source) % TILE == 0
    sums = torch.zeros(CHUNKS, columns if add else 0)
    arrays = pointer, matrix.index, matrix.value, start
    jitted(loops.multiply)(numbers(source), *arrays, numbers(out), numbers(sums))
    return out[:tokens, :rows].reshape(*x.shape[:-1], rows), sums.sum(0)


def _rows(dense: np.ndarray) -> Nonzeros:
    from lacewing.kernels.cpu import sparse_linear as loops

    pointer = np.zeros(len(dense) + 1, dtype=np.int64)
    jitted(loops.count_rows)(dense, pointer)
    pointer = pointer.cumsum()
    index = np.empty(pointer[-1], dtype=np.int32)
    value = np.empty(pointer[-1], dtype=np.float32)
    jitted(loops.fill_rows)(dense, pointer, index, value)
    return Nonzeros(dense.shape, pointer, index, value)


def _columns(rows: Nonzeros) -> Nonzeros:
    from lacewing.kernels.cpu import sparse_linear as loops

    pointer = np.zeros(rows.shape[1] + 1, dtype=np.int64)
    index, value = np.empty_like(rows.index), np.empty_like(rows.value)
    fill = jitted(loops.fill_columns, parallel=False)
    fill(rows.pointer, rows.index, rows.value, pointer, index, value)
    return Nonzeros(rows.shape[::-1], pointer, index, value)
