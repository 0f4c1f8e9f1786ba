"""Cross-entropy against torch's own."""

import math

import pytest
import torch

from lacewing.kernels.cross_entropy import cross_entropy


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_value_and_gradient_equal_torchs(dtype: torch.dtype) -> None:
    """Loss and gradient are those of torch's cross-entropy of the same logits in float32."""
    generator = torch.Generator().manual_seed(0)
    logits = (5 * torch.randn(7, 50, generator=generator)).to(dtype)
    targets = torch.randint(50, (7,), generator=generator)
    theirs, ours = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    expected = torch.nn.functional.cross_entropy(theirs.float(), targets)
    actual = cross_entropy(ours, targets)
    torch.testing.assert_close(actual, expected)
    (3 * expected).backward()
    (3 * actual).backward()
    assert ours.grad is not None
    assert dtype == ours.grad.dtype
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_equal_logits_cost_the_log_of_their_number() -> None:
    """Nothing known of four tokens: ln 4 nats."""
    assert math.log(4) == pytest.approx(
        float(cross_entropy(torch.zeros(3, 4), torch.tensor([0, 1, 3])))
    )


def test_huge_logits_do_not_overflow() -> None:
    """A right answer 10,000 nats ahead costs nothing, a wrong one 10,000 nats."""
    logits = torch.tensor([[1e4, 0.0], [0.0, 1e4]])
    assert float(cross_entropy(logits, torch.tensor([0, 1]))) == 0.0
    assert float(cross_entropy(logits, torch.tensor([1, 0]))) == 1e4
