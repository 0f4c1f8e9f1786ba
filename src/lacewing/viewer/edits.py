"""A circuit with changes: nodes off or on, edges cut, nodes held at a value.

What is ablated is a constant, so an edit only moves things between what runs and what is constant:
a node that is off, or held at a value, is a constant; an edge that is cut leaves its weight times
its source's ablation value in the bias of its destination.
"""

import copy
import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from lacewing.ablation.masks import masks_of
from lacewing.ablation.values import ablation_values_of
from lacewing.circuit.circuit import Ablation, Circuit
from lacewing.circuit.components import Component
from lacewing.circuit.edges import edges_between, kept_at
from lacewing.errors import DataError
from lacewing.model.sites import has_latents, parse_node, site_widths
from lacewing.model.store import Model
from lacewing.model.transformer import Transformer
from lacewing.model.weights import FAMILIES, WRITERS, writers
from lacewing.viewer.answers import Edit

SOURCES = {site: writer.reads for site, writer in WRITERS.items()}
"""Where the edges into a site come from."""
EDGE = re.compile(r"(\d+)\.([a-z_]+):(\d+)->(\d+)")


@dataclasses.dataclass(frozen=True)
class Changes:
    """Edits, sorted by what they do."""

    off: frozenset[str]
    on: frozenset[str]
    cut: frozenset[tuple[str, int, int]]
    """Family key `"0.attn_in-attn_q"`, source and destination channel."""
    values: Mapping[str, float]

    @classmethod
    def of(cls, edits: Sequence[Edit], model: Model) -> "Changes":
        """Check edits against a model; a later edit of a node goes before an earlier one.

        Raises:
            DataError: an edit says nothing or too much, or names no node or edge of the model.
        """
        off: dict[str, None] = {}
        on: dict[str, None] = {}
        values: dict[str, float] = {}
        cut = set()
        for edit in edits:
            said = [name for name in ("off", "on", "cut", "node") if getattr(edit, name)]
            if len(said) != 1 or (edit.node is None) != (edit.value is None):
                raise DataError(
                    "an edit is one of off, on, cut, or node with value; this one says "
                    f"{said or 'nothing'}"
                )
            if edit.cut and has_latents(model.network.config):
                raise DataError("no weight joins two latents, so there is no edge to cut")
            if edit.cut:
                cut.add(parse_edge(edit.cut, model))
                continue
            node = edit.off or edit.on or edit.node or ""
            check_node(node, model)
            for others in (off, on, values):
                others.pop(node, None)
            if edit.node is not None and edit.value is not None:
                values[node] = edit.value
            else:
                (off if edit.off else on)[node] = None
        return cls(frozenset(off), frozenset(on), frozenset(cut), values)


def check_node(node: str, model: Model) -> tuple[str, int]:
    """Site key and channel of a node of this model.

    Raises:
        DataError: the model has no such node.
    """
    key, channel = parse_node(node)
    widths = site_widths(model.network.config)
    if channel >= widths.get(key, 0):
        called = "nodes" if has_latents(model.network.config) else "channels"
        raise DataError(
            f"{node} is no node of {model.source}: "
            + (f"{key} has {widths[key]} {called}" if key in widths else f"there is no {key}")
        )
    return key, channel


def edge_name(family: str, source: int, destination: int) -> str:
    """`"0.attn_q:17->203"` of a family key and two channels."""
    layer, _, name = family.partition(".")
    return f"{layer}.{FAMILIES[name]}:{source}->{destination}"


def name_of(component: Component) -> str:
    """A node's name, or an edge's, as the page has them."""
    if len(component) == 2:
        return f"{component[0]}.{component[1]}"
    return edge_name(*component)


def parse_edge(edge: str, model: Model) -> tuple[str, int, int]:
    """Family key, source and destination channel of an edge's name.

    Raises:
        DataError: the text is no edge of this model.
    """
    found = EDGE.fullmatch(edge)
    if not found or found[2] not in SOURCES:
        raise DataError(f"{edge!r} is no edge; write LAYER.SITE:SOURCE->DESTINATION")
    layer, site, source, destination = found[1], found[2], int(found[3]), int(found[4])
    check_node(f"{layer}.{SOURCES[site]}.{source}", model)
    check_node(f"{layer}.{site}.{destination}", model)
    return f"{layer}.{SOURCES[site]}-{site}", source, destination


def edited(circuit: Circuit, model: Model, changes: Changes) -> Circuit:
    """The circuit of what is left, without losses: nobody has measured it."""
    nodes = {}
    for key, kept in circuit.nodes.items():
        channels = {f"{key}.{c}": c for c in kept.tolist()}
        channels |= {n: parse_node(n)[1] for n in changes.on if parse_node(n)[0] == key}
        left = sorted(c for name, c in channels.items() if name not in changes.off)
        nodes[key] = np.array(left, dtype=np.int32)
    edges = {}
    joined = {} if has_latents(model.network.config) else edges_between(model.network, nodes)
    for family, pairs in joined.items():
        layer, _, name = family.partition(".")
        source, destination = (
            set(kept_at(circuit.nodes, f"{layer}.{s}").tolist()) for s in name.split("-")
        )
        had = {(s, d) for s, d in circuit.edges[family].tolist()}
        left_pairs = [
            (s, d)
            for s, d in pairs.tolist()
            if ((s, d) in had or s not in source or d not in destination)
            and (family, s, d) not in changes.cut
        ]
        edges[family] = np.array(left_pairs, dtype=np.int32).reshape(-1, 2)
    edges = edges if joined else dict(circuit.edges)
    return dataclasses.replace(circuit, nodes=nodes, edges=edges, losses={}, certificate=None)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An edited circuit, ready to run."""

    model: Model
    """The network without the cut weights; its means are the ablation values, held values too."""
    masks: Mapping[str, Tensor]
    values: Mapping[str, float]


def prepare(circuit: Circuit, model: Model, ablation: Ablation, changes: Changes) -> Prepared:
    """Turn an edited circuit (see `edited`) into a network, masks and ablation values."""
    ablation_values = {k: v.clone() for k, v in ablation_values_of(model, ablation).items()}
    network = model.network
    if not has_latents(network.config):  # else there is no edge to cut
        network = without_cut(model.ours, circuit, ablation_values)
    masks = masks_of(network, circuit.nodes)
    for node, value in changes.values.items():
        key, channel = parse_node(node)
        masks[key][channel] = False
        ablation_values[key][channel] = value
    return Prepared(
        dataclasses.replace(model, network=network, means=ablation_values), masks, changes.values
    )


def without_cut(
    network: Transformer, circuit: Circuit, ablation_values: Mapping[str, Tensor]
) -> Transformer:
    """A copy in which weights between kept nodes that are no edges became constants.

    The network itself where there is no such weight. Only the blocks concerned are copied.
    """
    result = network
    for family, every in edges_between(network, circuit.nodes).items():
        kept = {(s, d) for s, d in circuit.edges[family].tolist()}
        cut = [(s, d) for s, d in every.tolist() if (s, d) not in kept]
        if not cut:
            continue
        layer, _, name = family.partition(".")
        if result is network:
            result = _shallow(network)
        block = result.blocks[int(layer)]
        if block is network.blocks[int(layer)]:
            memo = {id(network.hooks): network.hooks}
            block = result.blocks[int(layer)] = copy.deepcopy(block, memo)
        weight, bias = writers(block)[FAMILIES[name]]
        ablation_value = ablation_values[f"{layer}.{name.split('-')[0]}"]
        source, destination = torch.tensor(cut).unbind(1)
        bias.index_add_(0, destination, weight[destination, source] * ablation_value[source])
        weight[destination, source] = 0
    return result


def _shallow(network: Transformer) -> Transformer:
    """The same network with a list of blocks of its own."""
    other = copy.copy(network)
    other._modules = dict(network._modules)
    other._modules["blocks"] = torch.nn.ModuleList(network.blocks)
    return other
