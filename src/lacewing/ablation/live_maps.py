"""A circuit inside a model of transformers: its linear maps work out what is live, and no more.

Most nodes stand at a constant. What a linear map reads of them is one sum, known before any text
is, and what it would write into them nobody looks at. So each map of a block is exchanged for the
few rows and columns between live nodes. transformers runs all the rest: norms, rotations,
attention, the residual stream.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from lacewing.ablation.masks import Masks, few_live, replacing
from lacewing.model.hooks import ablate
from lacewing.model.huggingface.layouts import weight_of
from lacewing.model.huggingface.network import HuggingFaceNetwork
from lacewing.model.protocol import Network
from lacewing.model.sites import FINAL_SITE, site_widths

READS = {
    "attn_q": "attn_in",
    "attn_k": "attn_in",
    "attn_v": "attn_in",
    "mlp_neuron": "mlp_in",
    "mlp_out": "mlp_neuron",
}
"""What the maps that write a site read. Those of `attn_out` read what heads bring: no site."""


def ablating(
    network: Network, masks: Masks | None, ablation_values: Mapping[str, Tensor]
) -> AbstractContextManager[None]:
    """Replace the values of all unmasked nodes by constants, the fastest way a model allows.

    Inside, what is read at a site (`attn_in`, `mlp_in`, `mlp_neuron`) may still be recorded as it
    was before the replacement; queries, keys, values and what is written to the stream may not.

    Args:
        network: The model.
        masks: Nodes that run freely; none for all.
        ablation_values: Per site key, what stands for the others.

    Example:
        >>> model = load("hf:models/smollm2")  # doctest: +SKIP
        >>> with ablating(model.network, masks, model.means):  # doctest: +SKIP
        ...     logits = model.network(tokens)
    """
    if masks is None:
        return ablate(network, {})
    if _fits(network, masks):
        assert isinstance(network, HuggingFaceNetwork)
        return _only_live(network, masks, ablation_values)
    return ablate(network, replacing(masks, ablation_values))


def _fits(network: Network, masks: Masks) -> bool:
    """Whether maps can be exchanged: hooks of others may look at what is then not worked out."""
    return (
        isinstance(network, HuggingFaceNetwork)
        and not any(network.hooks.values())
        and not torch.is_grad_enabled()
        and masks.keys() == site_widths(network.config).keys()
        and few_live(masks)
    )


@dataclass
class LiveMap:
    """A linear map that works out its live channels, of the live ones that it reads."""

    whole: Any
    """The map itself, for the tokens that no ablation touches."""
    spared: int
    read: Int64[Tensor, " column"]
    written: Int64[Tensor, " row"]
    weight: Float[Tensor, "row column"]
    bias: Float[Tensor, " row"]
    rest: Float[Tensor, " channel"]
    """What stands in all channels that are not live."""
    known: tuple[Tensor, Tensor] | None = None
    """What was read and written last at the tokens that no ablation touches."""

    def __call__(self, x: Float[Tensor, "batch token column"]) -> Tensor:
        """What the map writes, [batch token channel]."""
        out = self.rest.expand(*x.shape[:2], -1).clone()
        out[:, : self.spared] = self._spared(x[:, : self.spared])
        live = x[:, self.spared :].index_select(-1, self.read)  # contiguous: one product for all
        out[:, self.spared :].index_copy_(-1, self.written, F.linear(live, self.weight, self.bias))
        return out

    def _spared(self, x: Float[Tensor, "batch token column"]) -> Tensor:
        """The same of the first tokens, where all is live; mostly they are alike in all texts."""
        first = x[:1]
        if not torch.equal(x, first.expand_as(x)):
            return self._all_of(x)
        if self.known is None or not torch.equal(self.known[0], first):
            self.known = first.clone(), self._all_of(first)
        return self.known[1]

    def _all_of(self, x: Tensor) -> Tensor:
        written: Tensor = type(self.whole).forward(self.whole, x.contiguous())
        return written


@contextmanager
def _only_live(
    network: HuggingFaceNetwork, masks: Masks, values: Mapping[str, Tensor]
) -> Iterator[None]:
    """Exchange every map of a block for the length of the block below."""
    changed: list[nn.Module] = []
    final = replacing({FINAL_SITE: masks[FINAL_SITE]}, values)
    try:
        for layer in range(network.config.n_layer):
            for name, sites in _by_module(network).items():
                module = network.blocks[layer].get_submodule(name)
                module.forward = _live_map(network, layer, module, sites, masks, values)
                changed.append(module)
        with ablate(network, final):
            yield
    finally:
        for module in changed:
            del module.forward


def _by_module(network: HuggingFaceNetwork) -> dict[str, list[str]]:
    """The sites that each map of a block writes; one map may write a part of several."""
    found: dict[str, list[str]] = {}
    for site, names in network.layout.maps.items():
        for name in names:
            found.setdefault(name, []).append(site)
    return found


def _live_map(
    network: HuggingFaceNetwork,
    layer: int,
    module: Any,
    sites: list[str],
    masks: Masks,
    values: Mapping[str, Tensor],
) -> LiveMap:
    """What stands for one map."""
    weight, source = weight_of(module), READS.get(sites[0])
    bias = weight.new_zeros(len(weight)) if module.bias is None else module.bias.detach()
    rest = torch.cat([values[f"{layer}.{site}"] for site in sites]).to(weight)
    if sites == ["mlp_neuron"]:  # what comes before the activation has no constant of its own
        rest = torch.zeros_like(bias)
    written = torch.cat([masks[f"{layer}.{site}"] for site in sites]).nonzero().flatten()
    rows = weight[written]
    read = torch.arange(weight.shape[1])
    bias = bias[written]
    if source is not None:
        on, constant = masks[f"{layer}.{source}"], values[f"{layer}.{source}"].to(weight)
        read = on.nonzero().flatten()
        bias = bias + rows @ torch.where(on, 0.0, constant)
    return LiveMap(module, network.spared, read, written, rows[:, read].contiguous(), bias, rest)
