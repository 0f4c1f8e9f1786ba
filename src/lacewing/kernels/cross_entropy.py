"""Next-token cross-entropy that touches the large logit tensor as few times as it can.

torch's own backward fills a zero tensor of the logits' size, scatters into it and passes it through
log-softmax. The gradient is simply softmax(logits) - onehot(target), so that is what is computed.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def cross_entropy(
    logits: Float[Tensor, "token vocab"], targets: Int[Tensor, " token"]
) -> Float[Tensor, ""]:
    """Mean negative log-probability of the targets, in nats; computed in float32.

    Args:
        logits: Unnormalised log-probabilities.
        targets: The true next token of every row.
    """
    loss: Tensor = _CrossEntropy.apply(logits, targets)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, logits: Tensor, targets: Tensor
    ) -> Tensor:
        log_p = torch.log_softmax(logits.float(), dim=-1)
        ctx.save_for_backward(log_p, targets)
        return -log_p.gather(1, targets[:, None]).mean()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        log_p, targets = ctx.saved_tensors  # type: ignore[attr-defined]
        out = log_p.exp()
        rows = torch.arange(len(targets), device=targets.device)
        out[rows, targets] -= 1
        return out.mul_(grad / len(targets)), None
