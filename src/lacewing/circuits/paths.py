"""Which kept nodes a path of edges joins to the answer; the others cannot matter to it.

They are left over where the rest of their path was pruned away. Their value may still move a norm,
so the loss is always measured without them.
"""

import torch
from torch import Tensor

from lacewing.circuits.ablate import Masks
from lacewing.circuits.edges import FAMILIES, writers
from lacewing.model.sites import FINAL_SITE
from lacewing.model.transformer import Transformer


def connected(network: Transformer, masks: Masks) -> dict[str, Tensor]:
    """The kept nodes whose output can still reach the answer logits.

    Walks from the answer back to the embedding. A write counts if a later kept read (or the final
    residual) has its channel; a key or query if the layer keeps any value channel.
    """
    alive = {key: mask.clone() for key, mask in masks.items()}
    width = network.config.d_model
    read = alive[FINAL_SITE].clone()
    for layer in reversed(range(network.config.n_layer)):
        block = network.blocks[layer]
        weights = {site: weight != 0 for site, (weight, _) in writers(block).items()}  # type: ignore[arg-type]
        for part in (("mlp_neuron-mlp_out", "mlp_in-mlp_neuron"), ("attn_v-attn_out",)):
            written = part[0].split("-")[1]
            alive[f"{layer}.{written}"] &= read
            for family in part:
                source, destination = family.split("-")
                reached = weights[FAMILIES[family]][alive[f"{layer}.{destination}"]].any(0)
                alive[f"{layer}.{source}"] &= reached
            if written == "mlp_out":
                read |= alive[f"{layer}.mlp_in"][:width]
        _attention(alive, weights, layer, network.config.d_head)
        read |= alive[f"{layer}.attn_in"][:width]
    return alive


def _attention(
    alive: dict[str, Tensor], weights: dict[str, Tensor], layer: int, d_head: int
) -> None:
    """Keep queries and keys of heads with a live value channel, and what any of the three reads."""
    head_alive = alive[f"{layer}.attn_v"].view(-1, d_head).any(1).repeat_interleave(d_head)
    reached = torch.zeros_like(alive[f"{layer}.attn_in"])
    for site in ("attn_q", "attn_k", "attn_v"):
        alive[f"{layer}.{site}"] &= head_alive
        reached |= weights[site][alive[f"{layer}.{site}"]].any(0)
    alive[f"{layer}.attn_in"] &= reached
