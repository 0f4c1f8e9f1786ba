"""The projection in Triton, many matrices at once, against full stable sorts."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from lacewing.kernels.keep_largest import largest_reference

Job = tuple[Tensor, int, int, str]


def expected(weight: Tensor, k: int, floor: int, axis: str) -> Tensor:
    """What is to be left of a matrix."""
    assert axis in ("row", "column")
    mask = largest_reference(weight, k, floor, "row" if axis == "row" else "column")
    return weight.masked_fill(~mask, 0)


def agrees(jobs: Sequence[Job], device: torch.device, steps: int = 3) -> None:
    """All of them, and again after small changes, as an optimizer makes them."""
    from lacewing.kernels.cuda import keep_largest as cuda

    weights = [w.clone().to(device) for w, *_ in jobs]
    ks, floors, axes = zip(*[job[1:] for job in jobs], strict=True)
    noise = torch.Generator().manual_seed(0)
    for _ in range(steps):
        wanted = [expected(w, *job[1:]) for w, job in zip(weights, jobs, strict=True)]
        cuda.keep_largest_(weights, ks, floors, axes)
        for right, weight in zip(wanted, weights, strict=True):
            assert torch.equal(right, weight)
        for weight in weights:
            weight += 0.01 * torch.randn(weight.shape, generator=noise).to(device)


def test_many_matrices_at_once(device: torch.device) -> None:
    """Shapes that are no powers of two, floors on either side or none, more than one chunk."""
    draw = torch.Generator().manual_seed(1)
    jobs: list[Job] = [
        (torch.randn(37, 50, generator=draw), 300, 4, "row"),
        (torch.randn(64, 32, generator=draw), 200, 2, "column"),
        (torch.randn(200, 150, generator=draw), 3000, 4, "column"),
        (torch.randn(130, 128, generator=draw), 260, 2, "row"),
        (torch.randn(1, 99, generator=draw), 10, 0, "row"),
        (torch.randn(3, 7, generator=draw), 20, 0, "row"),
    ]
    agrees(jobs, device)


def test_ties_go_to_the_lowest_index(device: torch.device) -> None:
    """Whole numbers, all zeros, both signs of zero, all equal: the first of the ties stay."""
    draw = torch.Generator().manual_seed(2)
    whole = torch.randint(-3, 4, (150, 140), generator=draw).float()
    jobs: list[Job] = [
        (whole, 700, 4, "column"),
        (whole.clone(), 9000, 0, "row"),
        (torch.zeros(30, 30), 70, 1, "row"),
        (torch.full((40, 50), -0.5), 123, 2, "row"),
        (torch.tensor([[0.0, -0.0, 1.0, -1.0, 1.0]]), 2, 0, "row"),
    ]
    agrees(jobs, device, steps=1)


@pytest.mark.parametrize("axis", ["row", "column"])
def test_the_floor_alone(axis: str, device: torch.device) -> None:
    """A budget that the floor uses up keeps exactly the largest of every line, ties included."""
    weight = torch.randint(-9, 10, (20, 20), generator=torch.Generator().manual_seed(3)).float()
    agrees([(weight, 60, 3, axis), (weight.clone(), 400, 30, axis)], device, steps=1)


@pytest.mark.parametrize("k", [1, 2, 399, 400, 500])
def test_edges_of_k(k: int, device: torch.device) -> None:
    """One entry, all but one, all, and more than there are."""
    weight = torch.randn(20, 20, generator=torch.Generator().manual_seed(k))
    agrees([(weight, k, 0, "row")], device, steps=2)


def test_exact_however_far_the_threshold_moves(device: torch.device) -> None:
    """Weights that shrink or grow a thousandfold, or keep changing k, mislead the guess only."""
    from lacewing.kernels.cuda import keep_largest as cuda

    weight = torch.randn(90, 100, generator=torch.Generator().manual_seed(4)).to(device)
    for scale, k in ((1.0, 500), (1e-3, 500), (1e6, 500), (1.0, 100), (1.0, 2000), (1.0, 8999)):
        now = torch.randn(90, 100, generator=torch.Generator().manual_seed(k)).to(device) * scale
        weight.copy_(now)
        cuda.keep_largest_([weight], [k], [1], ["row"])
        assert torch.equal(expected(now, k, 1, "row"), weight)


def test_what_stays_is_scaled(device: torch.device) -> None:
    """A factor, such as weight decay, is applied to the entries kept, where it is asked for."""
    from lacewing.kernels.cuda import keep_largest as cuda

    one = torch.tensor([[3.0, -1.0], [0.5, -4.0]], device=device)
    other = one.clone()
    cuda.keep_largest_([one, other], [2, 2], factor=0.5, scaled=[True, False])
    assert torch.equal(torch.tensor([[1.5, 0.0], [0.0, -2.0]], device=device), one)
    assert torch.equal(torch.tensor([[3.0, 0.0], [0.0, -4.0]], device=device), other)


def test_nothing_to_do() -> None:
    """No matrices are no error."""
    from lacewing.kernels.cuda import keep_largest as cuda

    cuda.keep_largest_([], [])
    assert not cuda.covers(torch.zeros(2, 2, dtype=torch.float64), 0)
    assert not cuda.covers(torch.zeros(4, 2).t(), 0)
    assert cuda.covers(torch.zeros(4, 2), 1)
