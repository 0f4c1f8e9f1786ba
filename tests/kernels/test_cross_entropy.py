"""The loss and its gradient against torch's."""

import pytest
import torch
from torch.nn import functional as F

from lacewing.kernels.cross_entropy import cross_entropy


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("vocab", [16, 48, 50])
def test_equals_torch(dtype: torch.dtype, vocab: int) -> None:
    """Loss and gradient, with logits far from zero, times a factor from outside."""
    logits = (30 * torch.randn(7, vocab) + 200).to(dtype).requires_grad_()
    answers = torch.arange(7) * 2 % vocab
    loss = cross_entropy(logits, answers)
    plain = logits.detach().float().requires_grad_()
    expected = F.cross_entropy(plain, answers)
    torch.testing.assert_close(expected, loss.float(), rtol=1e-5, atol=1e-5)
    (3 * loss).backward()
    (3 * expected).backward()
    assert plain.grad is not None
    assert logits.grad is not None
    close = 1e-2 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(plain.grad, logits.grad.float(), rtol=close, atol=close)


def test_certain_and_hopeless_answers() -> None:
    """Nothing for the certain one, the whole distance for the other; no infinity, no NaN."""
    logits = torch.zeros(2, 16)
    logits[:, 3] = 1000.0
    logits.requires_grad_()
    loss = cross_entropy(logits, torch.tensor([3, 4]))
    loss.backward()
    assert pytest.approx(500.0) == float(loss.detach())
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert pytest.approx(-0.5) == float(logits.grad[1, 4])
