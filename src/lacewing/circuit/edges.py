"""Which weights of a model join the kept nodes of a circuit.

The paper counts six families of edges (method section 7), each a block of one weight matrix:

    attn_in -> attn_q, attn_k, attn_v     rows of c_attn
    attn_v -> attn_out                    attn_proj
    mlp_in -> mlp_neuron                  c_fc
    mlp_neuron -> mlp_out                 mlp_proj

An edge is a nonzero entry whose two ends are kept. Not counted there, and added by `count_all`: the
embedding weights of the channels that kept nodes read, the unembedding weights from kept final
channels to the answer tokens, and the nonzero biases of kept nodes. The residual path from a write
to a later read has no weight and is never an edge.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from lacewing.model.families import FAMILIES
from lacewing.model.protocol import Network
from lacewing.model.sites import FINAL_SITE, has_latents

Nodes = Mapping[str, np.ndarray]
"""Kept channels (sorted) of every site key."""


def kept_at(nodes: Nodes, key: str) -> np.ndarray:
    """The kept channels of a site; none where a circuit says nothing of it (see `parts`)."""
    return nodes.get(key, np.zeros(0, dtype=np.int32))


def edges_between(network: Network, nodes: Nodes) -> dict[str, np.ndarray]:
    """The edges among kept nodes.

    Args:
        network: The model.
        nodes: Kept channels per site key.

    Returns:
        For each `"LAYER.SOURCE-DESTINATION"` an int32 array [edge, 2] of source and destination
        channels, sorted by destination.
    """
    found = {}
    for layer in range(network.config.n_layer):
        joined = network.joined(layer)
        for family, written in FAMILIES.items():
            source, destination = (kept_at(nodes, f"{layer}.{s}") for s in family.split("-"))
            weight = joined[written].cpu().numpy()
            row, column = np.nonzero(weight[np.ix_(destination, source)])
            pairs = np.stack([source[column], destination[row]], axis=1)
            found[f"{layer}.{family}"] = pairs.astype(np.int32)
    return found


def count_all(
    network: Network, nodes: Nodes, edges: Mapping[str, np.ndarray], answers: Iterable[int]
) -> int:
    """Edges of a circuit in full: the paper's, embedding, unembedding and biases."""
    paper = sum(len(pairs) for pairs in edges.values())
    if has_latents(network.config):
        return paper
    return (
        paper
        + _embedding(network, nodes)
        + _unembedding(network, nodes, answers)
        + _biases(network, nodes)
    )


def read_channels(network: Network, nodes: Nodes) -> np.ndarray:
    """Residual channels that some kept node reads."""
    width = network.config.d_model
    reads = [
        channels
        for key, channels in nodes.items()
        if key == FINAL_SITE or key.endswith(("attn_in", "mlp_in"))
    ]
    together = np.unique(np.concatenate(reads))
    return together[together < width]  # above lie position channels, which nothing writes


def _embedding(network: Network, nodes: Nodes) -> int:
    table = network.embedding().cpu().numpy()
    return int(np.count_nonzero(table[:, read_channels(network, nodes)]))


def _unembedding(network: Network, nodes: Nodes, answers: Iterable[int]) -> int:
    table = network.unembedding().cpu().numpy()
    tokens = np.array(sorted(set(answers)), dtype=np.int64)
    return int(np.count_nonzero(table[np.ix_(tokens, nodes[FINAL_SITE])]))


def _biases(network: Network, nodes: Nodes) -> int:
    total = 0
    for layer in range(network.config.n_layer):
        for site, bias in network.biases(layer).items():
            kept = nodes[f"{layer}.{site}"]
            total += int(np.count_nonzero(bias.cpu().numpy()[kept]))
    return total
