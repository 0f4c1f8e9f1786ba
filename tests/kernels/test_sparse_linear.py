"""Products through nonzeros against dense ones, forward and backward, and where they are used."""

import copy

import pytest
import torch
from torch.nn import functional as F

from lacewing.kernels.sparse_linear import SparseWeight, multiply, sparse_linear
from lacewing.model.layers import Linear, find_nonzeros, sparse_products

SHAPES = [(4096, 96, 64), (64, 48, 352), (100, 37, 50), (30, 64, 32), (1, 16, 16), (129, 5, 7)]


def sparse(rows: int, columns: int, density: float = 1 / 8) -> torch.Tensor:
    """A random matrix with an empty row and an empty column."""
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randn(rows, columns, generator=generator)
    weight *= torch.rand(rows, columns, generator=generator) < density
    weight[0], weight[:, -1] = 0, 0
    return weight


@pytest.mark.parametrize(("tokens", "rows", "columns"), SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_product_and_gradients_equal_the_dense_ones(
    tokens: int, rows: int, columns: int, dtype: torch.dtype
) -> None:
    """To the rounding of sums in float32, and of the result where that is bfloat16."""
    weight, bias = sparse(rows, columns).requires_grad_(), torch.randn(rows).requires_grad_()
    x = torch.randn(1, tokens, columns).to(dtype).requires_grad_()
    out = sparse_linear(x, weight, bias, SparseWeight(weight))
    assert (dtype, (1, tokens, rows)) == (out.dtype, tuple(out.shape))
    grad = torch.randn(out.shape).to(dtype)
    found = torch.autograd.grad(out, (x, weight, bias), grad)
    plain = x.detach().float().requires_grad_()
    expected_out = F.linear(plain, weight, bias)
    expected = torch.autograd.grad(expected_out, (plain, weight, bias), grad.float())
    close = (
        {"rtol": 1e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-4}
    )
    torch.testing.assert_close(expected_out.detach(), out.detach().float(), **close)
    for right, value in zip(expected, found, strict=True):
        size = right.abs().max().clamp(min=1)
        torch.testing.assert_close(right / size, value.float() / size, **close)


def test_matrices_without_any_nonzero() -> None:
    """The product is the bias."""
    weight, bias = torch.zeros(32, 16), torch.arange(32.0)
    out = sparse_linear(torch.randn(70, 16), weight, bias, SparseWeight(weight))
    assert torch.equal(bias.expand(70, -1), out)


def test_the_transpose_holds_the_same_entries() -> None:
    """By row and by column the same matrix; the density is that of the nonzeros."""
    weight = sparse(40, 24)
    found = SparseWeight(weight)
    assert torch.count_nonzero(weight).item() / weight.numel() == found.density
    torch.testing.assert_close(weight.T, multiply(torch.eye(24), found.by_row))
    torch.testing.assert_close(weight, multiply(torch.eye(40), found.by_column))


def test_zeros_from_every_fourth_token() -> None:
    """Gradients of nonzeros stay exact; those of zeros are four times those of a quarter."""
    weight = sparse(32, 48).requires_grad_()
    x, grad = torch.randn(128, 48).bfloat16(), torch.randn(128, 32).bfloat16()
    told = SparseWeight(weight)
    told.sample = slice(1, None, 4)
    (found,) = torch.autograd.grad(sparse_linear(x, weight, None, told), weight, grad)
    exact = grad.float().T @ x.float()
    guess = 4 * grad[1::4].float().T @ x[1::4].float()
    on = weight.detach() != 0
    torch.testing.assert_close(exact[on], found[on], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(guess[~on], found[~on], rtol=1e-2, atol=0.2)


def test_a_map_is_told_of_its_nonzeros_only_while_they_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Inside the block products go through them, outside a weight set by hand counts at once."""
    monkeypatch.setattr("lacewing.model.layers.crossover", lambda: 0.2)
    layer, dense = Linear(64, 64), Linear(64, 64)
    with torch.no_grad():
        layer.weight.copy_(sparse(64, 64))
    both, x = torch.nn.ModuleList([layer, dense]), torch.randn(64, 64)
    with sparse_products(both):
        assert layer.sparse is not None
        assert dense.sparse is None  # above the crossover
        inside = layer(x)
    assert layer.sparse is None
    torch.testing.assert_close(inside, layer(x), rtol=1e-4, atol=1e-5)
    find_nonzeros(layer)
    with torch.no_grad():
        layer.weight.zero_()
    find_nonzeros(layer)
    torch.testing.assert_close(layer.bias.expand(64, -1), layer(x))


def test_nested_blocks_and_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """An inner block ends without the outer one; a copy of a network is one of ordinary maps."""
    monkeypatch.setattr("lacewing.model.layers.crossover", lambda: 0.2)
    layer = Linear(64, 64)
    with torch.no_grad():
        layer.weight.copy_(sparse(64, 64))
    with sparse_products(layer):
        with sparse_products(layer):
            assert layer.sparse is not None
        assert layer.sparse is not None
        assert copy.deepcopy(layer).sparse is None
    assert layer.sparse is None
