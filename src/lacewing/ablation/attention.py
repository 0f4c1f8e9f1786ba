"""What heads attend to, from recorded queries and keys."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lacewing.circuit.edges import Nodes
from lacewing.model.sites import FINAL_SITE
from lacewing.model.transformer import Block, Transformer, pick

Head = tuple[int, int]
"""Layer and number."""


def kept_heads(nodes: Nodes, d_head: int) -> list[Head]:
    """The heads of which any query, key or value channel is kept."""
    found = set()
    for key, channels in nodes.items():
        if key != FINAL_SITE and key.endswith(("attn_q", "attn_k", "attn_v")):
            layer = int(key.partition(".")[0])
            found |= {(layer, int(channel) // d_head) for channel in channels}
    return sorted(found)


def read_by(heads: Sequence[Head]) -> list[str]:
    """The sites that `patterns` needs."""
    layers = sorted({layer for layer, _ in heads})
    return [f"{layer}.{site}" for layer in layers for site in ("attn_q", "attn_k")]


def patterns(
    network: Transformer,
    seen: Mapping[str, Tensor],
    last: Int64[Tensor, " sequence"],
    heads: Sequence[Head],
) -> dict[Head, Float[Tensor, "sequence token"]]:
    """What the last token of every sequence attends to, and last what the sink takes.

    Args:
        network: The model.
        seen: Values at the sites `read_by` names.
        last: The last token of each.
        heads: The heads wanted.
    """
    size = network.config.d_head
    found = {}
    for layer, number in heads:
        block: Block = network.blocks[layer]  # type: ignore[assignment]
        mine = slice(number * size, (number + 1) * size)
        keys = seen[f"{layer}.attn_k"][..., mine]
        query = pick(seen[f"{layer}.attn_q"], last)[:, 0, mine]
        scores = torch.einsum("sc,stc->st", query, keys)
        beyond = torch.arange(keys.shape[1])[None] > last[:, None]
        scores = (scores * size**-0.5).masked_fill(beyond, -torch.inf)
        sink = torch.tensor(-torch.inf) if block.sink is None else block.sink[number]
        column = sink.expand(len(scores), 1)
        found[layer, number] = torch.cat([scores, column], dim=1).softmax(1)
    return found
