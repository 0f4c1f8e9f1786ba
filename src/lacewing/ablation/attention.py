"""What heads attend to, from recorded queries and keys."""

from collections.abc import Mapping, Sequence

from jaxtyping import Float, Int64
from torch import Tensor

from lacewing.circuit.edges import Nodes
from lacewing.model.families import QKV
from lacewing.model.protocol import Head, Network, Shape, key_head
from lacewing.model.sites import FINAL_SITE


def kept_heads(nodes: Nodes, config: Shape) -> list[Head]:
    """The heads of which any query, key or value channel is kept; keys and values may be shared."""
    found = set()
    for key, channels in nodes.items():
        if key == FINAL_SITE or not key.endswith(QKV):
            continue
        layer, _, site = key.partition(".")
        kept = {int(channel) // config.d_head for channel in channels}
        for head in range(config.n_head):
            mine = head if site == "attn_q" else key_head(config, head)
            if mine in kept:
                found.add((int(layer), head))
    return sorted(found)


def read_by(heads: Sequence[Head]) -> list[str]:
    """The sites that `patterns` needs."""
    layers = sorted({layer for layer, _ in heads})
    return [f"{layer}.{site}" for layer in layers for site in ("attn_q", "attn_k")]


def patterns(
    network: Network,
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
    return network.attention(seen, last, heads)
