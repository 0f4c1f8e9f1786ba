"""Products through the few nonzeros of every row give what whole products give."""

import pytest
import torch
from torch import Tensor

from lacewing.kernels import sparse_rows
from lacewing.kernels.abs_topk import abs_topk_reference

ROWS, CHANNELS, LATENTS, K = 37, 12, 50, 5


def drawn() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs, encoder, bias and decoder."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((ROWS, CHANNELS), (LATENTS, CHANNELS), (LATENTS,), (LATENTS, CHANNELS))
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)  # type: ignore[return-value]


@pytest.mark.parametrize("absolute", [False, True])
def test_values_and_gradients_are_those_of_whole_products(absolute: bool) -> None:
    """Forward and backward, against a sort of every row and matrix products."""
    x, *given = drawn()
    target = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))

    def whole(encoder: Tensor, bias: Tensor, decoder: Tensor) -> Tensor:
        before = x @ encoder.T + bias
        before = before if absolute else before.relu()
        kept = abs_topk_reference(before.detach(), K) != 0
        return torch.where(kept, before, 0) @ decoder

    def few(encoder: Tensor, bias: Tensor, decoder: Tensor) -> Tensor:
        return sparse_rows.decode(*sparse_rows.encode(x, encoder, bias, K, absolute), decoder)

    found = []
    for function in (whole, few):
        leaves = [tensor.clone().requires_grad_() for tensor in given]
        with torch.enable_grad():
            out = function(*leaves)
            (out - target).square().sum().backward()
        found.append([out.detach(), *(leaf.grad for leaf in leaves)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)


def test_other_types_take_the_whole_products() -> None:
    """What has no loop, such as float64, agrees."""
    x, encoder, bias, decoder = drawn()
    index, value = sparse_rows.encode(x, encoder, bias, K)
    small = sparse_rows.decode(index, value, decoder)
    wide = [t.double() for t in (x, encoder, bias)]
    large = sparse_rows.decode(*sparse_rows.encode(*wide, K), decoder.double())
    torch.testing.assert_close(large.float(), small, atol=1e-5, rtol=1e-5)


def test_fewer_than_k_above_zero() -> None:
    """Entries that are left over are zero and count for nothing."""
    x, encoder, _, decoder = drawn()
    bias = torch.full((LATENTS,), -1e6)
    index, value = sparse_rows.encode(x, encoder, bias, K)
    assert not value.any()
    assert not sparse_rows.decode(index, value, decoder).any()
    assert not sparse_rows.dense(index, value, LATENTS).any()
