"""The trainable node mask: one number tau per node, on where tau > 0.

    forward    x -> x where on, mean where off                 the step function H(tau)
    backward   d/dtau = sum (x - mean) grad  sigmoid'(tau / T)  a surrogate for the step's slope

The same mask holds for every token and prompt; tau is clamped to [-1, 1] after every step (paper
A.5, method section 6). Masks of several circuits can run as one batch, each on its own sequences.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lacewing.kernels.gate import gate
from lacewing.model.protocol import SiteHook


class NodeMask:
    """tau of every node of a model, as one flat parameter."""

    def __init__(
        self,
        widths: Mapping[str, int],
        means: Mapping[str, Tensor],
        init: Tensor,
        temperature: float,
        forbidden: Tensor | None = None,
    ) -> None:
        """A mask as it starts.

        Args:
            widths: Channels at every site key.
            means: What stands for nodes that are off.
            init: tau of every node.
            temperature: Width of the surrogate for the step.
            forbidden: Nodes that are always off, as a flat bool; none by default.
        """
        self.widths, self.temperature = dict(widths), temperature
        # Copies, because means measured in inference mode could not be saved for the backward pass.
        self.means = {key: mean.clone() for key, mean in means.items()}
        self.forbidden = (
            torch.zeros(len(init), dtype=torch.bool) if forbidden is None else forbidden
        )
        self.tau = init.clamp(-1, 1).masked_fill(self.forbidden, -1).requires_grad_()

    def edits(self) -> dict[str, SiteHook]:
        """Hooks that put the mask on every site; gradients reach `tau`."""
        return edits([self], None)

    def count(self) -> Float[Tensor, ""]:
        """Number of nodes that are on; its gradient passes through the surrogate too."""
        return step(self.tau, self.temperature).sum()

    def top(self, k: int) -> dict[str, Bool[Tensor, " channel"]]:
        """Masks that keep the k nodes of highest tau, ties by position; never a forbidden one."""
        kept = torch.zeros(len(self.tau), dtype=torch.bool)
        kept[ranked(self.tau)[:k]] = True
        return self.by_site(kept & ~self.forbidden)

    def on(self) -> dict[str, Bool[Tensor, " channel"]]:
        """Masks that keep the nodes that are on."""
        return self.by_site(self.tau.detach() > 0)

    def by_site(self, nodes: Tensor) -> dict[str, Tensor]:
        """One value per node of the model, split into those of each site."""
        parts = torch.split(nodes, list(self.widths.values()))
        return dict(zip(self.widths, parts, strict=True))

    def clamp_(self) -> None:
        """Bring tau back into [-1, 1], and to -1 where nodes are forbidden."""
        with torch.no_grad():
            self.tau.clamp_(-1, 1).masked_fill_(self.forbidden, -1)


@runtime_checkable
class Mask(Protocol):
    """What is learned: tau, and how it is kept in its bounds."""

    tau: Tensor

    def clamp_(self) -> None:
        """Bring tau back into its bounds."""


def step(tau: Tensor, temperature: float) -> Tensor:
    """1 where tau is above 0, else 0; with the surrogate's slope."""
    on: Tensor = _Step.apply(tau, temperature)  # type: ignore[no-untyped-call]
    return on


def slope(tau: Tensor, temperature: float) -> Tensor:
    """Derivative of the sigmoid at tau / T: what the backward pass takes for the step's."""
    p = torch.sigmoid(tau / temperature)
    return p * (1 - p)


def ranked(tau: Tensor) -> Tensor:
    """Indices of tau from the highest to the lowest, ties by index."""
    return torch.sort(tau.detach(), descending=True, stable=True).indices


def edits(masks: Sequence[NodeMask], circuit: Tensor | None) -> dict[str, SiteHook]:
    """Hooks that put several masks of one model on every site, each on its own sequences.

    Args:
        masks: All of one model and one temperature.
        circuit: Which mask every sequence of the batch has, as int64; none if there is only one.
    """
    return gates(masks, lambda key: circuit)


def gates(
    masks: Sequence[NodeMask],
    circuit: Callable[[str], Tensor | None],
    means: Mapping[str, Tensor] | None = None,
) -> dict[str, SiteHook]:
    """The same where rows of sites need be no sequences, and what is off need not have its mean.

    Args:
        masks: All of one model and one temperature.
        circuit: By site key, which mask every row of its values has.
        means: By site key, what stands for what is off; by default its mean.
    """
    means = masks[0].means if means is None else means
    return {
        key: functools.partial(
            _gated, step, (step.detach() > 0).contiguous(), means[key], circuit(key)
        )
        for key, step in steps(masks).items()
    }


def steps(masks: Sequence[NodeMask]) -> dict[str, Float[Tensor, "circuit channel"]]:
    """Per site key 1 where a mask is on and 0 elsewhere; gradients reach `tau`."""
    first = masks[0]
    on = step(torch.stack([mask.tau for mask in masks]), first.temperature)
    return dict(zip(first.widths, torch.split(on, list(first.widths.values()), dim=1), strict=True))


def _gated(step: Tensor, on: Tensor, mean: Tensor, circuit: Tensor | None, value: Tensor) -> Tensor:
    only = torch.zeros(len(value), dtype=torch.long, device=value.device)
    return gate(value, step, on, mean, only if circuit is None else circuit)


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
