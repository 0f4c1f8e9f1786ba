"""Keep the largest: the fast path against full sorts, the floor by hand."""

import pytest
import torch

from lacewing.errors import ConfigError
from lacewing.kernels.keep_largest import (
    Axis,
    check_floor,
    keep_largest_,
    largest,
    largest_reference,
)


@pytest.mark.parametrize("axis", ["row", "column"])
@pytest.mark.parametrize("floor", [0, 1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_the_sorting_reference(axis: Axis, floor: int, dtype: torch.dtype) -> None:
    """The mask equals that of full stable sorts, with and without ties, from the least k to all."""
    generator = torch.Generator().manual_seed(floor)
    for weight in (
        torch.randn(24, 16, generator=generator),
        torch.randn(24, 16, generator=generator).round() * -1,  # ties, and zeros of both signs
        torch.zeros(24, 16),
    ):
        weight = weight.to(dtype)
        for k in (max(1, 24 * floor), 100, 383, 384):
            expected = largest_reference(weight, k, floor, axis)
            assert k == int(expected.sum())
            assert torch.equal(expected, largest(weight, k, floor, axis)), (k, floor, axis)


def test_k_counts_the_whole_matrix_not_rows() -> None:
    """Without a floor a row of small weights loses everything."""
    weight = torch.tensor([[5.0, -4.0, 3.0], [0.1, 0.2, -0.3]])
    mask = keep_largest_(weight, 3)
    assert mask.tolist() == [[True, True, True], [False, False, False]]
    assert torch.equal(torch.tensor([[5.0, -4.0, 3.0], [0.0, 0.0, 0.0]]), weight)


def test_ties_go_to_the_lowest_flat_index() -> None:
    """Of equal magnitudes the first in row order stay."""
    weight = torch.tensor([[1.0, -2.0], [2.0, -2.0]])
    keep_largest_(weight, 2)
    assert weight.tolist() == [[0.0, -2.0], [2.0, 0.0]]


def test_the_floor_on_rows_counts_inside_k() -> None:
    """Each row keeps its largest; what is left of k goes to the largest of all."""
    weight = torch.tensor([[5.0, 4.0, 3.0, 2.0], [0.1, 0.2, 0.3, -0.4]])
    keep_largest_(weight, 3, floor=1, axis="row")
    assert torch.equal(torch.tensor([[5.0, 4.0, 0, 0], [0, 0, 0, -0.4]]), weight)


def test_the_floor_on_columns_protects_outgoing_weights() -> None:
    """Each column keeps its largest, though all of them are below the first row's."""
    weight = torch.tensor([[5.0, 4.0, 0.1], [4.5, 3.0, -0.2]])
    keep_largest_(weight, 4, floor=1, axis="column")
    assert torch.equal(torch.tensor([[5.0, 4.0, 0], [4.5, 0, -0.2]]), weight)


@pytest.mark.parametrize(("axis", "fits"), [("row", 24), ("column", 12)])
def test_a_floor_that_k_cannot_pay_for_is_refused(axis: Axis, fits: int) -> None:
    """8x4 with a floor of 3 needs 24 by rows and 12 by columns: one less is an error."""
    check_floor((8, 4), fits, 3, axis)
    weight = torch.ones(8, 4)
    with pytest.raises(ConfigError, match=f"floor of 3 per {axis} needs {fits}"):
        keep_largest_(weight, fits - 1, floor=3, axis=axis)
    assert torch.equal(torch.ones(8, 4), weight), "the weights must not change"


def test_a_floor_above_the_length_protects_whole_lines() -> None:
    """A row of two weights cannot keep four: it keeps two."""
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert largest(weight, 4, floor=4).all()


def test_a_mask_is_in_place_and_returned() -> None:
    """Exactly k weights are left, and they are the ones the mask names."""
    weight = torch.randn(40, 30, generator=torch.Generator().manual_seed(5))
    before = weight.clone()
    mask = keep_largest_(weight, 37)
    assert int(torch.count_nonzero(weight)) == 37
    assert torch.equal(before * mask, weight)
    assert before[mask].abs().min() >= before[~mask].abs().max()
