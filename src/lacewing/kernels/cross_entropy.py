"""Mean cross-entropy of next-token logits, with the gradient made in the same pass.

The gradient of a loss is its softmax less one at the answer, so nothing but that is kept: no
float32 copy of the logits, no log-probabilities, one array as large as the logits in all.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from lacewing.kernels.jit import jitted, numbers

LANES = 16


def cross_entropy(
    logits: Float[Tensor, "row vocab"], answers: Int[Tensor, " row"]
) -> Float[Tensor, ""]:
    """Mean of -log softmax(logits)[answer], in nats.

    Args:
        logits: float32 or bfloat16; sums are in float32 either way.
        answers: Token ids.
    """
    if not _fast(logits):
        return F.cross_entropy(logits.float(), answers)
    loss: Tensor = _CrossEntropy.apply(logits, answers)  # type: ignore[no-untyped-call]
    return loss


def _fast(logits: Tensor) -> bool:
    known = logits.dtype in (torch.float32, torch.bfloat16)
    return logits.device.type == "cpu" and known and logits.shape[1] % LANES == 0


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, logits: Tensor, answers: Tensor
    ) -> Tensor:
        from lacewing.kernels.cpu import cross_entropy as loops

        logits, rows = logits.detach().contiguous(), len(logits)
        gradient, level = torch.empty_like(logits), torch.empty(rows)
        softmax = jitted(loops.softmax)
        softmax(numbers(logits), np.float32(1 / rows), numbers(gradient), numbers(level))
        right = torch.arange(rows)
        gradient[right, answers] -= 1 / rows
        ctx.save_for_backward(gradient)
        return (level - logits[right, answers].float()).mean()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return (gradient if float(grad) == 1.0 else gradient * grad.to(gradient.dtype)), None
