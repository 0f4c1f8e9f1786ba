"""The components of a circuit, one by one: its nodes and its edges, and their names."""

from collections.abc import Mapping

import numpy as np

from lacewing.circuit.circuit import Circuit
from lacewing.model.weights import FAMILIES

Node = tuple[str, int]
"""Site key and channel."""


Edge = tuple[str, int, int]
"""Family key, source and destination channel."""


Component = Node | Edge


def component_name(component: Component) -> str:
    """`"0.mlp_in.17"` or `"0.mlp_in-mlp_neuron.17-203"`."""
    key, *channels = component
    return f"{key}.{'-'.join(map(str, channels))}"


def ends(edge: Edge) -> tuple[Node, Node]:
    """The nodes an edge leads from and to."""
    family, source, destination = edge
    layer, _, name = family.partition(".")
    start, end = name.split("-")
    return (f"{layer}.{start}", source), (f"{layer}.{end}", destination)


def edge_list(arrays: Mapping[str, np.ndarray]) -> list[Edge]:
    """The edges of a circuit, one by one."""
    assert set(FAMILIES) >= {family.partition(".")[2] for family in arrays}
    return [(family, int(s), int(d)) for family, pairs in arrays.items() for s, d in pairs]


def components_of(circuit: Circuit) -> frozenset[Component]:
    """All nodes and edges of a circuit."""
    nodes = ((key, int(c)) for key, channels in circuit.nodes.items() for c in channels)
    return frozenset[Component]([*nodes, *edge_list(circuit.edges)])
