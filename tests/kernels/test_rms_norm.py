"""The norm and its gradients against torch's."""

import torch
from torch.nn import functional as F

from lacewing.kernels.rms_norm import EPSILON, rms_norm


def test_equals_torch() -> None:
    """Values and both gradients, on several leading axes and a width that fills no vector."""
    for shape in ((3, 5, 64), (2, 37), (1, 1)):
        x, gain = (
            (3 * torch.randn(shape)).requires_grad_(),
            torch.randn(shape[-1:]).requires_grad_(),
        )
        out, grad = rms_norm(x, gain), torch.randn(shape)
        expected = F.rms_norm(x, gain.shape, gain)
        torch.testing.assert_close(expected, out)
        for right, value in zip(
            torch.autograd.grad(expected, (x, gain), grad),
            torch.autograd.grad(out, (x, gain), grad),
            strict=True,
        ):
            torch.testing.assert_close(right, value, rtol=1e-4, atol=1e-5)


def test_a_row_of_zeros_stays_zero() -> None:
    """The epsilon keeps its gradient finite: the gain over its root."""
    x = torch.zeros(1, 8, requires_grad=True)
    out = rms_norm(x, torch.ones(8))
    out.sum().backward()
    assert out.detach().tolist() == [[0.0] * 8]
    assert x.grad is not None
    torch.testing.assert_close(torch.full((1, 8), EPSILON**-0.5), x.grad)


def test_other_types_take_the_reference() -> None:
    """Doubles are normed as torch does."""
    x = torch.randn(4, 6, dtype=torch.float64)
    gain = torch.ones(6, dtype=torch.float64)
    assert torch.equal(F.rms_norm(x, gain.shape, gain), rms_norm(x, gain))
