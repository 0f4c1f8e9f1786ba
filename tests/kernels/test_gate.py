"""The mask on activations: several circuits in one batch against loops."""

import pytest
import torch

from lacewing.kernels.gate import gate


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_each_sequence_has_its_own_circuit(dtype: torch.dtype) -> None:
    """Values, the gradient of the values and that of the masks, written out."""
    x = torch.randn(5, 3, 7).to(dtype).requires_grad_()
    on = torch.rand(2, 7) < 0.5
    step = on.float().requires_grad_()
    mean, whose = torch.randn(7), torch.tensor([0, 1, 1, 0, 1])
    out, grad = gate(x, step, on, mean, whose), torch.randn(5, 3, 7).to(dtype)
    out.backward(grad)
    expected = torch.zeros(2, 7)
    for b in range(5):
        lit = on[whose[b]]
        assert torch.equal(torch.where(lit, x[b], mean.to(dtype)), out[b])
        assert x.grad is not None
        assert torch.equal(grad[b] * lit, x.grad[b])
        expected[whose[b]] += ((x[b].detach().float() - mean) * grad[b].float()).sum(0)
    assert step.grad is not None
    torch.testing.assert_close(expected, step.grad, rtol=1e-4, atol=1e-4)
