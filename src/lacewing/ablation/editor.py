"""The circuit editor: nodes and edges switched off and on again, and the loss that follows.

An edge that is off contributes its weight times the ablation value of its source: in a copy of the
network its weight is zero and the bias of its destination has grown by that. So a circuit with
edges cut runs like any other.
"""

import copy
import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.limit import loss_within
from lacewing.ablation.masks import masks_of, nodes_of
from lacewing.ablation.prefixes import UniquePrefixes, unique_prefixes
from lacewing.ablation.values import ablation_values_of
from lacewing.circuit.circuit import Ablation, Circuit
from lacewing.circuit.components import Component, Edge, Node, edge_list, ends
from lacewing.circuit.edges import edges_between
from lacewing.model.protocol import Network
from lacewing.model.store import Model
from lacewing.model.transformer import Transformer, own
from lacewing.model.weights import writer, writers
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import two_answer_loss

REMEMBERED = 2
"""Sets of prompts whose prefixes an editor keeps: what ranks components, and what decides."""


class CircuitEditor:
    """A circuit whose components can be switched."""

    def __init__(
        self, network: Transformer, circuit: Circuit, ablation_values: Mapping[str, Tensor]
    ) -> None:
        """Start with all of a circuit on, and all of its model's other edges between nodes off.

        Args:
            network: The circuit's model; it is copied.
            circuit: Where the editor begins.
            ablation_values: Per site key, what stands for the values of nodes that are off.
        """
        self.network, self.ablation_values, self.circuit = (
            cut_network(network, circuit, ablation_values),
            ablation_values,
            circuit,
        )
        self.refit = circuit.calibration is not None
        self.masks = masks_of(network, circuit.nodes)
        self._writers = {
            f"{layer}.{site}": pair
            for layer, block in enumerate(self.network.blocks)
            for site, pair in writers(block).items()
        }
        self._held: dict[Edge, float] = {}
        self.edges = sorted(edge_list(circuit.edges))
        self._reads = torch.from_numpy(circuit.nodes["0.attn_in"].astype(np.int64))
        self._known: dict[int, tuple[Prompts, Sequence[UniquePrefixes]]] = {}

    def switch(self, component: Component, on: bool) -> None:
        """Turn one node or edge on or off."""
        if len(component) == 2:
            self.masks[component[0]][component[1]] = on
            return
        (_, source), (key, destination) = ends(component)
        weight, bias = self._writers[key]
        ablation_value = float(self.ablation_values[ends(component)[0][0]][source])
        with torch.no_grad():
            if on:
                weight[destination, source] = held = self._held.pop(component)
                bias[destination] -= held * ablation_value
            else:
                held = self._held[component] = float(weight[destination, source])
                weight[destination, source] = 0.0
                bias[destination] += held * ablation_value

    def nodes_on(self) -> list[Node]:
        """The nodes that are on."""
        return [(key, int(c)) for key, mask in self.masks.items() for c in mask.nonzero()[:, 0]]

    def edges_on(self) -> list[Edge]:
        """The edges that are on and have both ends on."""
        return [
            edge
            for edge in self.edges
            if edge not in self._held and all(self.masks[key][c] for key, c in ends(edge))
        ]

    def is_off(self, edge: Edge) -> bool:
        """Whether an edge was switched off itself."""
        return edge in self._held

    def written(self, key: str) -> tuple[Tensor, Tensor]:
        """The weight [destination, source] and bias [destination] that write a site."""
        return self._writers[key]

    def biases(self) -> dict[str, Tensor]:
        """The bias that writes each site, as the edges that are off have left it."""
        return {key: bias for key, (_, bias) in self._writers.items()}

    def logits(self, prompts: Prompts) -> Tensor:
        """Logits at the answer position, before any calibration."""
        return torch.cat(list(self._pieces(prompts)))

    def _pieces(self, prompts: Prompts, wanted: Tensor | None = None) -> Iterator[Tensor]:
        live = CompiledCircuit(self.network, self.masks, self.ablation_values)
        for prefixes in self.prefixes(prompts):
            with torch.no_grad():
                logits = live.logits(prefixes, wanted)
            yield logits

    def prefixes(self, prompts: Prompts) -> Sequence[UniquePrefixes]:
        """Where some prompts run, kept for those that were asked for last."""
        if id(prompts) not in self._known:
            if len(self._known) == REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[id(prompts)] = prompts, unique_prefixes(self.network, prompts, self._reads)
        return self._known[id(prompts)][1]

    def losses(self, prompts: Prompts) -> Tensor:
        """Task loss of every sequence, in nats, before any calibration."""
        return two_answer_loss(self.logits(prompts), prompts)

    def loss(self, prompts: Prompts, without: Iterable[Component] = ()) -> float:
        """Mean task loss, in nats; of a calibrated circuit, calibrated anew on these prompts.

        Args:
            prompts: Prompts.
            without: Components that are off too; they are on again afterwards.
        """
        loss = self.loss_within(math.inf, prompts, without)
        assert loss is not None
        return loss

    def loss_within(
        self, limit: float, prompts: Prompts, without: Iterable[Component] = ()
    ) -> float | None:
        """The loss if it is at most the limit, else none: it need not be measured to the end.

        Args:
            limit: Nats.
            prompts: Prompts.
            without: Components that are off too; they are on again afterwards.
        """
        answers = torch.unique(torch.cat([prompts.answer, prompts.other]))
        switched = list(without)
        for component in switched:
            self.switch(component, on=False)
        try:
            return loss_within(limit, self._pieces(prompts, answers), prompts, self.refit)
        finally:
            for component in reversed(switched):
                self.switch(component, on=True)

    def within_target(self, prompts: Prompts, without: Iterable[Component] = ()) -> float | None:
        """The loss if it reaches what the circuit is chosen at, else none."""
        return self.loss_within(self.circuit.config.chosen_at, prompts, without)

    def arrays(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Nodes and edges that are on, as a circuit holds them."""
        edges: dict[str, list[tuple[int, int]]] = {family: [] for family in self.circuit.edges}
        for family, source, destination in self.edges_on():
            edges[family].append((source, destination))
        return nodes_of(self.masks), {
            family: np.array(pairs, dtype=np.int32).reshape(-1, 2)
            for family, pairs in edges.items()
        }


def cut_network(
    network: Transformer, circuit: Circuit, ablation_values: Mapping[str, Tensor]
) -> Transformer:
    """A copy of the network in which the edges that a circuit lacks are off.

    Only edges between kept nodes count: those of dropped nodes are constants either way.

    Args:
        network: The circuit's model.
        circuit: A circuit whose edges may be fewer than the weights between its nodes.
        ablation_values: Per site key, the values of ablated nodes.
    """
    network = copy.deepcopy(network)
    for family, pairs in circuit.edges.items():
        layer, _, ends = family.partition(".")
        source, site = ends.split("-")
        weight, bias = writer(network, f"{layer}.{site}")
        rows = torch.from_numpy(circuit.nodes[f"{layer}.{site}"].astype(np.int64))
        columns = torch.from_numpy(circuit.nodes[f"{layer}.{source}"].astype(np.int64))
        cut = torch.zeros(weight.shape, dtype=torch.bool)
        cut[rows[:, None], columns[None, :]] = True
        kept = torch.from_numpy(pairs.astype(np.int64))
        cut[kept[:, 1], kept[:, 0]] = False
        with torch.no_grad():
            gone = torch.where(cut, weight, 0)
            bias += gone @ ablation_values[f"{layer}.{source}"]
            weight -= gone
    return network


def cut_model(model: Model, circuit: Circuit, ablation: Ablation = "mean") -> Model:
    """The model in which a circuit runs: with the edges cut that it lacks.

    Args:
        model: The circuit's model, as it is if no edge is cut.
        circuit: The circuit.
        ablation: What stands for a source whose edge is cut: zero for `zero`, else the mean.
    """
    if not has_cut_edges(model.network, circuit):
        return model
    ablation_values = ablation_values_of(model, ablation)
    network = own(model.network, "a circuit with edges cut")
    return dataclasses.replace(model, network=cut_network(network, circuit, ablation_values))


def has_cut_edges(network: Network, circuit: Circuit) -> bool:
    """Whether some weight between two of its nodes is no edge of the circuit.

    None is ever cut in models of others, nor of a circuit of heads and MLPs, which says nothing of
    edges.
    """
    if not isinstance(network, Transformer) or circuit.parts is not None:
        return False
    whole = edges_between(network, circuit.nodes)
    return any(len(whole[family]) != len(pairs) for family, pairs in circuit.edges.items())
