"""Linear maps of a model of transformers while a mask is learned: what is on, and no more.

    y = x W' + b      what is off in x stands at its mean, so only columns of what is on are read
    dx = dy W         only what is on passes a gradient on, so only rows of what is on are read

Every y is worked out, also where it is off: its distance from the mean is in the gradient of tau.
So values and gradients are those of the whole maps, up to the rounding of sums. The first tokens,
which no mask touches, get what the whole map gives them, once.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from lacewing.ablation.live_map import READS, Begun, by_module, exchanged
from lacewing.ablation.masks import Masks
from lacewing.model.huggingface.layouts import weight_of
from lacewing.model.huggingface.network import HuggingFaceNetwork
from lacewing.model.protocol import Network

FEW = 0.5
"""Share of the channels up to which taking out their columns or rows pays."""


@dataclass
class _Map:
    """What is known of one map before any mask is."""

    module: Any
    weight: Float[Tensor, "row column"]
    reads: str | None
    """The site that it reads; none for what heads bring."""
    writes: list[str]
    mean: Float[Tensor, " column"]
    """What stands there for nodes that are off."""
    bias: Float[Tensor, " row"]
    at_means: Float[Tensor, " row"]
    """What it gives where all that it reads is at its mean."""
    begun: Begun


class LearningMaps:
    """The maps of a model, for masks whose other nodes stand at their means."""

    def __init__(self, network: HuggingFaceNetwork, means: Mapping[str, Tensor]) -> None:
        """What every step needs again.

        Args:
            network: The model; its weights stay as they are.
            means: Per site key, what stands for nodes that are off.
        """
        self.spared, self.means = network.spared, means
        self.maps = [
            self._map(block.get_submodule(name), [f"{layer}.{site}" for site in sites])
            for layer, block in enumerate(network.blocks)
            for name, sites in by_module(network).items()
        ]

    @contextmanager
    def under(self, on: Masks) -> Iterator[None]:
        """Exchange the maps for the length of the block, backward passes too.

        Args:
            on: The nodes that are on.

        Example:
            >>> maps = LearningMaps(network, model.means)  # doctest: +SKIP
            >>> with maps.under(mask.on()):  # doctest: +SKIP
            ...     losses = gradients(network, [mask], [prompts], [penalty])
        """
        with exchanged({one.module: self._forward(one, on) for one in self.maps}):
            yield

    def _map(self, module: Any, writes: list[str]) -> _Map:
        weight = weight_of(module)
        layer, _, site = writes[0].partition(".")
        bias = weight.new_zeros(len(weight)) if module.bias is None else module.bias.detach()
        reads = f"{layer}.{READS[site]}" if site in READS else None
        mean = self.means[reads].to(weight) if reads else weight.new_zeros(weight.shape[1])
        begun = Begun(partial(_whole, module))
        return _Map(module, weight, reads, writes, mean, bias, bias + weight @ mean, begun)

    def _forward(self, one: _Map, on: Masks) -> Callable[[Tensor], Tensor]:
        written = _few(torch.cat([on[site] for site in one.writes]))
        read, start = _few(on[one.reads]) if one.reads else None, one.bias
        if read is not None:
            start = one.at_means - one.weight[:, read] @ one.mean[read]
        return partial(_through, one, start, read, written, self.spared)


def learning_maps(network: Network, means: Mapping[str, Tensor]) -> LearningMaps | None:
    """What makes the steps of a mask quicker; none where a model has another pass, or no other."""
    return LearningMaps(network, means) if isinstance(network, HuggingFaceNetwork) else None


def _few(on: Tensor) -> Int64[Tensor, " kept"] | None:
    """The channels that are on; none where they are many."""
    kept = on.nonzero().flatten()
    return kept if len(kept) <= FEW * len(on) else None


def _through(
    one: _Map,
    start: Tensor,
    read: Tensor | None,
    written: Tensor | None,
    spared: int,
    x: Float[Tensor, "batch token column"],
) -> Tensor:
    """What a map writes, [batch token channel]."""
    out: Tensor = _Between.apply(x, one.weight, start, read, written)  # type: ignore[no-untyped-call]
    if read is None:  # all was read, at the first tokens too
        return out
    first = one.begun(x[:, :spared].detach()).to(out.dtype)
    return torch.cat([first.expand(len(x), -1, -1), out[:, spared:]], dim=1)


def _whole(module: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        given: Tensor = type(module).forward(module, x.contiguous())
    return given


class _Between(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        start: Tensor,
        read: Tensor | None,
        written: Tensor | None,
    ) -> Tensor:
        ctx.weight, ctx.written = weight, written
        if read is None:
            return F.linear(x, weight, start)
        return F.linear(x.index_select(-1, read), weight.index_select(1, read), start)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        weight, written = ctx.weight, ctx.written
        if written is not None:
            grad, weight = grad.index_select(-1, written), weight.index_select(0, written)
        return grad @ weight.to(grad.dtype), None, None, None, None
