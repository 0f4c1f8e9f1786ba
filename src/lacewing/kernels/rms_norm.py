"""Root-mean-square norm in two passes, one forward and one backward.

    y = x gain / sqrt(mean(x^2) + epsilon)

torch writes it out as some fifteen operations on the whole residual stream.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lacewing.kernels.jit import CHUNKS, jitted, numbers

EPSILON = float(torch.finfo(torch.float32).eps)
"""What torch adds to the mean square of float32."""


def rms_norm(
    x: Float[Tensor, "*row channel"], gain: Float[Tensor, " channel"]
) -> Float[Tensor, "*row channel"]:
    """Divide every row by its root mean square, times a gain per channel.

    Args:
        x: float32 on a CPU takes the fast path.
        gain: One factor per channel.

    Source: arXiv 1910.07467; torch.nn.functional.rms_norm is the reference.
    """
    plain = x.device.type == "cpu" and x.dtype == gain.dtype == torch.float32 and x.numel()
    if not plain:
        return F.rms_norm(x, gain.shape, gain)
    out: Tensor = _RMSNorm.apply(x, gain)  # type: ignore[no-untyped-call]
    return out


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, gain: Tensor) -> Tensor:
        from lacewing.kernels.cpu import rms_norm as loops

        rows, gain = x.detach().reshape(-1, x.shape[-1]).contiguous(), gain.detach().contiguous()
        out, size = torch.empty_like(rows), torch.empty(len(rows))
        arrays = numbers(rows), numbers(gain), np.float32(EPSILON), numbers(out), numbers(size)
        jitted(loops.forward, reorder=True)(*arrays)
        ctx.save_for_backward(rows, gain, size)
        return out.view(x.shape)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        from lacewing.kernels.cpu import rms_norm as loops

        rows, gain, size = ctx.saved_tensors  # type: ignore[attr-defined]
        given = grad.reshape(rows.shape).float().contiguous()
        slope, sums = torch.empty_like(rows), torch.zeros(CHUNKS, len(gain))
        arrays = [numbers(t) for t in (given, rows, gain, size, slope, sums)]
        jitted(loops.backward, reorder=True)(*arrays)
        return slope.view(grad.shape), sums.sum(0)
