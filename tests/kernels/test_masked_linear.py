"""Maps between masked sites against the same written out, one operation after the other."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lacewing.kernels.masked_linear import (
    Between,
    Site,
    masked_linear,
    masked_linear_reference,
    masked_parts,
    rows_of,
    tiled,
)
from lacewing.kernels.sparse_linear import SparseWeight

WIDE, BESIDE, ROWS = 48, 16, 96


def drawn(*shape: int, seed: int) -> Tensor:
    """Random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def site(width: int, seed: int) -> Site:
    """A mask that keeps a third."""
    step = (drawn(width, seed=seed) > 0.4).float().requires_grad_()
    return Site(step, drawn(width, seed=seed + 1))


def sparse(rows: int, columns: int) -> Tensor:
    """A matrix of which a tenth is not zero."""
    return drawn(rows, columns, seed=1) * (drawn(rows, columns, seed=2) > 1.3)


def stages() -> dict[str, tuple[Between, Tensor, bool]]:
    """The maps of a block, by what they do: with their weights, and whether a base is added."""
    into, through = sparse(ROWS, WIDE + BESIDE), sparse(ROWS, WIDE)
    plain = Between(SparseWeight(through), drawn(ROWS, seed=3))
    normed = Between(
        SparseWeight(into),
        drawn(ROWS, seed=3),
        gain=drawn(WIDE, seed=4),
        read=site(WIDE + BESIDE, 5),
        keep=20,
    )
    written = replace(plain, written=site(ROWS, 7), parts=(24,))
    return {
        "normed to heads": (replace(normed, written=site(ROWS, 7), parts=(0, 9, 8)), into, False),
        "heads to stream": (written, through, True),
        "normed to neurons": (normed, into, False),
        "gelu to stream": (
            replace(written, activation="gelu", read=site(WIDE, 9), keep=7),
            through,
            True,
        ),
        "relu to stream": (
            replace(written, activation="relu", read=site(WIDE, 9), keep=7),
            through,
            True,
        ),
    }


@pytest.mark.parametrize("tokens", [5, 64, 150])
@pytest.mark.parametrize("name", stages())
def test_values_and_gradients_equal_the_reference(name: str, tokens: int) -> None:
    """Outputs and the gradients of inputs, both masks and base; in tiles, and token by token."""
    between, weight, based = stages()[name]
    between = replace(
        between, beside=None if between.gain is None else tiled(drawn(tokens, BESIDE, seed=11))
    )
    given, base = drawn(tokens, WIDE, seed=12), drawn(tokens, ROWS, seed=13) if based else None
    slopes, every = drawn(tokens, ROWS, seed=14), torch.arange(tokens)
    found = []
    for fast in (False, True):
        x = given.clone().requires_grad_()
        also = base.clone().requires_grad_() if base is not None else None
        masks = [s for s in (between.read, between.written) if s]
        for mask in masks:
            mask.step.grad = None
        if not fast:
            out = masked_linear_reference(x, between, weight, also)
        elif len(between.parts) > 1:
            out = torch.cat(masked_parts(tiled(x), between, tokens), dim=1)
        else:
            rows = x if between.read is None else tiled(x)
            out = rows_of(
                masked_linear(rows, between, None if also is None else tiled(also)), every
            )
        (out * slopes).sum().backward()
        steps = [mask.step.grad.clone() for mask in masks]
        found.append([out.detach(), x.grad, *steps, *([also.grad] if also is not None else [])])
    for expected, actual in zip(*found, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_of_equal_magnitudes_the_first_stay() -> None:
    """Ties at the cut are broken as AbsTopK breaks them."""
    between, weight, _ = stages()["gelu to stream"]
    between = replace(between, activation="none", keep=9)
    x = drawn(70, WIDE, seed=1).round()
    expected = masked_linear_reference(x, between, weight)
    actual = rows_of(masked_linear(tiled(x), between), torch.arange(70))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_outputs_nobody_keeps_take_no_part_in_the_gradient() -> None:
    """Where `passed` says that nothing comes back, the slopes there are not looked at."""
    between, _, _ = stages()["normed to neurons"]
    beside, kept = tiled(drawn(20, BESIDE, seed=11)), drawn(ROWS, seed=2) > 0
    given, slopes = drawn(20, WIDE, seed=12), drawn(20, ROWS, seed=14)
    found = []
    for passed, slope in ((None, slopes * kept), (kept, slopes)):
        x = given.clone().requires_grad_()
        out = masked_linear(tiled(x), replace(between, beside=beside, passed=passed))
        (rows_of(out, torch.arange(20)) * slope).sum().backward()
        found.append(x.grad)
    torch.testing.assert_close(*found)
