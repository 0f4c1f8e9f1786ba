"""Which matrix reads one site and writes the next, and on which side a floor protects it.

    attn_in -> attn_q, attn_k, attn_v     c_attn, a third of its rows each     floor by row
    attn_v -> attn_out                    attn_proj                            floor by column
    mlp_in -> mlp_neuron                  c_fc                                 floor by row
    mlp_neuron -> mlp_out                 mlp_proj                             floor by column

A linear map's weight is [destination, source], as torch keeps it. The floor keeps some weights of
every neuron and channel alive: on the side of what is inside the block.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor
from torch.nn import Module

from lacewing.model.transformer import Block, Transformer

QKV = ("attn_q", "attn_k", "attn_v")
"""The sites that `c_attn` writes, in the order of its rows."""


@dataclass(frozen=True)
class Writer:
    """How a site is computed from the one before."""

    reads: str
    """The site its matrix reads."""
    matrix: str
    """The linear map of a block."""
    third: int | None = None
    """Which third of the map's rows, where three sites share it."""


WRITERS: Mapping[str, Writer] = {
    **{site: Writer("attn_in", "c_attn", third) for third, site in enumerate(QKV)},
    "attn_out": Writer("attn_v", "attn_proj"),
    "mlp_neuron": Writer("mlp_in", "c_fc"),
    "mlp_out": Writer("mlp_neuron", "mlp_proj"),
}
"""How each written site is computed."""

FAMILIES: Mapping[str, str] = {f"{w.reads}-{site}": site for site, w in WRITERS.items()}
"""Edge families, SOURCE-DESTINATION, and the site each one writes (method section 7)."""

FLOOR_AXIS: Mapping[str, Literal["row", "column"]] = {
    "c_attn": "row",
    "c_fc": "row",
    "attn_proj": "column",
    "mlp_proj": "column",
}
"""The matrices of a block, and the side on which the floor protects a neuron or channel."""


def writers(block: Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Weight [destination, source] and bias [destination] that compute each written site."""
    found = {}
    for site, writer in WRITERS.items():
        linear = getattr(cast("Block", block), writer.matrix)
        weight, bias = linear.weight, linear.bias
        if writer.third is not None:
            weight, bias = thirds(weight)[writer.third], thirds(bias)[writer.third]
        found[site] = (weight, bias)
    return found


def thirds(rows: Tensor) -> tuple[Tensor, ...]:
    """The rows of `c_attn`, or of its bias, that write queries, keys and values."""
    return rows.chunk(len(QKV))


def writer(network: Transformer, key: str) -> tuple[Tensor, Tensor]:
    """Weight [destination, source] and bias [destination] that compute the site of a key."""
    layer, _, site = key.partition(".")
    return writers(network.blocks[int(layer)])[site]


def weight_of(network: Transformer, family: str) -> Tensor:
    """The weight [destination, source] that holds the edges of a family key."""
    layer, _, name = family.partition(".")
    return writer(network, f"{layer}.{FAMILIES[name]}")[0]
