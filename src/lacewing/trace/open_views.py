"""What `views` says of a held pass, of any model: the answer by layer, and why a head looks there.

The residual stream before a part is that after it, less what the part wrote. A head's reason is
attribution that is exact to first order: a query's channel times what one unit of it adds to the
log of the share that the token got.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from lacewing.errors import DataError
from lacewing.model.hooks import record
from lacewing.model.protocol import Head, Network, Norm, key_head
from lacewing.model.sites import FINAL_SITE, has_latents, parse_node
from lacewing.model.store import Model
from lacewing.trace.graph import TraceNode
from lacewing.trace.trace import HEADS, PRODUCTS, Look


@torch.inference_mode()
def recorded(model: Model, tokens: Sequence[int]) -> dict[str, Tensor]:
    """Values of every site on a prompt, [batch token channel]."""
    with record(model.network) as seen:
        model.network(torch.tensor([list(tokens)]))
    return seen


@dataclass(frozen=True)
class Views:
    """Both looks at one answer."""

    looks: tuple[Look, ...]
    lens: tuple[tuple[str, float], ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values, named as a trace of our own models names them."""
        return {
            "looks": [asdict(look) for look in self.looks],
            "lens": [{"after": name, "difference": nats} for name, nats in self.lens],
        }


def open_views(
    model: Model, tokens: Sequence[int], answer: int, rival: int, nodes: Sequence[TraceNode]
) -> Views:
    """The answer by layer, and why the heads looked where they looked that its nodes belong to.

    Args:
        model: Any model of the protocol.
        tokens: The prompt.
        answer: Token id.
        rival: Token id.
        nodes: Of its trace.
    """
    seen = recorded(model, tokens)
    lens = open_lens(model, seen, answer, rival)
    return Views(open_looks(model, seen, nodes), tuple(lens))


def open_lens(
    model: Model, seen: Mapping[str, Tensor], answer: int, rival: int
) -> list[tuple[str, float]]:
    """The logit difference if a model stopped after each part, read through its last norm.

    Args:
        model: Any model of the protocol.
        seen: What it computed on a prompt, see `recorded`.
        answer: Token id.
        rival: Token id.

    Returns:
        Names of parts and nats, from the embedding on; nothing of a model whose nodes are latents.

    Example:
        >>> model = load("builtin:taught-tiny")
        >>> name, nats = open_lens(model, recorded(model, (5, 9, 7)), 20, 30)[-1]
        >>> name
        'MLP 0'
    """
    if has_latents(model.network.config):
        return []
    norm = final_norm(model.network)
    unembedding = model.network.unembedding()
    row = unembedding[answer] - unembedding[rival]
    x, points = seen[FINAL_SITE][0, -1], []
    for layer in reversed(range(model.network.config.n_layer)):
        for site, name in (("mlp_out", "MLP"), ("attn_out", "attention")):
            points.append((f"{name} {layer}", x))
            x = x - seen[f"{layer}.{site}"][0, -1]
    points.append(("embedding", x))
    with torch.inference_mode():
        return [(name, float(_normed(norm.module, x) @ row)) for name, x in reversed(points)]


def final_norm(network: Network) -> Norm:
    """The norm that the unembedding reads through: the one that is no block's."""
    return next(
        norm
        for name, norm in network.norms().items()
        if not any(part.isdecimal() for part in name.split("."))
    )


def _normed(norm: torch.nn.Module, x: Tensor) -> Tensor:
    normed: Tensor = norm(x[None, None])
    return normed[0, 0]


def open_looks(
    model: Model, seen: Mapping[str, Tensor], nodes: Sequence[TraceNode]
) -> tuple[Look, ...]:
    """Where the heads looked that some nodes belong to, and why.

    Args:
        model: Any model of the protocol.
        seen: What it computed on the prompt, see `recorded`.
        nodes: Of a trace; queries say which token looks, keys and values which head.
    """
    if has_latents(model.network.config):
        return ()
    carried: dict[tuple[int, int, int], float] = {}
    last = seen[FINAL_SITE].shape[1] - 1
    for node in nodes:
        layer, _, site = node.key.partition(".")
        token = node.token if site == "attn_q" else last
        for head in heads_of(model, f"{node.key}.{node.channel}"):
            look = (int(layer), head, token)
            carried[look] = carried.get(look, 0.0) + abs(node.effect)
    chosen = sorted(carried, key=lambda look: -carried[look])[:HEADS]
    return tuple(look_of(model, seen, (layer, head), token) for layer, head, token in chosen)


def heads_of(model: Model, node: str) -> tuple[int, ...]:
    """The heads that a node is a query, a key or a value of; keys may be of several."""
    key, channel = parse_node(node)
    config = model.network.config
    site, number = key.rpartition(".")[2], channel // config.d_head
    if site == "attn_q":
        return (number,)
    if site not in ("attn_k", "attn_v"):
        return ()
    return tuple(h for h in range(config.n_head) if key_head(config, h) == number)


def look_of(model: Model, seen: Mapping[str, Tensor], head: Head, query: int) -> Look:
    """Where a head looks most from a token, and the channels of the query that it is due to.

    Raises:
        DataError: the model has no such head.
    """
    layer, number = head
    config = model.network.config
    if layer >= config.n_layer or number >= config.n_head:
        raise DataError(f"no head {layer}.{number}")
    q, k = (seen[f"{layer}.{site}"].detach().clone() for site in ("attn_q", "attn_k"))
    with torch.inference_mode(False), torch.enable_grad():
        q, k = q.clone().requires_grad_(), k.clone()
        values = {f"{layer}.attn_q": q, f"{layer}.attn_k": k}
        pattern = model.network.attention(values, torch.tensor([query]), [head])[head][0]
        there = int(pattern[: query + 1].argmax())
        pattern[there].log().backward()  # type: ignore[no-untyped-call]
        assert q.grad is not None
        parts = (q * q.grad)[0, query].detach()
    first = number * config.d_head
    mine = parts[first : first + config.d_head]
    order = mine.abs().sort(descending=True).indices.tolist()[:PRODUCTS]
    reasons = tuple((first + c, float(mine[c])) for c in order if mine[c])
    return Look(layer, number, query, there, float(pattern[there].detach()), reasons)
