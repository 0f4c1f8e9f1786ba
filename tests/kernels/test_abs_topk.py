"""AbsTopK: the fast path against the sorting reference, to the bit."""

import pytest
import torch
from torch import Tensor

from lacewing.kernels.abs_topk import abs_topk, abs_topk_reference, survivors

TYPES = (torch.float32, torch.bfloat16)


def bits(x: Tensor) -> Tensor:
    """The bit patterns, so that -0.0 and 0.0 differ."""
    return x.view({4: torch.int32, 2: torch.int16, 8: torch.int64}[x.element_size()])


def rows(seed: int, dtype: torch.dtype, width: int) -> Tensor:
    """Random rows; half of them with many ties, zeros of both signs among them."""
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.randn(3, 4, width, generator=generator)
    tied = torch.randn(3, 4, width, generator=generator).round()
    return torch.cat([smooth, tied]).to(dtype)


@pytest.mark.parametrize("dtype", [*TYPES, torch.float64])
@pytest.mark.parametrize("width", [1, 2, 31, 256])
def test_equals_the_sorting_reference_to_the_bit(dtype: torch.dtype, width: int) -> None:
    """Every bit equals a full stable sort, for smooth rows and rows full of ties."""
    x = rows(width, dtype, width)
    for k in sorted({1, max(1, width // 4), width - 1 or 1, width, width + 3}):
        assert torch.equal(bits(abs_topk_reference(x, k)), bits(abs_topk(x, k))), k


@pytest.mark.parametrize("dtype", TYPES)
def test_ties_go_to_the_lowest_index(dtype: torch.dtype) -> None:
    """Of entries of one magnitude the first ones are kept, whatever their signs."""
    x = torch.tensor([[1.0, -1.0, 1.0, 1.0], [0.5, 2.0, -2.0, 2.0]], dtype=dtype)
    expected = torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.0, 2.0, -2.0, 0.0]], dtype=dtype)
    assert torch.equal(expected, abs_topk(x, 2))


@pytest.mark.parametrize("dtype", TYPES)
def test_minus_zero_ties_with_zero_and_keeps_its_sign(dtype: torch.dtype) -> None:
    """-0.0 has the magnitude of 0.0: kept by index, with its sign bit; dropped, it becomes 0.0."""
    x = torch.tensor([[0.0, -0.0, 3.0], [-0.0, 0.0, -0.0]], dtype=dtype)
    expected = torch.tensor([[0.0, 0.0, 3.0], [-0.0, 0.0, 0.0]], dtype=dtype)
    assert torch.equal(bits(expected), bits(abs_topk(x, 2)))


@pytest.mark.parametrize("dtype", TYPES)
def test_extremes_are_ordered_right(dtype: torch.dtype) -> None:
    """Infinities rank above everything finite and subnormals above zero."""
    tiny = torch.finfo(dtype).smallest_normal / 4
    x = torch.tensor([[tiny, 0.0, -torch.inf, torch.finfo(dtype).max]], dtype=dtype)
    expected = torch.tensor([[tiny, 0.0, -torch.inf, torch.finfo(dtype).max]], dtype=dtype)
    assert torch.equal(expected, abs_topk(x, 3))


@pytest.mark.parametrize("dtype", TYPES)
def test_the_gradient_flows_through_the_kept_entries_only(dtype: torch.dtype) -> None:
    """The gradient is the incoming one where an entry was kept, and zero elsewhere."""
    x = torch.randn(6, 40, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
    incoming = torch.randn(6, 40, generator=torch.Generator().manual_seed(2)).to(dtype)
    abs_topk(x, 10).backward(incoming)
    kept = abs_topk_reference(x.detach(), 10) != 0
    assert kept.sum() == 60
    assert x.grad is not None
    assert torch.equal(torch.where(kept, incoming, torch.zeros_like(incoming)), x.grad)


def test_a_transposed_input_is_read_in_its_own_order() -> None:
    """Rows of a tensor that is not contiguous are its last axis all the same."""
    x = torch.randn(16, 5, generator=torch.Generator().manual_seed(3))
    assert torch.equal(abs_topk_reference(x.T, 4), abs_topk(x.T, 4))


def test_an_empty_tensor_stays_empty() -> None:
    """No rows, no work."""
    assert abs_topk(torch.zeros(0, 8), 2).shape == (0, 8)


@pytest.mark.parametrize("k", [1, 3, 8, 11])
@pytest.mark.parametrize("ties", [False, True])
def test_survivors_are_those_of_the_whole_row(k: int, ties: bool) -> None:
    """Some channels vary and some are fixed: the wanted ones equal those of a full selection."""
    generator = torch.Generator().manual_seed(k)
    rows = torch.randn(40, 12, generator=generator)
    rows = rows.round() if ties else rows
    index = torch.tensor([0, 2, 3, 6, 7, 9, 11])
    rest = torch.tensor([1, 4, 5, 8, 10])
    rows[:, rest] = rows[0, rest]
    magnitude, order = rows[0, rest].abs().sort(descending=True)
    wanted = torch.tensor([1, 3, 6])
    expected = abs_topk_reference(rows, k)[:, index[wanted]]
    actual = survivors(rows[:, index], wanted, k, index, (magnitude, rest[order]))
    assert torch.equal(expected, actual)
