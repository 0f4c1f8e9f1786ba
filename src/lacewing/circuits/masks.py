"""The trainable node mask: one number tau per node, on where tau > 0.

    forward    x -> x where on, mean where off                 the step function H(tau)
    backward   d/dtau = sum (x - mean) grad  sigmoid'(tau / T)  a surrogate for the step's slope

The same mask holds for every token and prompt; tau is clamped to [-1, 1] after every step (paper
A.5, method section 6).
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lacewing.model.transformer import SiteHook


class NodeMask:
    """tau of every node of a model, as one flat parameter."""

    def __init__(
        self,
        widths: Mapping[str, int],
        means: Mapping[str, Tensor],
        init: Tensor,
        temperature: float,
    ) -> None:
        self.widths, self.temperature = dict(widths), temperature
        # Copies, because means measured in inference mode could not be saved for the backward pass.
        self.means = {key: mean.clone() for key, mean in means.items()}
        self.tau = init.clamp(-1, 1).requires_grad_()

    def edits(self) -> dict[str, SiteHook]:
        """Hooks that put the mask on every site; gradients reach `tau`."""
        parts = torch.split(self.tau, list(self.widths.values()))
        return {
            key: self._hook(part, self.means[key])
            for key, part in zip(self.widths, parts, strict=True)
        }

    def _hook(self, tau: Tensor, mean: Tensor) -> SiteHook:
        def hook(value: Tensor) -> Tensor:
            return _Gate.apply(value, tau, mean, self.temperature)  # type: ignore[no-untyped-call]

        return hook

    def count(self) -> Float[Tensor, ""]:
        """Number of nodes that are on; its gradient passes through the surrogate too."""
        count: Tensor = _Step.apply(self.tau, self.temperature).sum()  # type: ignore[no-untyped-call]
        return count

    def top(self, k: int) -> dict[str, Bool[Tensor, " channel"]]:
        """Masks that keep the k nodes of highest tau, ties by position."""
        order = torch.sort(self.tau.detach(), descending=True, stable=True).indices
        kept = torch.zeros(len(self.tau), dtype=torch.bool)
        kept[order[:k]] = True
        parts = torch.split(kept, list(self.widths.values()))
        return dict(zip(self.widths, parts, strict=True))

    def clamp_(self) -> None:
        """Bring tau back into [-1, 1]."""
        with torch.no_grad():
            self.tau.clamp_(-1, 1)


def slope(tau: Tensor, temperature: float) -> Tensor:
    """Derivative of the sigmoid at tau / T: what the backward pass takes for the step's."""
    p = torch.sigmoid(tau / temperature)
    return p * (1 - p)


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        value: Tensor,
        tau: Tensor,
        mean: Tensor,
        temperature: float,
    ) -> Tensor:
        ctx.save_for_backward(value, tau, mean)
        ctx.temperature = temperature  # type: ignore[attr-defined]
        return torch.where(tau > 0, value, mean.to(value.dtype))

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        value, tau, mean = ctx.saved_tensors  # type: ignore[attr-defined]
        flat = grad.flatten(0, -2)
        # sum (x - mean) grad, without forming x - mean for every token
        moved = _total(value.flatten(0, -2).float() * flat) - mean * _total(flat)
        through = torch.where(tau > 0, grad, torch.zeros((), dtype=grad.dtype))
        return through, moved * slope(tau, ctx.temperature), None, None  # type: ignore[attr-defined]


def _total(rows: Tensor) -> Tensor:
    return rows.sum(0, dtype=torch.float32)


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, tau: Tensor, temperature: float
    ) -> Tensor:
        ctx.save_for_backward(tau)
        ctx.temperature = temperature  # type: ignore[attr-defined]
        return (tau > 0).float()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        (tau,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad * slope(tau, ctx.temperature), None  # type: ignore[attr-defined]
