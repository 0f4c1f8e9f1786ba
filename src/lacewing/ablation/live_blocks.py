"""Attention and MLPs of a model of transformers where few nodes are live.

An MLP works out its live neurons and what they write. Of a head without a live query, key or value
everything is constant but the first token, which all texts share: what it brings hangs on the
position alone, and is one table. transformers runs the other heads, as if there were no more.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from lacewing.ablation.live_map import Begun, LiveMap, alike, exchanged, live_map
from lacewing.ablation.masks import Masks
from lacewing.model.huggingface.network import HuggingFaceNetwork

HEADS = ("attn_q", "attn_k", "attn_v")
"""Sites of what heads look with and bring."""


@dataclass
class LiveMlp:
    """An MLP that works out its live neurons alone."""

    network: HuggingFaceNetwork
    layer: int
    module: Any
    neurons: Sequence[LiveMap]
    """The map before the activation; and in a gated MLP the one that is multiplied with it."""
    activation: nn.Module
    out: LiveMap

    def __call__(self, x: Float[Tensor, "batch token channel"]) -> Tensor:
        """What the MLP writes, [batch token channel]."""
        if looked_at(self.network, self.layer, ("mlp_neuron", "mlp_out")):
            return self._whole(x)
        out, first, spared = self.out, self.neurons[0], self.out.spared
        live = x.new_zeros(*x[:, spared:].shape[:2], len(out.written))
        if len(out.written):
            read = first.reads(x)
            neurons = self.activation(first.live(read))
            for gate in self.neurons[1:]:
                neurons = neurons * gate.live(read)
            live = out.live(neurons)
        return out.filled(self._begun(x[:, :spared]), live)

    def __post_init__(self) -> None:
        self._begun = Begun(self._whole)

    def _whole(self, x: Tensor) -> Tensor:
        written: Tensor = type(self.module).forward(self.module, x)
        return written


@dataclass
class Heads:
    """Some heads of a block: the maps that write their queries, keys and values."""

    maps: Mapping[str, LiveMap]
    """By the paths of the modules that they stand for."""
    out: Float[Tensor, "row column"]
    """From what they bring to the live channels of `attn_out`."""

    def __bool__(self) -> bool:
        return self.out.shape[1] > 0


@dataclass
class LiveHeads:
    """Attention that works out the heads in which something is live."""

    network: HuggingFaceNetwork
    layer: int
    module: Any
    live: Heads
    dead: Heads
    out: LiveMap
    table: tuple[Tensor, Float[Tensor, "token row"]] | None = None
    """What the other heads bring at each position, and the first token that it holds for."""

    def __call__(self, hidden_states: Tensor, **given: Any) -> tuple[Tensor, None]:
        """As the attention of transformers, without its weights."""
        x, out, spared = hidden_states, self.out, self.out.spared
        position = given.get("position_ids")
        seen = looked_at(self.network, self.layer, (*HEADS, "attn_out"))
        if seen or position is None or not alike(x[:, :spared]):
            whole: tuple[Tensor, None] = type(self.module).forward(self.module, x, **given)
            return whole
        live = x.new_zeros(*x[:, spared:].shape[:2], len(out.written))
        if len(out.written):
            live = live + out.bias
            if self.live:
                live += F.linear(self._brought(self.live, x, given)[:, spared:], self.live.out)
            if self.dead:
                table = self._table(x[:1, :spared], int(position.max()) + 1)
                live += table[position[:, spared:]]
        return out.filled(self._first(x[:1, :spared], given), live), None

    def __post_init__(self) -> None:
        self._known: tuple[Tensor, Tensor] | None = None

    def _first(self, x: Tensor, given: Mapping[str, Any]) -> Tensor:
        """What the first tokens get, where nothing is ablated."""
        if self._known is None or not torch.equal(self._known[0], x):
            turned = tuple(t[:1, : x.shape[1]] for t in given["position_embeddings"])
            plain = dict(given) | {"attention_mask": None, "position_embeddings": turned}
            self._known = x.clone(), type(self.module).forward(self.module, x, **plain)[0]
        return self._known[1]

    def _table(self, first: Tensor, count: int) -> Float[Tensor, "token row"]:
        known = self.table
        if known is None or len(known[1]) < count or not torch.equal(known[0], first):
            x = F.pad(first, (0, 0, 0, max(0, count - first.shape[1])))
            positions = torch.arange(x.shape[1])[None]
            turned = self.network.inner.base_model.rotary_emb(x, position_ids=positions)
            given = {"position_embeddings": turned, "attention_mask": None}
            brought = self._brought(self.dead, x, given)[0]
            known = self.table = first.clone(), F.linear(brought, self.dead.out)
        return known[1]

    def _brought(self, heads: Heads, x: Tensor, given: Mapping[str, Any]) -> Tensor:
        """What some heads bring, [batch token column], as transformers works it out."""
        block = self.network.blocks[self.layer]
        maps: dict[nn.Module, Callable[[Tensor], Tensor]] = {
            block.get_submodule(name): made for name, made in heads.maps.items()
        }
        maps[block.get_submodule(self.network.layout.maps["attn_out"][0])] = _as_it_is
        with exchanged(maps), _groups(self.module, 1):
            brought: Tensor = type(self.module).forward(self.module, x, **given)[0]
        return brought


def live_mlp(
    network: HuggingFaceNetwork, layer: int, maps: Mapping[str, LiveMap]
) -> tuple[nn.Module, LiveMlp]:
    """The MLP of a block, and what stands for it, of the maps that stand for its own."""
    layout, block = network.layout, network.blocks[layer]
    module = block.get_submodule(layout.activation.rpartition(".")[0])
    neurons = [maps[name] for name in layout.maps["mlp_neuron"]]
    (out,) = layout.maps["mlp_out"]
    activation = block.get_submodule(layout.activation)
    return module, LiveMlp(network, layer, module, neurons, activation, maps[out])


def live_heads(
    network: HuggingFaceNetwork,
    layer: int,
    out: LiveMap,
    masks: Masks,
    values: Mapping[str, Tensor],
) -> tuple[nn.Module, LiveHeads]:
    """The attention of a block, and what stands for it."""
    layout, block = network.layout, network.blocks[layer]
    module = block.get_submodule(layout.maps["attn_out"][0].rpartition(".")[0])
    on = _live(network, layer, masks)

    def some(heads: Tensor) -> Heads:
        columns = _channels(network, heads)
        given = columns, *[_channels(network, heads // _shared(network))] * 2
        maps = {}
        for site, channels in zip(HEADS, given, strict=True):
            (name,) = layout.maps[site]
            part = block.get_submodule(name)
            maps[name] = live_map(network, layer, part, [site], masks, values, channels)
        return Heads(maps, out.weight[:, columns].contiguous())

    live, dead = (some(chosen.nonzero().flatten()) for chosen in (on, ~on))
    return module, LiveHeads(network, layer, module, live, dead, out)


def looked_at(network: HuggingFaceNetwork, layer: int, sites: Sequence[str]) -> bool:
    """Whether somebody records or edits a site of a block: then its own maps run, one by one."""
    return any(network.hooks.get(f"{layer}.{site}") for site in sites)


def has_live_heads(network: HuggingFaceNetwork) -> bool:
    """Whether heads can be left out: each has maps of its own, turned by position alone."""
    layout, config = network.layout, network.inner.config
    apart = len({layout.maps[site] for site in HEADS}) == len(HEADS)
    full = not getattr(config, "sliding_window", None)
    return layout.rotary and apart and full and config._attn_implementation == "sdpa"


def _live(network: HuggingFaceNetwork, layer: int, masks: Masks) -> Bool[Tensor, " head"]:
    """Which heads have a live query, key or value."""
    queries, keys, brought = (
        masks[f"{layer}.{site}"].view(-1, network.config.d_head).any(1) for site in HEADS
    )
    return queries | (keys | brought).repeat_interleave(_shared(network))


def _shared(network: HuggingFaceNetwork) -> int:
    """How many heads share their keys and values."""
    return network.config.n_head // network.config.n_key_head


def _channels(network: HuggingFaceNetwork, heads: Tensor) -> Int64[Tensor, " channel"]:
    """The channels of some heads, head after head."""
    size = network.config.d_head
    return (heads[:, None] * size + torch.arange(size)).flatten()


def _as_it_is(x: Tensor) -> Tensor:
    return x


@contextmanager
def _groups(module: Any, count: int) -> Iterator[None]:
    """How many heads share their keys and values, for the length of the block."""
    before = module.num_key_value_groups
    module.num_key_value_groups = count
    try:
        yield
    finally:
        module.num_key_value_groups = before
