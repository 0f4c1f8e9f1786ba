"""Which matrix reads one site and writes the next, and on which side a floor protects it.

    attn_in -> attn_q, attn_k, attn_v     c_attn, a third of its rows each     floor by row
    attn_v -> attn_out                    attn_proj                            floor by column
    mlp_in -> mlp_neuron                  c_fc                                 floor by row
    mlp_neuron -> mlp_out                 mlp_proj                             floor by column

A linear map's weight is [destination, source], as torch keeps it. The floor keeps some weights of
every neuron and channel alive: on the side of what is inside the block.
"""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from lacewing.model.families import FAMILIES, QKV, WRITERS, Writer
from lacewing.model.transformer import Transformer, thirds, writers

__all__ = [
    "FAMILIES",
    "FLOOR_AXIS",
    "QKV",
    "WRITERS",
    "Writer",
    "thirds",
    "weight_of",
    "writer",
    "writers",
]

FLOOR_AXIS: Mapping[str, Literal["row", "column"]] = {
    "c_attn": "row",
    "c_fc": "row",
    "attn_proj": "column",
    "mlp_proj": "column",
}
"""The matrices of a block, and the side on which the floor protects a neuron or channel."""


def writer(network: Transformer, key: str) -> tuple[Tensor, Tensor]:
    """Weight [destination, source] and bias [destination] that compute the site of a key."""
    layer, _, site = key.partition(".")
    return writers(network.blocks[int(layer)])[site]


def weight_of(network: Transformer, family: str) -> Tensor:
    """The weight [destination, source] that holds the edges of a family key."""
    layer, _, name = family.partition(".")
    return writer(network, f"{layer}.{FAMILIES[name]}")[0]
