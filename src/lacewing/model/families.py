"""Which matrix reads one site and writes the next: the names of a block's edges, for every model.

attn_in -> attn_q, attn_k, attn_v     attn_v -> attn_out
mlp_in -> mlp_neuron                  mlp_neuron -> mlp_out
"""

from collections.abc import Mapping
from dataclasses import dataclass

QKV = ("attn_q", "attn_k", "attn_v")
"""The sites that `c_attn` writes, in the order of its rows."""


@dataclass(frozen=True)
class Writer:
    """How a site is computed from the one before, in our transformer."""

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
