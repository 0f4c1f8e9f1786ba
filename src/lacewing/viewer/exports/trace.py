"""A circuit on one prompt: what each of its nodes adds to each other, and to the logits.

A node is a circuit's node at a token. A link's weight is the exact direct effect of its source on
its target when norms, attention patterns and the slope of GELU stay as they are on this prompt, so
the links into a node add up to its value before AbsTopK: what is ablated, and biases, come from one
error node per layer and token. `graph.py` writes it down.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lacewing.model.config import BLOCK_SITES
from lacewing.model.hooks import edit, record
from lacewing.model.sites import FINAL_SITE
from lacewing.model.transformer import Block, Transformer
from lacewing.model.weights import FAMILIES, QKV, writers
from lacewing.trace.held import scale_of
from lacewing.viewer.attention import attend
from lacewing.viewer.edits import prepare
from lacewing.viewer.session import NO_CHANGES, Session

MOST_LINKS = 20_000
LOGITS = 10


@dataclass
class Tracing:
    """Links found so far, between names of nodes, and the value of each node."""

    values: dict[str, float] = field(default_factory=dict)
    links: dict[tuple[str, str], float] = field(default_factory=dict)
    products: dict[str, list[tuple[str, str, float]]] = field(default_factory=dict)
    """Per attention write, products of a query and a key it rests on."""

    def link(self, source: str, target: str, weight: float) -> None:
        """Add a direct effect."""
        if weight:
            self.links[source, target] = self.links.get((source, target), 0.0) + weight


def name(key: str, channel: int, token: int) -> str:
    """Our name of a node at a token."""
    return f"{key}.{channel}@{token}"


@torch.inference_mode()
def trace(session: Session, tokens: list[int]) -> tuple[Tracing, Tensor]:
    """Every direct effect between a circuit's nodes on a prompt, and the logits after it."""
    prepared = prepare(session.circuit, session.model, session.circuit.ablation, NO_CHANGES)
    network, ablation_values = prepared.model.ours, prepared.model.means
    hooks = {
        key: lambda value, mask=mask, ablation_value=ablation_values[key]: torch.where(
            mask, value, ablation_value
        )
        for key, mask in prepared.masks.items()
    }
    with session.turns.person(), edit(network, hooks), record(network) as seen:
        logits = network(torch.tensor([tokens]))[0, -1]
    values = {key: value[0] for key, value in seen.items()}
    trace = _Trace(session, network, values, tokens)
    for layer in range(network.config.n_layer):
        trace.block(layer)
    trace.final(logits)
    return trace.found, logits


class _Trace:
    """Follows the residual stream through one recorded pass."""

    def __init__(
        self,
        session: Session,
        network: Transformer,
        values: Mapping[str, Tensor],
        tokens: list[int],
    ) -> None:
        self.network, self.values, self.tokens = network, values, tokens
        self.kept = {key: kept.tolist() for key, kept in session.circuit.nodes.items()}
        self.edges, self.answers = session.circuit.edges, session.circuit.answers
        self.found = Tracing()
        self.x = network.embedded(torch.tensor(tokens))
        """The residual stream, [token, channel]."""
        self.written: dict[int, list[str]] = {}
        """Kept writes so far, by residual channel."""
        self.range = range(len(tokens))

    def block(self, layer: int) -> None:
        """Effects within a block."""
        block: Block = self.network.blocks[layer]  # type: ignore[assignment]
        self.x = block.kept("resid_pre", self.x)
        self.read(f"{layer}.attn_in", block.ln_1)
        for site in QKV:
            self.linear(layer, f"attn_in-{site}", block)
        self.attention(layer, block)
        self.x = block.kept("resid_mid", self.x)
        self.read(f"{layer}.mlp_in", block.ln_2)
        self.linear(layer, "mlp_in-mlp_neuron", block, gelu=True)
        self.linear(layer, "mlp_neuron-mlp_out", block)
        self.write(f"{layer}.mlp_out")
        self.x = block.kept("resid_post", self.x)

    def read(self, key: str, norm: torch.nn.RMSNorm) -> None:
        """Effects of the embedding and of earlier writes on what is read after a norm."""
        scale = scale_of(self.x, norm)
        for channel in self.kept[key]:
            if channel >= self.x.shape[1]:
                for t in self.range:
                    self.constant(key, channel, t, float(self.values[key][t, channel]))
                continue
            for t in self.range:
                target, factor = name(key, channel, t), float(scale[t, channel])
                if self.present(key, channel, t):
                    self.stream(target, channel, t, factor)

    def stream(self, target: str, channel: int, t: int, factor: float) -> None:
        """The parts of the residual stream in one channel: embedding, kept writes, the rest."""
        token = float(self.network.wte.weight[self.tokens[t], channel])
        self.found.link(f"E@{t}", target, token * factor)
        rest = float(self.x[t, channel]) - token
        for write in self.written.get(channel, ()):
            value = self.found.values.get(f"{write}@{t}", 0.0)
            self.found.link(f"{write}@{t}", target, value * factor)
            rest -= value
        site = target.partition("@")[0].rpartition(".")[0]
        self.found.link(f"error@{t}@{site}", target, rest * factor)

    def linear(self, layer: int, family: str, block: Block, gelu: bool = False) -> None:
        """Effects along the edges of a family, at each token."""
        source, destination = (f"{layer}.{site}" for site in family.split("-"))
        weight, bias = writers(block)[FAMILIES[family]]
        before = F.linear(self.values[source], weight, bias)
        slope = block.activation(before) / before if gelu else torch.ones_like(before)
        into = _by_destination(self.edges[f"{layer}.{family}"])
        for d in self.kept[destination]:
            sources = into.get(d, [])
            effects = weight[d, sources] * self.values[source][:, sources]
            rests = ((before[:, d] - effects.sum(1)) * slope[:, d]).tolist()
            rows = (effects * slope[:, d, None]).tolist()
            for t in self.range:
                if not self.present(destination, d, t):
                    continue
                target = name(destination, d, t)
                for s, effect in zip(sources, rows[t], strict=True):
                    self.found.link(name(source, s, t), target, effect)
                self.found.link(f"error@{t}@{destination}", target, rests[t])

    def attention(self, layer: int, block: Block) -> None:
        """Effects of values through the pattern, and the products that made the pattern."""
        q, k, v = (self.values[f"{layer}.{site}"] for site in QKV)
        size, key = block.config.d_head, f"{layer}.attn_out"
        patterns = {h: attend(block, q, k, h)[0] for h in range(block.config.n_head)}
        mixed = torch.cat([p @ v[:, h * size : (h + 1) * size] for h, p in patterns.items()], dim=1)
        before = F.linear(mixed, block.attn_proj.weight, block.attn_proj.bias)
        into = _by_destination(self.edges[f"{layer}.attn_v-attn_out"])
        for d in self.kept[key]:
            sources = into.get(d, [])
            through = [
                (s, (block.attn_proj.weight[d, s] * patterns[s // size] * v[:, s]).tolist())
                for s in sources
            ]
            for t in self.range:
                if not self.present(key, d, t):
                    continue
                target, rest = name(key, d, t), float(before[t, d])
                for s, rows in through:
                    for u in range(t + 1):
                        self.found.link(name(f"{layer}.attn_v", s, u), target, rows[t][u])
                    rest -= sum(rows[t][: t + 1])
                self.found.link(f"error@{t}@{key}", target, rest)
                self.products(layer, target, t, {s // size for s in sources}, patterns)
        self.write(key)

    def products(
        self, layer: int, target: str, t: int, heads: set[int], patterns: Mapping[int, Tensor]
    ) -> None:
        """Query times key, channel by channel, where a head looks most."""
        q, k = self.values[f"{layer}.attn_q"][t], self.values[f"{layer}.attn_k"]
        size = self.network.config.d_head
        rows = []
        for head in heads:
            u = int(patterns[head][t].argmax())
            for c in range(head * size, (head + 1) * size):
                if c in self.kept[f"{layer}.attn_q"] and c in self.kept[f"{layer}.attn_k"]:
                    weight = float(q[c] * k[u, c]) / math.sqrt(size)
                    ends = name(f"{layer}.attn_q", c, t), name(f"{layer}.attn_k", c, u)
                    rows.append((*ends, weight))
        self.found.products[target] = sorted(rows, key=lambda row: -abs(row[2]))[:20]

    def write(self, key: str) -> None:
        """A site's write joins the residual stream."""
        for channel in self.kept[key]:
            self.written.setdefault(channel, []).append(f"{key}.{channel}")
        self.x = self.x + self.values[key]

    def final(self, logits: Tensor) -> None:
        """Effects on the logits after the prompt."""
        last, norm = len(self.tokens) - 1, self.network.ln_f
        held = self.values[FINAL_SITE][last]
        scale = scale_of(self.values[FINAL_SITE], norm)[last]
        for channel in self.kept[FINAL_SITE]:
            if self.present(FINAL_SITE, channel, last):
                self.stream(name(FINAL_SITE, channel, last), channel, last, 1.0)
        for token in shown_logits(logits, self.answers):
            target, rest = f"logit.{token}@{last}", float(logits[token])
            for channel in self.kept[FINAL_SITE]:
                row = self.network.lm_head.weight[token, channel]
                effect = float(row * held[channel] * scale[channel])
                self.found.link(name(FINAL_SITE, channel, last), target, effect)
                rest -= effect
            if self.network.bigram is not None:
                effect = float(self.network.bigram[self.tokens[last], token])
                self.found.link(f"E@{last}", target, effect)
                rest -= effect
            self.found.values[target] = float(logits[token])
            self.found.link(f"error@{last}@{FINAL_SITE}", target, rest)

    def present(self, key: str, channel: int, t: int) -> bool:
        """Note a node's value; whether it is there at all, and not dropped by AbsTopK."""
        value = float(self.values[key][t, channel])
        if value:
            self.found.values[name(key, channel, t)] = value
        return value != 0

    def constant(self, key: str, channel: int, t: int, value: float) -> None:
        """A position channel: written by nothing in the graph."""
        if self.present(key, channel, t):
            self.found.link(f"error@{t}@{key}", name(key, channel, t), value)


def shown_logits(logits: Tensor, answers: tuple[int, ...]) -> list[int]:
    """The answers, then the likeliest tokens."""
    top: list[int] = logits.topk(min(LOGITS, len(logits))).indices.tolist()
    return list(dict.fromkeys([*answers, *top]))[:LOGITS]


def layer_of(key: str, layers: int) -> int:
    """The graph's layer of a site: its place in the order of computing, from 1."""
    if key == FINAL_SITE:
        return 1 + layers * len(BLOCK_SITES)
    layer, _, site = key.partition(".")
    return 1 + int(layer) * len(BLOCK_SITES) + BLOCK_SITES.index(site)


def _by_destination(pairs: Any) -> dict[int, list[int]]:
    into: dict[int, list[int]] = {}
    for s, d in pairs.tolist():
        into.setdefault(d, []).append(s)
    return into


__all__ = ["Tracing", "layer_of", "name", "shown_logits", "trace"]
