"""Keep the largest: the fast path against full sorts, the floor by hand."""

import pytest
import torch

from lacewing.errors import ConfigError
from lacewing.kernels.keep_largest import Axis, check_floor, keep_largest_, largest_reference


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
            kept = weight.clone()
            keep_largest_(kept, k, floor, axis)
            assert torch.equal(weight.masked_fill(~expected, 0), kept), (k, floor, axis)


def test_k_counts_the_whole_matrix_not_rows() -> None:
    """Without a floor a row of small weights loses everything."""
    weight = torch.tensor([[5.0, -4.0, 3.0], [0.1, 0.2, -0.3]])
    keep_largest_(weight, 3)
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
    keep_largest_(weight, 4, floor=4)
    assert torch.equal(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), weight)


@pytest.mark.parametrize(("shape", "axis"), [((300, 200), "row"), ((200, 300), "column")])
def test_matrices_of_real_size_equal_the_reference(shape: tuple[int, int], axis: Axis) -> None:
    """Most entries tiny and a few large, as after a training step: same entries, to the bit."""
    generator = torch.Generator().manual_seed(5)
    alive = torch.rand(shape, generator=generator) < 0.05
    weight = torch.randn(shape, generator=generator) * torch.where(alive, 1.0, 1e-3)
    expected = weight.masked_fill(~largest_reference(weight, 3000, 4, axis), 0)
    keep_largest_(weight, 3000, 4, axis)
    assert int(torch.count_nonzero(weight)) == 3000
    assert torch.equal(expected, weight)


def test_what_is_not_contiguous_is_still_done_in_place() -> None:
    """A transposed view takes the slow path and gives the same."""
    weight = torch.randn(40, 30, generator=torch.Generator().manual_seed(5))
    expected = weight.masked_fill(~largest_reference(weight.T, 57, 1, "column").T, 0)
    keep_largest_(weight.T, 57, 1, "column")
    assert torch.equal(expected, weight)
