"""A circuit compiled to what still varies: exact, and many times faster than the masked model.

What is ablated is a constant, so it is multiplied only once:

    linear map   y = W[:, live] x_live + (W[:, rest] fill + bias), all rows where AbsTopK follows,
                 because masks act after it and dropped values compete too; else the live rows
    head         without a live query, key or value it is a function of the position alone
    write        of a site where nothing is live it is the fill, and what leads there is skipped

Equal to the masked model up to the order of sums. What a mask means: paper A.5, method section 6.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from lacewing.kernels.abs_topk import abs_topk
from lacewing.kernels.sink_attention import sink_attention
from lacewing.model.config import ModelConfig
from lacewing.model.sites import BLOCK_SITES, FINAL_SITE
from lacewing.model.transformer import Block, Transformer, beside, pick

QKV = ("attn_q", "attn_k", "attn_v")


class LiveCircuit:
    """A model in which only some nodes run freely, ready to be asked for logits."""

    def __init__(
        self, network: Transformer, masks: Mapping[str, Tensor], fills: Mapping[str, Tensor]
    ) -> None:
        """Compile a circuit.

        Args:
            network: The model; what is needed of its weights is copied.
            masks: Per site key, which channels run freely.
            fills: Per site key, the values of the others.
        """
        self.network = network
        self.final, self.final_fill = masks[FINAL_SITE], fills[FINAL_SITE]
        self.blocks = [
            _LiveBlock(block, network.config, _sites(network.config, layer, masks, fills))  # type: ignore[arg-type]
            for layer, block in enumerate(network.blocks)
        ]

    @torch.no_grad()
    def __call__(
        self, tokens: Int[Tensor, "batch token"], at: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch vocab"]:
        """Next-token logits, in nats, at one token per sequence."""
        network = self.network
        x = network.wte(tokens)
        positions = None if network.wpe is None else network.normed_positions(tokens.shape[1])
        for block in self.blocks[:-1]:
            x = block(x, positions, None)
        x = self.blocks[-1](x, positions, at)
        x = torch.where(self.final, x, self.final_fill)
        logits: Tensor = network.lm_head(network.ln_f(x))
        if network.bigram is not None:
            logits = logits + F.embedding(pick(tokens, at), network.bigram)
        return logits.squeeze(1)


@dataclass(frozen=True)
class _Site:
    """A site of one block under the mask."""

    mask: Tensor
    live: Tensor
    """Indices of the channels that run freely."""
    fill: Tensor
    keep: int | None
    """Channels that AbsTopK keeps; None where it does not act."""

    @property
    def rows(self) -> Tensor | slice:
        """What must be computed of this site: all where channels compete, else the live ones."""
        return self.live if self.keep is None else slice(None)

    def survivors(self, computed: Tensor) -> Tensor:
        """The live channels of what was computed."""
        if self.keep is None:
            return computed
        return abs_topk(computed, self.keep)[..., self.live]

    def write(self, computed: Tensor) -> Tensor:
        """The full width again: computed where live, the fill elsewhere."""
        if self.keep is not None:
            return torch.where(self.mask, abs_topk(computed, self.keep), self.fill)
        out = self.fill.expand(*computed.shape[:-1], -1).clone()
        out[..., self.live] = computed
        return out


@dataclass(frozen=True)
class _Linear:
    """A linear map between two masked sites; ablated inputs are part of the constant."""

    weight: Tensor
    constant: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.constant)


class _LiveBlock:
    def __init__(self, block: Block, config: ModelConfig, sites: Mapping[str, _Site]) -> None:
        self.block, self.config, self.sites = block, config, sites
        weights, biases = block.c_attn.weight.chunk(3), block.c_attn.bias.chunk(3)
        self.qkv = {
            name: _linear(weight, bias, sites["attn_in"], sites[name])
            for name, weight, bias in zip(QKV, weights, biases, strict=True)
        }
        self.c_fc = _linear(
            block.c_fc.weight, block.c_fc.bias, sites["mlp_in"], sites["mlp_neuron"]
        )
        self.mlp_proj = _linear(
            block.mlp_proj.weight, block.mlp_proj.bias, sites["mlp_neuron"], sites["mlp_out"]
        )
        heads = torch.zeros(config.n_head, dtype=torch.bool)
        for name in QKV:
            heads[sites[name].live // config.d_head] = True
        self.heads = heads
        self.columns = heads.repeat_interleave(config.d_head)
        self.attn_proj = block.attn_proj.weight[sites["attn_out"].rows][:, self.columns]
        self.still = torch.empty(0, 0)

    def __call__(self, x: Tensor, positions: Tensor | None, at: Tensor | None) -> Tensor:
        write = self.sites["attn_out"]
        update = self._attention(x, positions, at) if len(write.live) else write.fill
        if at is not None:
            x = pick(x, at)
            positions = None if positions is None else positions[at].unsqueeze(1)
        x = x + update
        write = self.sites["mlp_out"]
        return x + (self._mlp(x, positions) if len(write.live) else write.fill)

    def _attention(self, x: Tensor, positions: Tensor | None, at: Tensor | None) -> Tensor:
        length, write = x.shape[1], self.sites["attn_out"]
        still = self._still_heads(length)
        if bool(self.heads.any()):
            read = self._read("attn_in", beside(self.block.ln_1(x), positions))
            q, k, v = (self._heads(name, read) for name in QKV)
            sink = None if self.block.sink is None else self.block.sink[self.heads]
            mixed = sink_attention(q, k, v, sink).transpose(1, 2).flatten(2)
            mixed = mixed if at is None else pick(mixed, at)
            still = still if at is None else still[at].unsqueeze(1)
            return write.write(F.linear(mixed, self.attn_proj) + still)
        return write.write(still) if at is None else write.write(still)[at].unsqueeze(1)

    def _mlp(self, x: Tensor, positions: Tensor | None) -> Tensor:
        neuron, write = self.sites["mlp_neuron"], self.sites["mlp_out"]
        if not len(neuron.live):
            return write.write(self.mlp_proj.constant)
        read = self._read("mlp_in", beside(self.block.ln_2(x), positions))
        return write.write(self.mlp_proj(neuron.survivors(F.gelu(self.c_fc(read)))))

    def _read(self, name: str, full: Tensor) -> Tensor:
        """The live channels of a normed residual stream."""
        site = self.sites[name]
        return (full if site.keep is None else abs_topk(full, site.keep))[..., site.live]

    def _heads(self, name: str, read: Tensor) -> Tensor:
        """Queries, keys or values of the heads that are live, [batch, head, token, channel]."""
        site, shape = self.sites[name], read.shape[:2]
        whole = site.fill.expand(*shape, -1).clone()
        if len(site.live):
            whole[..., site.live] = site.survivors(self.qkv[name](read))
        return whole[..., self.columns].view(*shape, -1, self.config.d_head).transpose(1, 2)

    def _still_heads(self, length: int) -> Tensor:
        """What the heads with nothing live write at every position, with the bias, [token, row]."""
        if len(self.still) < length:
            shape = (1, length, -1, self.config.d_head)
            q, k, v = (
                self.sites[name].fill[~self.columns].expand(length, -1).reshape(shape).transpose(1, 2)
                for name in QKV
            )
            sink = None if self.block.sink is None else self.block.sink[~self.heads]
            mixed = sink_attention(q, k, v, sink).transpose(1, 2).flatten(2)[0]
            rows = self.sites["attn_out"].rows
            weight = self.block.attn_proj.weight[rows][:, ~self.columns]
            self.still = F.linear(mixed, weight, self.block.attn_proj.bias[rows])
        return self.still[:length]


def _linear(weight: Tensor, bias: Tensor, source: _Site, destination: _Site) -> _Linear:
    weight, bias = weight[destination.rows], bias[destination.rows]
    ablated = torch.where(source.mask, 0, source.fill)
    return _Linear(weight[:, source.live].contiguous(), bias + weight @ ablated)


def _sites(
    config: ModelConfig, layer: int, masks: Mapping[str, Tensor], fills: Mapping[str, Tensor]
) -> dict[str, _Site]:
    sites = {}
    for name in BLOCK_SITES:
        mask, fill = masks[f"{layer}.{name}"], fills[f"{layer}.{name}"]
        keep = config.survivors(name, len(mask))
        sites[name] = _Site(mask, mask.nonzero()[:, 0], fill, keep)
    return sites
