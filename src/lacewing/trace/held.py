"""One pass through a model with everything that is not linear held as it was on this prompt.

What norms multiply by, where heads look, which channels AbsTopK lets through and the slope of each
neuron stay. The rest is linear, so that the logit difference of two answers is a sum over where it
comes from (embedding, positions, biases, bigram row), and each node's part in it is its value times
what one unit of it would add: its effect. Nothing is approximated but by rounding.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lacewing.model.families import QKV
from lacewing.model.hooks import record
from lacewing.model.sites import FINAL_SITE
from lacewing.model.transformer import Block, Transformer, thirds

Nodes = Mapping[str, Bool[Tensor, "token _"]]
"""Of every site: which nodes are kept at which token."""


@dataclass(frozen=True)
class Sources:
    """Where a logit difference comes from; these add up to it."""

    tokens: Float[Tensor, " token"]
    """Through each token's embedding."""
    positions: Float[Tensor, " token"]
    """Through where each token stands."""
    biases: Mapping[str, float]
    """Through the biases of each written site."""
    bigram: float
    """The bigram row of the last token."""
    output: float
    """The bias of the logits."""

    @property
    def total(self) -> float:
        """The logit difference, where all nodes are kept."""
        spread = float(self.tokens.sum() + self.positions.sum())
        return spread + sum(self.biases.values()) + self.bigram + self.output


@dataclass(frozen=True)
class Held:
    """A recorded pass over one prompt."""

    network: Transformer
    tokens: tuple[int, ...]
    values: Mapping[str, Float[Tensor, "token _"]]
    """Of every site, as the model computed them, in float64."""
    embedded: Float[Tensor, "token _"]
    """The residual stream before the first block."""
    scales: Mapping[str, Float[Tensor, "token _"]]
    """What each norm multiplied by, its gain included: ln_1 and ln_2 by layer, and ln_f."""
    patterns: Mapping[int, Float[Tensor, "head token token"]]
    """Where heads looked, by layer: [head, query, key]; the sink's share is missing to 1."""
    slopes: Mapping[int, Float[Tensor, "token _"]]
    """What each neuron multiplied by, by layer: its value over what it got."""
    stream: Mapping[str, Float[Tensor, "token _"]]
    """The residual stream at resid_pre, resid_mid and resid_post of each layer, after AbsTopK."""
    logits: Float[Tensor, " vocab"]
    doubles: dict[str, Tensor] = field(default_factory=dict, repr=False, compare=False)
    """Matrices in float64, by what they write: a graph walks back through them thirty times."""

    def difference(self, answer: int, rival: int) -> float:
        """The logit of an answer less that of its rival, nats."""
        return float(self.logits[answer].double() - self.logits[rival].double())

    def effects(
        self, answer: int, rival: int, keep: Nodes | None = None
    ) -> tuple[dict[str, Float[Tensor, "token _"]], Sources]:
        """What one unit of each node adds to a logit difference, and where that comes from.

        Args:
            answer: Token id.
            rival: Token id.
            keep: Nodes that pass anything on, per token; all by default.

        Returns:
            Of every site, nats per unit of each node at each token; the difference's sources.
        """
        return _Walk(self, keep).back(answer, rival)


@torch.inference_mode()
def hold(network: Transformer, tokens: tuple[int, ...]) -> Held:
    """Run a prompt and record all that is then held.

    Example:
        >>> model = load("builtin:taught-tiny")
        >>> held = hold(model.ours, tuple(model.tokenizer.encode("if x")))
        >>> _, sources = held.effects(5, 9)
        >>> abs(sources.total - held.difference(5, 9)) < 1e-4
        True
    """
    with record(network) as seen:
        logits = network(torch.tensor([tokens]))[0, -1]
    values = {key: value[0].double() for key, value in seen.items()}
    embedded = x = network.embedded(torch.tensor(tokens)).double()
    scales: dict[str, Tensor] = {}
    patterns: dict[int, Tensor] = {}
    slopes: dict[int, Tensor] = {}
    stream: dict[str, Tensor] = {}
    for layer, part in enumerate(network.blocks):
        block = cast("Block", part)
        x = stream[f"{layer}.resid_pre"] = block.kept("resid_pre", x)
        scales[f"{layer}.ln_1"] = scale_of(x, block.ln_1)
        patterns[layer] = _patterns(block, values, layer)
        slopes[layer] = _slopes(block, values, layer)
        x = x + values[f"{layer}.attn_out"]
        x = stream[f"{layer}.resid_mid"] = block.kept("resid_mid", x)
        scales[f"{layer}.ln_2"] = scale_of(x, block.ln_2)
        x = x + values[f"{layer}.mlp_out"]
        x = stream[f"{layer}.resid_post"] = block.kept("resid_post", x)
    scales["ln_f"] = scale_of(x, network.ln_f)
    return Held(network, tokens, values, embedded, scales, patterns, slopes, stream, logits)


def scale_of(x: Float[Tensor, "token _"], norm: torch.nn.RMSNorm) -> Float[Tensor, "token _"]:
    """What a norm multiplies each channel by."""
    eps = torch.finfo(norm.weight.dtype).eps if norm.eps is None else norm.eps
    return norm.weight * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


def _patterns(block: Block, values: Mapping[str, Tensor], layer: int) -> Tensor:
    size, count = block.config.d_head, block.config.n_head
    q, k = (values[f"{layer}.{site}"].view(-1, count, size).transpose(0, 1) for site in QKV[:2])
    scores = q @ k.transpose(1, 2) * size**-0.5
    later = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
    scores = scores.masked_fill(later, -torch.inf)
    if block.sink is None:
        return scores.softmax(2)
    sink = block.sink.double().view(-1, 1, 1).expand(-1, scores.shape[1], 1)
    return torch.cat([scores, sink], dim=2).softmax(2)[..., :-1]


def _slopes(block: Block, values: Mapping[str, Tensor], layer: int) -> Tensor:
    fc = block.c_fc
    before = values[f"{layer}.mlp_in"] @ fc.weight.double().T + fc.bias.double()
    after = values[f"{layer}.mlp_neuron"]
    return torch.where(after != 0, after / torch.where(before == 0, 1.0, before), 0.0)


class _Walk:
    """From the logits back to the embedding, through what is held."""

    def __init__(self, held: Held, keep: Nodes | None) -> None:
        self.held, self.keep = held, keep
        self.found: dict[str, Tensor] = {}
        self.biases: dict[str, float] = {}
        self.positions = torch.zeros(len(held.tokens), dtype=torch.float64)

    @torch.inference_mode()
    def back(self, answer: int, rival: int) -> tuple[dict[str, Tensor], Sources]:
        """All effects, and the sources."""
        held, network, last = self.held, self.held.network, len(self.held.tokens) - 1
        row = (network.lm_head.weight[answer] - network.lm_head.weight[rival]).double()
        g = torch.zeros_like(held.values[FINAL_SITE])
        g[last] = row * held.scales["ln_f"][last]
        g = self.at(FINAL_SITE, g)
        for layer in reversed(range(network.config.n_layer)):
            g = self.block(layer, cast("Block", network.blocks[layer]), g)
        spread = (g * held.embedded).sum(1)
        if network.config.added_positions and network.wpe is not None:
            stands = network.wpe.weight[: last + 1].double()
            self.positions += (g * stands).sum(1)
            spread = spread - (g * stands).sum(1)
        bias, table = network.output_bias, network.bigram
        output = 0.0 if bias is None else float(bias[answer] - bias[rival])
        now = held.tokens[last]
        bigram = 0.0 if table is None else float(table[now, answer] - table[now, rival])
        return self.found, Sources(spread, self.positions, self.biases, bigram, output)

    def at(self, key: str, g: Tensor) -> Tensor:
        """Note what a node's unit adds; what goes on upstream: of kept nodes that are not zero."""
        self.found[key] = g
        live = self.held.values[key] != 0
        return g * (live if self.keep is None else live & self.keep[key])

    def through(self, key: str, weight: Tensor, bias: Tensor | None, g: Tensor) -> Tensor:
        """From what a matrix wrote to what it read; its bias is a source."""
        if bias is not None:
            self.biases[key] = self.biases.get(key, 0.0) + float((g * bias.double()).sum())
        if key not in self.held.doubles:
            self.held.doubles[key] = weight.double()
        rows = g.any(1)  # late blocks matter at the last token alone
        out = g.new_zeros(len(g), weight.shape[1])
        out[rows] = g[rows] @ self.held.doubles[key]
        return out

    def block(self, layer: int, block: Block, g: Tensor) -> Tensor:
        """From the residual stream after a block to that before it."""
        held, width = self.held, block.config.d_model
        site = partial("{}.{}".format, layer)
        g = g * (held.stream[site("resid_post")] != 0) if self.cuts(block, "resid_post") else g
        down = self.at(site("mlp_out"), g)
        down = self.through(site("mlp_out"), block.mlp_proj.weight, block.mlp_proj.bias, down)
        down = self.at(site("mlp_neuron"), down) * held.slopes[layer]
        down = self.through(site("mlp_neuron"), block.c_fc.weight, block.c_fc.bias, down)
        g = g + self.read(site("mlp_in"), down, held.scales[site("ln_2")], width)
        g = g * (held.stream[site("resid_mid")] != 0) if self.cuts(block, "resid_mid") else g
        down = self.at(site("attn_out"), g)
        mixed = self.through(site("attn_out"), block.attn_proj.weight, block.attn_proj.bias, down)
        down = self.at(site("attn_v"), self.heads(layer, block, mixed))
        weight, bias = (thirds(rows)[2] for rows in (block.c_attn.weight, block.c_attn.bias))
        down = self.through(site("attn_v"), weight, bias, down)
        g = g + self.read(site("attn_in"), down, held.scales[site("ln_1")], width)
        return g * (held.stream[site("resid_pre")] != 0) if self.cuts(block, "resid_pre") else g

    @staticmethod
    def cuts(block: Block, name: str) -> bool:
        """Whether AbsTopK acts on the residual stream there."""
        return block.config.survivors(name, block.config.d_model) is not None

    def heads(self, layer: int, block: Block, g: Tensor) -> Tensor:
        """From what heads mixed to the values they took it from."""
        size, count = block.config.d_head, block.config.n_head
        by_head = g.view(-1, count, size).transpose(0, 1)
        return (self.held.patterns[layer].transpose(1, 2) @ by_head).transpose(0, 1).flatten(1)

    def read(self, key: str, g: Tensor, scale: Tensor, width: int) -> Tensor:
        """From what is read to the residual stream; position channels are a source."""
        g = self.at(key, g)
        beside = self.held.values[key][:, width:]
        if beside.shape[1]:
            self.positions += (g[:, width:] * beside).sum(1)
        return g[:, :width] * scale
