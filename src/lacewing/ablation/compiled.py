"""A circuit compiled to what still varies: exact, and many times faster than the masked model.

What is ablated is a constant, so it is multiplied only once:

    linear map   y = W[:, live] x_live + (W[:, rest] a_rest + bias), a the ablation values
    AbsTopK      masks act after it, so dropped values compete with live ones: rows that no live
                 channel reaches are ranked once, and a few live values are compared, not sorted
    head         without a live query, key or value it is a function of the position alone
    write        of a site where nothing is live it is constant, and what leads there is skipped
    token        after the last attention that varies, only those matter whose logits are asked for

Equal to the masked model up to the order of sums. What a mask means: paper A.5, method section 6.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from lacewing.ablation.prefixes import UniquePrefixes
from lacewing.kernels.abs_topk import abs_topk, survivors
from lacewing.kernels.sink_attention import sink_attention, sink_attention_at
from lacewing.model.config import BLOCK_SITES, ModelConfig
from lacewing.model.sites import FINAL_SITE
from lacewing.model.transformer import Block, SiteHook, Transformer
from lacewing.model.weights import QKV, writers

FEW = 24
"""Live channels of a site up to which each is compared with all others, instead of selecting."""


class CompiledCircuit:
    """A model in which only some nodes run freely, ready to be asked for logits."""

    def __init__(
        self,
        network: Transformer,
        masks: Mapping[str, Tensor],
        ablation_values: Mapping[str, Tensor],
        edits: Mapping[str, SiteHook] | None = None,
    ) -> None:
        """Compile a circuit.

        Args:
            network: The model; what is needed of its weights is copied.
            masks: Per site key, which channels run freely.
            ablation_values: Per site key, what stands for the others.
            edits: Per site key, a function from the values of the channels that run freely,
                [prefix wanted], to those used instead. A prefix axis along which nothing varies
                has length 1; after the last attention that varies, it has whole prompts only.
        """
        self.network, edits = network, edits or {}
        self.final, self.final_fill = masks[FINAL_SITE], ablation_values[FINAL_SITE]
        self.final_edit = edits.get(FINAL_SITE)
        self.blocks = []
        for layer, block in enumerate(network.blocks):
            sites = _sites(network.config, layer, masks, ablation_values, edits)
            self.blocks.append(CompiledBlock(cast("Block", block), network.config, sites))
        self.turn = max([n for n, block in enumerate(self.blocks) if block.varies], default=0)
        """The block that goes over to the ends of sequences: no later attention varies."""

    @torch.no_grad()
    def __call__(
        self, tokens: Int[Tensor, "batch token"], at: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch vocab"]:
        """Next-token logits, in nats, at one token per sequence."""
        return self.logits(UniquePrefixes.every(tokens, at))

    def logits(
        self, prefixes: UniquePrefixes, wanted: Int[Tensor, " wanted"] | None = None
    ) -> Float[Tensor, "sequence vocab"]:
        """Next-token logits, in nats, at the ends of sequences; with gradients for edits.

        Args:
            prefixes: Where to run.
            wanted: The tokens whose logits are asked for; those of others are NaN. By default all.
        """
        network, ends = self.network, prefixes.ends
        at_ends = self.turn == 0 and (prefixes.read is not None or not self.blocks[0].varies)
        which = ends if at_ends else slice(None)
        x = network.embedded(prefixes.tokens[which], prefixes.position[which])
        positions = network.normed_positions(prefixes.width)
        positions = None if positions is None else positions[prefixes.position]
        for number, block in enumerate(self.blocks):
            x = block.block.kept("resid_pre", x)
            update = block.attended(x, positions, prefixes, number >= self.turn, number == 0)
            if number == self.turn:
                x = x if at_ends else x[ends]
                positions = None if positions is None else positions[ends]
            x = block(x, positions, update)
        if self.final_edit is not None:
            live = self.final.nonzero()[:, 0]
            x = x.index_copy(-1, live, self.final_edit(x[..., live]))
        x = torch.where(self.final, x, self.final_fill)
        return self._unembedded(network.ln_f(x), prefixes.tokens[ends], wanted)

    def _unembedded(self, x: Tensor, current: Tensor, wanted: Tensor | None) -> Tensor:
        network, table, bias = self.network, self.network.bigram, self.network.output_bias
        if wanted is None:
            logits: Tensor = network.lm_head(x)
            logits = logits if bias is None else logits + bias
            return logits if table is None else logits + F.embedding(current, table)
        few = F.linear(x, network.lm_head.weight[wanted], None if bias is None else bias[wanted])
        if table is not None:
            few = few + table[current[:, None], wanted]
        return few.new_full((len(x), len(network.lm_head.weight)), torch.nan).index_copy(
            1, wanted, few
        )


@dataclass(frozen=True)
class _Site:
    """A site of one block under the mask."""

    mask: Tensor
    live: Tensor
    """Indices of the channels that run freely."""
    ablation_value: Tensor
    keep: int | None
    """Channels that AbsTopK keeps; None where it does not act."""
    edit: SiteHook
    """What the live channels go through."""

    @property
    def few(self) -> bool:
        """Whether so few are live that asking who is larger beats selecting."""
        return len(self.live) <= FEW

    def of_full(self, full: Tensor) -> Tensor:
        """The live channels of a full-width value."""
        if self.keep is None:
            return self.edit(full[..., self.live])
        if not self.few:
            return self.edit(abs_topk(full, self.keep)[..., self.live])
        every = torch.arange(full.shape[-1])
        return self.edit(_surviving(full, self.live, self.keep, every, _nothing()))

    def add(self, x: Tensor, live: Tensor) -> Tensor:
        """The residual stream with this site's write: what is live, ablation values elsewhere."""
        out = x + torch.where(self.mask, 0, self.ablation_value)
        out[..., self.live] += live
        return out


class _Map:
    """A linear map from one masked site to another, then an activation, then AbsTopK."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        source: _Site,
        site: _Site,
        activation: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> None:
        self.site, self.activation = site, activation
        constant = bias + weight @ torch.where(source.mask, 0, source.ablation_value)
        if site.keep is None:
            varying = site.mask
        elif site.few:  # the other rows are constants, ranked once and for all
            varying = (weight[:, source.live] != 0).any(1) | site.mask
        else:
            varying = torch.ones_like(site.mask)
        self.index = varying.nonzero()[:, 0]
        self.weight, self.constant = weight[self.index][:, source.live], constant[self.index]
        self.columns = torch.searchsorted(self.index, site.live)
        rest = (~varying).nonzero()[:, 0]
        fixed = activation(constant[rest]).detach()  # only who is larger counts
        magnitude, order = fixed.abs().sort(descending=True, stable=True)
        self.fixed = magnitude, rest[order]

    def __call__(self, x: Tensor) -> Tensor:
        """The live channels of the destination."""
        site, y = self.site, self.activation(F.linear(x, self.weight, self.constant))
        if site.keep is None:
            return site.edit(y)
        if not site.few:
            return site.edit(abs_topk(y, site.keep)[..., site.live])
        return site.edit(_surviving(y, self.columns, site.keep, self.index, self.fixed))


class CompiledBlock:
    """One block of a compiled circuit."""

    def __init__(self, block: Block, config: ModelConfig, sites: Mapping[str, _Site]) -> None:
        """Compile it."""
        self.block, self.config, self.sites = block, config, sites
        written = writers(block)
        self.qkv = {name: _Map(*written[name], sites["attn_in"], sites[name]) for name in QKV}
        read, neuron, out = (sites[name] for name in ("mlp_in", "mlp_neuron", "mlp_out"))
        self.c_fc = _Map(*written["mlp_neuron"], read, neuron, block.activation)
        self.mlp_proj = _Map(*written["mlp_out"], neuron, out)
        self.heads = torch.zeros(config.n_head, dtype=torch.bool)
        for name in QKV:
            self.heads[sites[name].live // config.d_head] = True
        self.columns = self.heads.repeat_interleave(config.d_head)
        self.attn_proj = block.attn_proj.weight[:, self.columns]
        self.still = torch.empty(0, 0)

    @property
    def varies(self) -> bool:
        """Whether what attention writes depends on more than the position."""
        return bool(self.heads.any()) and len(self.sites["attn_out"].live) > 0

    def attended(
        self, x: Tensor, positions: Tensor | None, prefixes: UniquePrefixes, ends: bool, first: bool
    ) -> Tensor:
        """The live channels of what attention writes, at all prefixes or at ends of sequences.

        Args:
            x: The residual stream at all prefixes; ignored where nothing varies, or it is known.
            positions: The position channels there.
            prefixes: Where the circuit runs.
            ends: Whether only ends are wanted.
            first: Whether this is the first block, whose reads may be known.
        """
        site = self.sites["attn_out"]
        if not len(site.live):
            return x.new_zeros(0)
        where = prefixes.position[prefixes.ends] if ends else prefixes.position
        written = self._still_heads(prefixes.width)[where]
        if self.varies:
            known = first and prefixes.read is not None
            read = self._known(prefixes) if known else self._read(x, positions)
            written = (
                F.linear(
                    self._mixed(read, prefixes, ends and not prefixes.throughout), self.attn_proj
                )
                + written
            )
        return site.of_full(written)

    def __call__(self, x: Tensor, positions: Tensor | None, update: Tensor) -> Tensor:
        """The residual stream after the block, given what attention writes."""
        x = self.block.kept("resid_mid", self.sites["attn_out"].add(x, update))
        site = self.sites["mlp_out"]
        x = site.add(x, self._mlp(x, positions) if len(site.live) else x.new_zeros(0))
        return self.block.kept("resid_post", x)

    def _read(self, x: Tensor, positions: Tensor | None) -> Tensor:
        return self.sites["attn_in"].of_full(self.block.attn_read(x, positions))

    def _known(self, prefixes: UniquePrefixes) -> Tensor:
        """The live channels of what the first block reads, out of those that are kept."""
        assert prefixes.read is not None
        assert prefixes.channels is not None
        site = self.sites["attn_in"]
        columns = torch.searchsorted(prefixes.channels, site.live)
        assert torch.equal(prefixes.channels[columns], site.live), "a channel that was not kept"
        return site.edit(prefixes.read[:, columns])

    def _mixed(self, read: Tensor, prefixes: UniquePrefixes, ends: bool) -> Tensor:
        """What the live heads see, heads side by side, at all prefixes or at ends of sequences."""
        sink = None if self.block.sink is None else self.block.sink[self.heads]
        k, v = (
            prefixes.by_sequence(self._heads(name, read)).transpose(1, 2)
            for name in ("attn_k", "attn_v")
        )
        if ends:
            q = self._heads("attn_q", read[prefixes.ends])
            return sink_attention_at(q, k, v, sink, prefixes.last).flatten(1)
        q = prefixes.by_sequence(self._heads("attn_q", read)).transpose(1, 2)
        return prefixes.by_prefix(sink_attention(q, k, v, sink).transpose(1, 2)).flatten(1)

    def _mlp(self, x: Tensor, positions: Tensor | None) -> Tensor:
        """The live channels of what the MLP writes; one row where no neuron is live."""
        if not len(self.sites["mlp_neuron"].live):
            return self.mlp_proj(x.new_zeros(1, 0))
        read = self.sites["mlp_in"].of_full(self.block.mlp_read(x, positions))
        return self.mlp_proj(self.c_fc(read))

    def _heads(self, name: str, read: Tensor) -> Tensor:
        """Queries, keys or values of the heads that are live, [prefix head channel]."""
        site = self.sites[name]
        whole = site.ablation_value[self.columns].expand(len(read), -1)
        if len(site.live):
            whole = whole.clone()
            place = self.columns.cumsum(0) - 1  # of a channel among those of live heads
            whole[:, place[site.live]] = self.qkv[name](read)
        return whole.view(len(read), -1, self.config.d_head)

    def _still_heads(self, length: int) -> Tensor:
        """What the heads with nothing live write at every position, and the bias, [token, row]."""
        if len(self.still) < length:
            shape = (1, length, -1, self.config.d_head)
            q, k, v = (
                self.sites[n]
                .ablation_value[~self.columns]
                .expand(length, -1)
                .reshape(shape)
                .transpose(1, 2)
                for n in QKV
            )
            sink = None if self.block.sink is None else self.block.sink[~self.heads]
            mixed = sink_attention(q, k, v, sink).transpose(1, 2).flatten(2)[0]
            weight = self.block.attn_proj.weight[:, ~self.columns]
            self.still = F.linear(mixed, weight, self.block.attn_proj.bias)
        return self.still[:length]


def _surviving(
    x: Tensor, columns: Tensor, keep: int, index: Tensor, fixed: tuple[Tensor, Tensor]
) -> Tensor:
    """`survivors`, with a gradient through what survives where one is wanted."""
    kept = survivors(x, columns, keep, index, fixed)
    return torch.where(kept != 0, x[..., columns], 0) if x.requires_grad else kept


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _nothing() -> tuple[Tensor, Tensor]:
    """No fixed entries."""
    return torch.empty(0), torch.empty(0, dtype=torch.long)


def _sites(
    config: ModelConfig,
    layer: int,
    masks: Mapping[str, Tensor],
    ablation_values: Mapping[str, Tensor],
    edits: Mapping[str, SiteHook],
) -> dict[str, _Site]:
    sites = {}
    for name in BLOCK_SITES:
        key = f"{layer}.{name}"
        keep = config.survivors(name, len(masks[key]))
        live, edit = masks[key].nonzero()[:, 0], edits.get(key, _as_it_is)
        sites[name] = _Site(masks[key], live, ablation_values[key], keep, edit)
    return sites
