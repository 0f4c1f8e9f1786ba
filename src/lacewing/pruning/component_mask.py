"""The trainable mask of components: one number tau per node and per edge around a circuit.

    edge on     w x
    edge off    w a             a its source's ablation value: what it adds no longer varies
    node off    a               as under a mask of nodes

A step forward and a surrogate slope backward, as for nodes (`node_mask`). Only nodes that may be
kept run, in a compiled circuit: a step costs what these components cost, not what the model does.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.masks import Masks, nodes_of
from lacewing.ablation.node_mask import ranked, step
from lacewing.ablation.prefixes import UniquePrefixes
from lacewing.circuit.components import Component, Edge, Node, ends
from lacewing.circuit.edges import edges_between
from lacewing.model.store import Model
from lacewing.model.transformer import SiteHook
from lacewing.model.weights import FAMILIES, WRITERS


@dataclass(frozen=True)
class _Weights:
    """The edges of one linear map."""

    map: nn.Module
    row: Tensor
    column: Tensor
    edge: Tensor
    """Place of each in the mask's list of edges."""
    weight: Tensor
    ablation_value: Tensor
    """Of each edge's source."""
    rest: Tensor
    """The map's weight without these edges."""
    bias: Tensor

    def put(self, on: Tensor) -> None:
        """Let the edges that are on run, and the others add a constant."""
        running = self.weight * on[self.edge]
        self.map.weight = self.rest.index_put((self.row, self.column), running)
        self.map.bias = self.bias.index_add(
            0, self.row, (self.weight - running) * self.ablation_value
        )


class ComponentMask:
    """tau of some nodes of a model, and of all edges between them."""

    def __init__(
        self,
        model: Model,
        around: Masks,
        temperature: float,
        start: float,
        noise: float,
        generator: torch.Generator,
    ) -> None:
        """A mask as it starts.

        Args:
            model: The model; its blocks are copied.
            around: The nodes that may be kept.
            temperature: Width of the surrogate for the step.
            start: Mean of tau at the start; above 0, so that all is on.
            noise: Spread of tau around it.
            generator: Draws that.
        """
        self.masks, self.temperature = around, temperature
        # Copies, because means measured in inference mode could not be saved for backward passes.
        self.ablation_values = {key: mean.clone() for key, mean in model.means.items()}
        self.network = copy.copy(model.ours)
        self.network._modules = {**model.ours._modules}
        self.network.blocks = copy.deepcopy(model.ours.blocks)
        self.nodes: list[Node] = [
            (key, int(channel)) for key, mask in around.items() for channel in mask.nonzero()[:, 0]
        ]
        found = edges_between(model.network, nodes_of(around))
        self.edges: list[Edge] = [
            (family, int(s), int(d)) for family, pairs in found.items() for s, d in pairs
        ]
        place = {node: number for number, node in enumerate(self.nodes)}
        joined = [tuple(place[node] for node in ends(edge)) for edge in self.edges]
        self.ends = torch.tensor(joined, dtype=torch.long).reshape(-1, 2)
        self.weights = list(self._weights())
        components = len(self.nodes) + len(self.edges)
        drawn = start + noise * torch.randn(components, generator=generator)
        self.tau = drawn.clamp(-1, 1).requires_grad_()

    def logits(
        self, tokens: Int[Tensor, "batch token"], at: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch vocab"]:
        """Next-token logits of what is on, in nats, at one token per sequence, with gradients."""
        nodes, edges = self._on()
        for weights in self.weights:
            weights.put(edges)
        live = CompiledCircuit(self.network, self.masks, self.ablation_values, self._edits(nodes))
        return live.logits(UniquePrefixes.of(tokens, at))

    def cost(self, node: float) -> Float[Tensor, ""]:
        """Edges that are on, as are both their ends, and `node` for every node that is."""
        nodes, edges = self._on()
        return (edges * nodes[self.ends].prod(1)).sum() + node * nodes.sum()

    def edges_on(self) -> int:
        """How many edges are on, wherever they lead."""
        return int((self.tau[len(self.nodes) :] > 0).sum())

    def ranked(self, tau: Tensor) -> list[Component]:
        """All components, those of highest tau first, as it stands or stood; ties by index."""
        components: list[Component] = [*self.nodes, *self.edges]
        return [components[number] for number in ranked(tau).tolist()]

    def clamp_(self) -> None:
        """Bring tau back into [-1, 1]."""
        with torch.no_grad():
            self.tau.clamp_(-1, 1)

    def _on(self) -> tuple[Tensor, Tensor]:
        """1 where a node is on, and where an edge is; gradients reach `tau`."""
        on = step(self.tau, self.temperature)
        nodes, edges = torch.split(on, [len(self.nodes), len(self.edges)])
        return nodes, edges

    def _edits(self, on: Tensor) -> dict[str, SiteHook]:
        counts = {key: int(mask.sum()) for key, mask in self.masks.items()}
        components = dict(zip(counts, torch.split(on, list(counts.values())), strict=True))

        def hook(component: Tensor, ablation_value: Tensor) -> SiteHook:
            return lambda value: value * component + (1 - component) * ablation_value

        return {
            key: hook(component, self.ablation_values[key][self.masks[key]])
            for key, component in components.items()
            if len(component)
        }

    def _weights(self) -> Iterator[_Weights]:
        """What there is to mask of every map; its own weight and bias become plain tensors."""
        grouped: dict[tuple[int, str], list[int]] = {}
        for number, (family, _, _) in enumerate(self.edges):
            layer, _, name = family.partition(".")
            grouped.setdefault((int(layer), WRITERS[FAMILIES[name]].matrix), []).append(number)
        for (block, name), numbers in grouped.items():
            module = getattr(self.network.blocks[block], name)
            weight, bias = module.weight.detach().clone(), module.bias.detach().clone()
            of = [
                self._place(self.edges[number], self.network.config.d_model) for number in numbers
            ]
            row, column = (torch.tensor(list(side)) for side in zip(*of, strict=True))
            sources = (ends(self.edges[number])[0] for number in numbers)
            ablation_value = torch.stack(
                [self.ablation_values[key][channel] for key, channel in sources]
            )
            held = weight[row, column]
            weight[row, column] = 0
            del module.weight, module.bias  # parameters cannot be computed
            module.sparse = None
            yield _Weights(
                module, row, column, torch.tensor(numbers), held, ablation_value, weight, bias
            )

    @staticmethod
    def _place(edge: Edge, width: int) -> tuple[int, int]:
        """Row and column of an edge in its map's weight."""
        family, source, destination = edge
        third = WRITERS[FAMILIES[family.partition(".")[2]]].third or 0
        return third * width + destination, source
