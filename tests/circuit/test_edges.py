"""Edges and paths against plain loops over the weights."""

import itertools

import numpy as np
import torch

import micro
from lacewing.ablation.masks import masks_of
from lacewing.circuit.edges import count_all, edges_between
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.model.weights import FAMILIES
from lacewing.pruning.reachability import reachable

Node = tuple[str, int]


def matrix(model: Model, layer: int, family: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of an edge family, cut out by hand."""
    block, d = model.network.blocks[layer], model.network.config.d_model
    name = family.split("-")[1]
    if name in ("attn_q", "attn_k", "attn_v"):
        start = ("attn_q", "attn_k", "attn_v").index(name) * d
        return block.c_attn.weight[start : start + d], block.c_attn.bias[start : start + d]
    layers = {"attn_out": block.attn_proj, "mlp_neuron": block.c_fc, "mlp_out": block.mlp_proj}
    return layers[name].weight, layers[name].bias


def some_nodes(model: Model, seed: int, share: float) -> dict[str, np.ndarray]:
    dice = np.random.default_rng(seed)
    return {
        key: np.flatnonzero(dice.random(width) < share).astype(np.int32)
        for key, width in site_widths(model.network.config).items()
    }


def loops(model: Model, nodes: dict[str, np.ndarray]) -> dict[str, list[tuple[int, int]]]:
    found = {}
    for layer, family in itertools.product(range(model.network.config.n_layer), FAMILIES):
        source, destination = family.split("-")
        weight = matrix(model, layer, family)[0]
        found[f"{layer}.{family}"] = [
            (int(s), int(d))
            for d in nodes[f"{layer}.{destination}"]
            for s in nodes[f"{layer}.{source}"]
            if float(weight[d, s]) != 0
        ]
    return found


def test_edges_equal_the_loops(busy: Model) -> None:
    """Every nonzero weight between two kept nodes and no other, however many are kept."""
    for seed, share in ((0, 0.5), (1, 1.1), (2, 0.1), (3, 0.0)):
        nodes = some_nodes(busy, seed, share)
        found = edges_between(busy.network, nodes)
        assert loops(busy, nodes) == {f: list(map(tuple, e.tolist())) for f, e in found.items()}
        assert {np.dtype(np.int32)} == {e.dtype for e in found.values()}


def test_all_edges_equal_the_loops(busy: Model) -> None:
    """The paper's, embedding and unembedding weights of kept channels, biases of kept nodes."""
    nodes, answers, network = some_nodes(busy, 4, 0.4), (80, 81), busy.network
    expected = sum(map(len, loops(busy, nodes).values()))
    read = set(nodes["resid_final"].tolist())
    for layer in range(2):
        for site in ("attn_in", "mlp_in"):
            read |= {c for c in nodes[f"{layer}.{site}"].tolist() if c < network.config.d_model}
        for family in ("attn_in-attn_q", "attn_in-attn_k", *list(FAMILIES)[2:]):
            bias = matrix(busy, layer, family)[1]
            kept = nodes[f"{layer}.{family.split('-')[1]}"]
            expected += sum(float(bias[c]) != 0 for c in kept)
    for token in range(network.config.vocab_size):
        expected += sum(float(network.wte.weight[token, c]) != 0 for c in read)
    for token in answers:
        expected += sum(float(network.lm_head.weight[token, c]) != 0 for c in nodes["resid_final"])
    assert expected == count_all(network, nodes, edges_between(network, nodes), answers)


def test_edges_of_the_planted_circuit(model: Model) -> None:
    """Eight edges the paper's way and 21 in full; in a dense model one for every pair of nodes."""
    nodes = micro.nodes_of(micro.PLANTED, model.network.config)
    answers = [model.tokenizer.single(c) for c in "PQ"]
    assert 8 == sum(map(len, edges_between(model.network, nodes).values()))
    assert micro.ALL_EDGES == count_all(
        model.network, nodes, edges_between(model.network, nodes), answers
    )
    dense = micro.micro(dense=True)
    assert micro.DENSE_EDGES == sum(map(len, edges_between(dense.network, nodes).values()))


def successors(model: Model, kept: set[Node]) -> dict[Node, set[Node]]:
    """For every kept node the kept nodes that read it, one step further."""
    config = model.network.config
    after: dict[Node, set[Node]] = {node: set() for node in kept}
    for layer, family in itertools.product(range(config.n_layer), FAMILIES):
        source, destination = family.split("-")
        weight = matrix(model, layer, family)[0]
        for d, s in torch.nonzero(weight).tolist():
            if (f"{layer}.{source}", s) in kept and (f"{layer}.{destination}", d) in kept:
                after[f"{layer}.{source}", s].add((f"{layer}.{destination}", d))
    order = list(site_widths(config))
    for key, channel in kept:
        if key.endswith(("attn_q", "attn_k")):  # these steer the values of their own head
            layer, head = key.split(".")[0], channel // config.d_head
            values = range(head * config.d_head, (head + 1) * config.d_head)
            after[key, channel] |= {(f"{layer}.attn_v", c) for c in values} & kept
        if key.endswith("_out"):
            later = order[order.index(key) + 1 :]
            reads = {k for k in later if k.endswith("_in") or k == "resid_final"}
            after[key, channel] |= {(k, channel) for k in reads} & kept
    return after


def test_reachable_equals_brute_force_reachability(busy: Model) -> None:
    """A kept node stays if some walk along edges, heads and residual leads to a final channel."""
    for seed in range(12):
        nodes = some_nodes(busy, seed, 0.25)
        kept = {(key, int(c)) for key, channels in nodes.items() for c in channels}
        after = successors(busy, kept)
        alive = {node for node in kept if node[0] == "resid_final"}
        while more := {node for node in kept - alive if after[node] & alive}:
            alive |= more
        masks = reachable(busy.network, masks_of(busy.network, nodes))
        found = {(key, c) for key, m in masks.items() for c in torch.nonzero(m).flatten().tolist()}
        assert alive == found
        assert alive < kept


def test_reachable_keeps_the_planted_circuit(model: Model) -> None:
    """Every planted node leads to the answer; beside them, loose ones go."""
    config = model.network.config
    planted = masks_of(model.network, micro.nodes_of(micro.PLANTED, config))
    loose = micro.PLANTED | {"0.mlp_out": [3, 7], "0.mlp_neuron": [0, 5], "0.attn_k": [0, 40]}
    more = masks_of(model.network, micro.nodes_of(loose, config))
    for masks in (planted, more):
        found = reachable(model.network, masks)
        assert all(torch.equal(planted[key], found[key]) for key in planted)
