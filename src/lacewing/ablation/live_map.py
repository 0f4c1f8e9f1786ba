"""A linear map of a model of transformers that works out what is live, and no more.

Most nodes of a circuit stand at a constant. What a map reads of them is one sum, known before any
text is, and what it would write into them nobody looks at: a few rows and columns are left.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from lacewing.ablation.masks import Masks
from lacewing.model.huggingface.layouts import weight_of
from lacewing.model.huggingface.network import HuggingFaceNetwork

READS = {
    "attn_q": "attn_in",
    "attn_k": "attn_in",
    "attn_v": "attn_in",
    "mlp_neuron": "mlp_in",
    "mlp_out": "mlp_neuron",
}
"""What the maps that write a site read. Those of `attn_out` read what heads bring: no site."""


@dataclass
class Begun:
    """What a module gives at the first tokens, which no ablation touches: worked out once.

    Mostly they are alike in all texts; where they are not, each text has its own.
    """

    of: Callable[[Tensor], Tensor]
    known: tuple[Tensor, Tensor] | None = None
    """What was read and given last."""

    def __call__(self, x: Float[Tensor, "batch token column"]) -> Tensor:
        """What the module gives, [batch token channel], or [1 token channel] for all."""
        if not alike(x):
            return self.of(x)
        first = x[:1]
        if self.known is None or not torch.equal(self.known[0], first):
            self.known = first.clone(), self.of(first)
        return self.known[1]


def alike(x: Float[Tensor, "batch token column"]) -> bool:
    """Whether all texts have the same values."""
    return torch.equal(x, x[:1].expand_as(x))


@dataclass
class LiveMap:
    """A linear map that works out its live channels, of the live ones that it reads."""

    begun: Begun
    """The whole map, for the tokens that no ablation touches."""
    spared: int
    read: Int64[Tensor, " column"]
    written: Int64[Tensor, " row"]
    weight: Float[Tensor, "row column"]
    bias: Float[Tensor, " row"]
    rest: Float[Tensor, " channel"]
    """What stands in all channels that are not live."""

    def __call__(self, x: Float[Tensor, "batch token column"]) -> Tensor:
        """What the map writes, [batch token channel]."""
        return self.filled(self.begun(x[:, : self.spared]), self.live(self.reads(x)))

    def reads(self, x: Float[Tensor, "batch token column"]) -> Float[Tensor, "batch later kept"]:
        """The live ones of what it reads; contiguous, so that one product takes them all."""
        return x[:, self.spared :].index_select(-1, self.read)

    def live(self, x: Float[Tensor, "batch later kept"]) -> Float[Tensor, "batch later row"]:
        """Its live channels."""
        return F.linear(x, self.weight, self.bias)

    def filled(self, first: Tensor, live: Float[Tensor, "batch later row"]) -> Tensor:
        """All channels: those of the first tokens, and of the others the live ones and the rest."""
        batch, later = live.shape[:2]
        out = self.rest.expand(batch, self.spared + later, -1).clone()
        out[:, : self.spared] = first
        out[:, self.spared :].index_copy_(-1, self.written, live)
        return out


def live_map(
    network: HuggingFaceNetwork,
    layer: int,
    module: Any,
    sites: list[str],
    masks: Masks,
    values: Mapping[str, Tensor],
    channels: Int64[Tensor, " wanted"] | None = None,
) -> LiveMap:
    """What stands for one map.

    Args:
        network: The model.
        layer: The block of the map.
        module: The map.
        sites: What it writes; one map may write a part of several sites.
        masks: Nodes that run freely.
        values: Per site key, what stands for the others.
        channels: Of all that it writes, what is wanted; by default all.
    """
    weight, source = weight_of(module), READS.get(sites[0])
    bias = weight.new_zeros(len(weight)) if module.bias is None else module.bias.detach()
    rest = torch.cat([values[f"{layer}.{site}"] for site in sites]).to(weight)
    on = torch.cat([masks[f"{layer}.{site}"] for site in sites])
    of = partial(_all_of, module)
    if channels is not None:
        weight, bias, rest, on = weight[channels], bias[channels], rest[channels], on[channels]
        of = partial(F.linear, weight=weight, bias=bias)
    if sites == ["mlp_neuron"]:  # what comes before the activation has no constant of its own
        rest = torch.zeros_like(bias)
    written = on.nonzero().flatten()
    rows, bias = weight[written], bias[written]
    read = torch.arange(weight.shape[1])
    if source is not None:
        free, constant = masks[f"{layer}.{source}"], values[f"{layer}.{source}"].to(weight)
        read = free.nonzero().flatten()
        bias = bias + rows @ torch.where(free, 0.0, constant)
    return LiveMap(Begun(of), network.spared, read, written, rows[:, read].contiguous(), bias, rest)


def live_rows(
    network: HuggingFaceNetwork, layer: int, module: Any, sites: list[str], masks: Masks
) -> LiveMap:
    """What stands for a map whose live channels alone are looked at, whatever it reads."""
    weight = weight_of(module)
    written = torch.cat([masks[f"{layer}.{site}"] for site in sites]).nonzero().flatten()
    nothing, read = weight.new_zeros(len(weight)), torch.arange(weight.shape[1])
    bias = nothing if module.bias is None else module.bias.detach()
    begun = Begun(partial(_all_of, module))
    return LiveMap(begun, network.spared, read, written, weight[written], bias[written], nothing)


@contextmanager
def exchanged(made: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Other passes of some modules, for the length of the block; then those of before."""
    before = {module: vars(module).get("forward") for module in made}
    try:
        for module, run in made.items():
            module.forward = run
        yield
    finally:
        for module, earlier in before.items():
            module.__dict__.pop("forward", None)
            if earlier is not None:
                module.forward = earlier


def by_module(network: HuggingFaceNetwork) -> dict[str, list[str]]:
    """The sites that each map of a block writes; one map may write a part of several."""
    found: dict[str, list[str]] = {}
    for site, names in network.layout.maps.items():
        for name in names:
            found.setdefault(name, []).append(site)
    return found


def _all_of(module: Any, x: Tensor) -> Tensor:
    written: Tensor = type(module).forward(module, x.contiguous())
    return written
