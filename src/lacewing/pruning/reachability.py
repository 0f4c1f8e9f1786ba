"""Which kept nodes reach the answer by a path of edges; the others cannot matter to it.

They are left over where the rest of their path was pruned away. Their value may still move a norm,
so the loss is always measured without them.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from lacewing.ablation.masks import Masks, masks_of, nodes_of
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.components import Component, ends
from lacewing.model.families import FAMILIES
from lacewing.model.protocol import Network, Shape, key_head
from lacewing.model.sites import FINAL_SITE, has_latents


def reachable(
    network: Network, masks: Masks, edges: Mapping[str, Sequence[tuple[int, int]]] | None = None
) -> dict[str, Tensor]:
    """The kept nodes whose output can still reach the answer logits.

    Walks from the answer back to the embedding. A write counts if a later kept read (or the final
    residual) has its channel; a key or query if the layer keeps any value channel. By default all
    weights between kept nodes are edges; `edges` names them by family, as source and destination.
    """
    alive = {key: mask.clone() for key, mask in masks.items()}
    if has_latents(network.config):  # what lies between them runs freely
        return alive
    width = network.config.d_model
    read = alive[FINAL_SITE].clone()
    for layer in reversed(range(network.config.n_layer)):
        weights = _joined(network, layer, edges)
        for part in (("mlp_neuron-mlp_out", "mlp_in-mlp_neuron"), ("attn_v-attn_out",)):
            written = part[0].split("-")[1]
            alive[f"{layer}.{written}"] &= read
            for family in part:
                source, destination = family.split("-")
                reached = weights[FAMILIES[family]][alive[f"{layer}.{destination}"]].any(0)
                alive[f"{layer}.{source}"] &= reached
            if written == "mlp_out":
                read |= alive[f"{layer}.mlp_in"][:width]
        _attention(alive, weights, layer, network.config)
        read |= alive[f"{layer}.attn_in"][:width]
    return alive


def _joined(
    network: Network, layer: int, edges: Mapping[str, Sequence[tuple[int, int]]] | None
) -> dict[str, Tensor]:
    """Per written site, [destination, source]: whether an edge joins them."""
    whole = network.joined(layer)
    if edges is None:
        return dict(whole)
    joined = {site: torch.zeros_like(some) for site, some in whole.items()}
    for family, site in FAMILIES.items():
        for source, destination in edges[f"{layer}.{family}"]:
            joined[site][destination, source] = True
    return joined


def _attention(
    alive: dict[str, Tensor], weights: dict[str, Tensor], layer: int, config: Shape
) -> None:
    """Keep queries and keys of heads with a live value channel, and what any of the three reads."""
    size = config.d_head
    given = alive[f"{layer}.attn_v"].view(-1, size).any(1)
    asking = given[[key_head(config, head) for head in range(config.n_head)]]
    reached = torch.zeros_like(alive[f"{layer}.attn_in"])
    for site in ("attn_q", "attn_k", "attn_v"):
        heads = asking if site == "attn_q" else given
        alive[f"{layer}.{site}"] &= heads.repeat_interleave(size)
        reached |= weights[site][alive[f"{layer}.{site}"]].any(0)
    alive[f"{layer}.attn_in"] &= reached


def circuit_of_components(
    network: Network, circuit: Circuit, components: Iterable[Component]
) -> Circuit:
    """A circuit like another, but of some components, less those that do not reach the answer."""
    empty = {key: np.zeros(0, dtype=np.int32) for key in circuit.nodes}
    masks = masks_of(network, empty)
    edges: dict[str, list[tuple[int, int]]] = {family: [] for family in circuit.edges}
    for component in components:
        if len(component) == 2:
            masks[component[0]][component[1]] = True
        else:
            edges[component[0]].append(component[1:])
    masks = reachable(network, masks, edges)
    kept = {
        family: [
            (source, destination)
            for source, destination in sorted(pairs, key=lambda pair: pair[::-1])
            if all(masks[key][channel] for key, channel in ends((family, source, destination)))
        ]
        for family, pairs in edges.items()
    }
    return dataclasses.replace(
        circuit,
        nodes=nodes_of(masks),
        edges={f: np.array(pairs, dtype=np.int32).reshape(-1, 2) for f, pairs in kept.items()},
        certificate=None,
    )
