"""A linear map through its nonzeros, in Triton, against the dense one."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 8e-3, torch.float16: 1e-3}
"""Relative error of one rounding, or of a float32 sum."""


def case(
    rows: int, columns: int, tokens: int, density: float, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A sparse matrix with an empty row and an empty column, a bias, an input, a gradient."""
    draw = torch.Generator().manual_seed(rows * columns + tokens)
    weight = torch.randn(rows, columns, generator=draw)
    weight *= torch.rand(rows, columns, generator=draw) < density
    weight[rows // 2] = 0
    weight[:, columns // 3] = 0
    others = ((rows,), (tokens, columns), (tokens, rows))
    return weight.to(device), *(torch.randn(s, generator=draw).to(device) for s in others)


def rows_of(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Beginnings, columns and values of the nonzeros of each row."""
    counts = torch.count_nonzero(weight, dim=1)
    indptr = F.pad(counts.cumsum(0), (1, 0)).int()
    return indptr, weight.nonzero()[:, 1].int(), weight[weight != 0]


def near(right: Tensor, ours: Tensor, dtype: torch.dtype) -> bool:
    """Whether an error is one of rounding."""
    return float((right - ours.double()).norm()) <= ROUNDING[dtype] * float(right.norm())


@pytest.mark.parametrize("dtype", list(ROUNDING), ids=str)
@pytest.mark.parametrize(
    ("rows", "columns", "tokens", "density"),
    [(17, 33, 5, 0.3), (64, 48, 130, 0.05), (40, 20, 600, 0.9), (9, 9, 1, 0.01)],
)
def test_equals_the_dense_map(
    rows: int, columns: int, tokens: int, density: float, dtype: torch.dtype, device: torch.device
) -> None:
    """Forward, input gradient and support gradient are those of F.linear, up to rounding."""
    from lacewing.kernels.cuda import sparse_linear as cuda

    weight, bias, x, dy = case(rows, columns, tokens, density, device)
    x, dy = x.to(dtype), dy.to(dtype)
    indptr, indices, values = rows_of(weight)
    indptr_t, indices_t, values_t = rows_of(weight.t())
    y = cuda.forward(x, indptr, indices, values, bias)
    assert (dtype, True) == (y.dtype, y.is_contiguous())
    assert near(F.linear(x.double(), weight.double(), bias.double()), y, dtype)
    without = cuda.forward(x, indptr, indices, values, None)
    assert near(F.linear(x.double(), weight.double()), without, dtype)
    dx = cuda.input_gradient(dy, indptr_t, indices_t, values_t)
    assert near(dy.double() @ weight.double(), dx, dtype)
    dvalues = cuda.support_gradient(dy, x, indptr, indices)
    assert near((dy.double().t() @ x.double())[weight != 0], dvalues, torch.float32)


def test_no_nonzeros(device: torch.device) -> None:
    """A matrix of zeros gives the bias, and no gradient anywhere."""
    from lacewing.kernels.cuda import sparse_linear as cuda

    weight, bias, x, dy = case(6, 5, 4, 0.5, device)
    indptr, indices, values = rows_of(weight * 0)
    assert torch.equal(bias.expand(4, 6), cuda.forward(x, indptr, indices, values, bias))
    assert (0,) == cuda.support_gradient(dy, x, indptr, indices).shape
    indptr_t, indices_t, values_t = rows_of(weight.t() * 0)
    assert torch.equal(torch.zeros_like(x), cuda.input_gradient(dy, indptr_t, indices_t, values_t))


def test_features_as_rows_are_read_where_they_are(device: torch.device) -> None:
    """A tensor transposed in memory gives the same."""
    from lacewing.kernels.cuda import sparse_linear as cuda

    weight, bias, x, _ = case(12, 10, 70, 0.3, device)
    csr = rows_of(weight)
    assert torch.equal(
        cuda.forward(x, *csr, bias), cuda.forward(x.t().contiguous().t(), *csr, bias)
    )
