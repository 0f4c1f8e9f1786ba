"""What a node reads and writes, in words of the vocabulary.

A read site's channel is a channel of the residual stream: the embedding writes it, so its column of
the embedding names tokens. A written channel is read by the unembedding. Inside a block both are
seen through one matrix: the tokens whose embedding moves a query most, the tokens that a neuron's
output raises most. A latent reads along its row of the encoder, and writes along its row of the
decoder. Norms are left out, so weights compare within one list only.

A node's short label names tokens of its task alone (see `TaskTokens`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lacewing.circuit.circuit import Circuit
from lacewing.model.sites import FINAL_SITE
from lacewing.model.store import Model
from lacewing.model.weights import writer
from lacewing.tasks.batch import encode
from lacewing.viewer.answers import Tokens, TokenWeight
from lacewing.viewer.latents import across, along, part_of, reading, under, writing

SHOWN = 10
READ = ("attn_in", "mlp_in")


@dataclass(frozen=True)
class TaskTokens:
    """The tokens that a circuit's task is about: a label names no others."""

    read: Tensor
    """Share of the test prompts that hold each token, [token]."""
    written: Tensor
    """1 for the answers, else 0, [token]."""

    @classmethod
    def of(cls, model: Model, circuit: Circuit) -> "TaskTokens":
        """Those of a circuit's test prompts and answers."""
        config = model.network.config
        prompts = encode(circuit.pairs, model.tokenizer, config.context)
        size = config.vocab_size
        read, written = torch.zeros(size), torch.zeros(size)
        for row, last in zip(prompts.tokens, prompts.last.tolist(), strict=True):
            read[row[: last + 1].unique()] += 1 / len(prompts.tokens)
        written[list(circuit.answers)] = 1
        return cls(read, written)


def reads(model: Model, key: str, channel: int, share: Tensor | None = None) -> Tokens | None:
    """Tokens whose embedding moves a node most; None where it reads no token's embedding.

    Args:
        model: The model.
        key: The node's site.
        channel: Its channel.
        share: How much each token counts, [token]; by default all alike.
    """
    network = under(model)
    width = network.config.d_model
    key, way = reading(model, key, channel)
    site = key.rpartition(".")[2]
    if key == FINAL_SITE or site in READ:
        if isinstance(way, int) and way >= width:
            return None
        return _top(model, along(network.wte.weight, way), "embedding", share)
    if site in ("attn_out", "mlp_out"):
        return None
    weight = across(writer(network, key)[0][:, :width], way)
    through = "mlp_in" if site == "mlp_neuron" else "attn_in"
    return _top(model, network.wte.weight @ weight, f"via {through}", share)


def writes(model: Model, key: str, channel: int, share: Tensor | None = None) -> Tokens | None:
    """Tokens whose logit a node raises or lowers most; None for queries and keys.

    Args:
        model: The model.
        key: The node's site.
        channel: Its channel.
        share: How much each token counts, [token]; by default all alike.
    """
    network, way = under(model), writing(model, key, channel)
    unembedding = network.lm_head.weight * network.ln_f.weight
    layer, _, site = key.rpartition(".")
    position = isinstance(way, int) and way >= network.config.d_model
    if key == FINAL_SITE or site in ("attn_out", "mlp_out") or (site in READ and not position):
        return _top(model, along(unembedding, way), "unembedding", share)
    if site in ("attn_v", "mlp_neuron"):
        written = "attn_out" if site == "attn_v" else "mlp_out"
        weight = along(writer(network, f"{layer}.{written}")[0], way)
        return _top(model, unembedding @ weight, f"via {written}", share)
    return None


def label(model: Model, key: str, channel: int, tokens: TaskTokens) -> str:
    """A few words on a node for its hover: the tokens of its task that it is most about."""
    part, number = part_of(model, key, channel)
    width = model.network.config.d_model
    if part != "latent" and key.endswith(READ) and number >= width:
        return f"position channel {number - width}"
    found = about(model, key, channel, tokens)
    if found is None:
        return ""
    both = sorted([*found.positive[:3], *found.negative[:3]], key=lambda t: -abs(t.weight))[:3]
    return ", ".join(f"{t.text!r} {t.weight:+.2f}" for t in both)


def about(model: Model, key: str, channel: int, tokens: TaskTokens) -> Tokens | None:
    """The tokens of a task that a node is about: the answers it writes, or else what it reads."""
    found = None
    if key == FINAL_SITE or key.endswith("_out"):
        found = writes(model, key, channel, tokens.written)
    return found or reads(model, key, channel, tokens.read)


def first_token(model: Model, key: str, channel: int, tokens: TaskTokens) -> str | None:
    """The one token of a task that names a node."""
    found = about(model, key, channel, tokens)
    if found is None:
        return None
    share = tokens.written if found.how == "unembedding" else tokens.read
    firsts = [*found.positive[:1], *found.negative[:1]]
    return max(firsts, key=lambda t: abs(t.weight) * float(share[t.token])).text


def _top(model: Model, weights: Tensor, how: str, share: Tensor | None = None) -> Tokens | None:
    """The tokens with the largest weights, times how much each counts, of either sign."""
    ranked = weights if share is None else weights * share
    count = min(SHOWN, len(weights))

    def named(order: Tensor, sign: int) -> list[TokenWeight]:
        return [
            TokenWeight(token=t, text=model.tokenizer.token(t), weight=round(float(weights[t]), 5))
            for t in order.tolist()
            if sign * float(ranked[t]) > 0
        ]

    with torch.inference_mode():
        high = named(ranked.topk(count).indices, 1)
        low = named(ranked.topk(count, largest=False).indices, -1)
    return Tokens(how=how, positive=high, negative=low) if high or low else None
