"""A circuit as the set of its nodes and edges, and back."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from lacewing.ablation.masks import masks_of, nodes_of
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.components import Part, ends
from lacewing.model.transformer import Transformer
from lacewing.pruning.reachability import connected


def with_parts(network: Transformer, circuit: Circuit, parts: Iterable[Part]) -> Circuit:
    """A circuit like another, but of some parts, less those that no path joins to the answer."""
    empty = {key: np.zeros(0, dtype=np.int32) for key in circuit.nodes}
    masks = masks_of(network, empty)
    edges: dict[str, list[tuple[int, int]]] = {family: [] for family in circuit.edges}
    for part in parts:
        if len(part) == 2:
            masks[part[0]][part[1]] = True
        else:
            edges[part[0]].append(part[1:])
    masks = connected(network, masks, edges)
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
    )
