"""Node masks on activations: on or filled with a mean, one mask per circuit of a batch.

    forward     y = x where on, mean elsewhere
    backward    dx = dy where on;  d on = sum over rows of (x - mean) dy

Several circuits can run as one batch: every row of activations says which circuit it belongs to.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lacewing.kernels.jit import CHUNKS, jitted, numbers


def gate(
    x: Float[Tensor, "batch token channel"],
    slope: Float[Tensor, "circuit channel"],
    on: Bool[Tensor, "circuit channel"],
    mean: Float[Tensor, " channel"],
    circuit: Int[Tensor, " batch"],
) -> Float[Tensor, "batch token channel"]:
    """Let channels pass where their circuit's mask is on, and put the mean elsewhere.

    Args:
        x: Activations at one site.
        slope: Differentiable; gets the gradient of `on`, as if that were a number.
        on: The masks.
        mean: What dropped channels are replaced by.
        circuit: Which circuit every sequence belongs to.
    """
    if not x.shape[-1]:  # a site without nodes
        return x
    out: Tensor = _Gate.apply(x, slope, on, mean, circuit)  # type: ignore[no-untyped-call]
    return out


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: Tensor,
        slope: Tensor,
        on: Tensor,
        mean: Tensor,
        circuit: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(x, on, mean, circuit)
        if not _plain(x):
            return torch.where(on[circuit].unsqueeze(1), x, mean.to(x.dtype))
        from lacewing.kernels.cpu import gate as loops

        rows = x.detach().reshape(-1, x.shape[-1]).contiguous()
        out, group = torch.empty_like(rows), circuit.repeat_interleave(x.shape[1])
        arrays = numbers(rows), numbers(on), numbers(mean.to(x.dtype)), numbers(group)
        jitted(loops.forward)(*arrays, numbers(out))
        return out.view(x.shape)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor, Tensor, None, None, None]:
        x, on, mean, circuit = ctx.saved_tensors  # type: ignore[attr-defined]
        if not _plain(x) or grad.dtype != x.dtype:
            return _backward_reference(grad, x, on, mean, circuit)
        from lacewing.kernels.cpu import gate as loops

        width = x.shape[-1]
        rows, given = (t.detach().reshape(-1, width).contiguous() for t in (x, grad))
        out, group = torch.empty_like(rows), circuit.repeat_interleave(x.shape[1])
        sums = torch.zeros(CHUNKS, len(on), width)
        arrays = [numbers(t) for t in (given, rows, on, mean, group, out, sums)]
        jitted(loops.backward)(*arrays)
        return out.view(x.shape), sums.sum(0), None, None, None


def _backward_reference(
    grad: Tensor, x: Tensor, on: Tensor, mean: Tensor, circuit: Tensor
) -> tuple[Tensor, Tensor, None, None, None]:
    moved = ((x.float() - mean) * grad.float()).sum(1)
    sums = torch.zeros(on.shape, dtype=moved.dtype, device=x.device).index_add_(0, circuit, moved)
    return grad * on[circuit].unsqueeze(1).to(grad.dtype), sums, None, None, None


def _plain(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16)
