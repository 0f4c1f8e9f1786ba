"""Prune single weights: a mask of nodes and edges, learned around a circuit of nodes.

    1 around the selection that the mask of nodes gave, up to ten times as many of its best nodes
    2 tau of every node and edge among them is trained on  task loss + penalty x edges on;  all
      edges together cost what all nodes there would have cost in the search for nodes
    3 at points of the path's later half, bisection finds how few of the highest-ranked components
      reach the target on validation prompts
    4 the same from other seeds, each with half as many nodes around the selection: others are
      found, in less time
    5 from these circuits, and from that of nodes, components go (`elimination`); what is left of
      them is merged and pruned again (`merge`); the circuit with the fewest edges wins

What is left of a large circuit is not minimal yet: `minimise` goes on from there.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lacewing import artifacts
from lacewing.ablation.editor import CircuitEditor
from lacewing.ablation.masks import Masks, nodes_of
from lacewing.ablation.node_mask import ranked
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.components import Component, components_of
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.edges import edges_between
from lacewing.circuit.prompts import PromptSets
from lacewing.model.store import Model
from lacewing.pruning.component_mask import ComponentMask
from lacewing.pruning.elimination import eliminated
from lacewing.pruning.kept_parts import calibration_state, set_calibration
from lacewing.pruning.learned_calibration import LearnedCalibration
from lacewing.pruning.mask_learning import drawn, follow, mask_optimizer, penalty_at
from lacewing.pruning.merge import merged
from lacewing.pruning.node_search import Search
from lacewing.pruning.reachability import circuit_of_components, reachable
from lacewing.pruning.selection import smallest
from lacewing.pruning.state import State, moments, named, put_back, set_moments, under
from lacewing.tasks.scoring import two_answer_loss

AROUND, MOST_EDGES = 10, 16_384
"""Nodes that may be kept for each of the selection, and edges between them, at most."""
NODE = 0.3
"""What a node costs, in edges: something, or idle ones would stay."""
LONGER = 2
"""Steps for each of the search for nodes; one costs a fraction."""


def fewest_edges(
    model: Model,
    search: Search,
    circuit: Circuit,
    say: Callable[[str], None] = lambda words: None,
    state: State | None = None,
) -> Circuit:
    """A circuit with fewer edges than one of nodes alone, if its surroundings have one.

    Args:
        model: The model.
        search: The search that found the circuit, at its end.
        circuit: One of nodes, with all edges between them.
        say: Called with how far it is.
        state: Where it goes on after an interruption.

    Returns:
        The smaller circuit, with losses and calibration of the other still, or the other itself.
    """
    config, sets = search.wanted.config, search.sets
    state, tell, selections = state or State(), _after(f"edges of {sets.name}", say), [circuit]
    for number in range(config.edge_masks):
        seeded = dataclasses.replace(config, seed=config.seed + number)
        told = _after(f"mask {number + 1} of {config.edge_masks}", tell)
        near = around(model, search, AROUND / 2**number)
        stages = learned(model, near, sets, seeded, told, state, f"edges.{number}")
        selections += filter(
            None, (_selected(model, circuit, components, sets) for components in stages)
        )
    distinct, small = {components_of(selected): selected for selected in selections}, []
    for number, selected in enumerate(distinct.values(), 1):
        tell(f"circuit {number} of {len(distinct)}, to be pruned")
        smaller = eliminated(model, selected, sets.validation, state, f"eliminated.{number}")
        small.append(smaller or selected)
    return merged(model, small, sets.validation, tell, state)


def _after(name: str, say: Callable[[str], None]) -> Callable[[str], None]:
    return lambda words: say(f"{name}: {words}")


def around(model: Model, search: Search, times: float) -> Masks:
    """The nodes that ranked highest when the search's first stage was passed, and its selection's.

    At most `times` as many as the selection has, besides its own.
    """
    assert search.best
    best, order = search.best.masks, ranked(search.rankings[0])
    count = round(times * search.best.nodes)
    while True:
        top = torch.zeros(len(order), dtype=torch.bool)
        top[order[:count]] = True
        masks = search.mask.by_site(top & ~search.mask.forbidden)
        masks = reachable(model.network, {key: mask | best[key] for key, mask in masks.items()})
        edges = sum(len(pairs) for pairs in edges_between(model.network, nodes_of(masks)).values())
        if edges <= MOST_EDGES or count <= search.best.nodes:
            return masks
        count = round(0.8 * count)


def learned(
    model: Model,
    around: Masks,
    sets: PromptSets,
    config: PruneConfig,
    say: Callable[[str], None] = lambda words: None,
    state: State | None = None,
    name: str = "edges",
) -> list[list[Component]]:
    """The components of a surrounding, ranked by masks at points of the path's later half."""
    state = state or State()
    steps, generator = LONGER * config.steps, torch.Generator().manual_seed(config.seed)
    mask = ComponentMask(
        model, around, config.temperature, config.init_bias, config.init_noise, generator
    )
    share = len(mask.nodes) / max(1, len(mask.edges))
    vocab = model.network.config.vocab_size
    calibration = LearnedCalibration(vocab) if config.calibrate else None
    optimizer = mask_optimizer(mask, config)
    stages = {round(point) for point in np.linspace(steps / 2, steps, config.stages)}
    walked, rankings = _resumed(state, name, mask, optimizer, calibration, generator)
    for at in range(walked, steps):
        batch = drawn(sets.train, config.batch, generator)
        logits = mask.logits(batch.tokens, batch.last)
        loss = two_answer_loss(calibration(logits) if calibration else logits, batch).mean()
        cost = share * penalty_at(config, at // LONGER) * mask.cost(NODE)
        (loss + cost).backward()  # type: ignore[no-untyped-call]
        follow(mask, optimizer, config, at / steps)
        if calibration:
            calibration.follow()
        say(f"{mask.edges_on()} on, step {at + 1} of {steps}")
        if at + 1 in stages:
            rankings.append(mask.tau.detach().clone())
        if state.due:
            _keep(state, name, at + 1, rankings, mask, optimizer, calibration, generator)
    return [mask.ranked(tau) for tau in rankings]


def _keep(
    state: State,
    name: str,
    walked: int,
    rankings: Sequence[Tensor],
    mask: ComponentMask,
    optimizer: torch.optim.Optimizer,
    calibration: LearnedCalibration | None,
    generator: torch.Generator,
) -> None:
    tensors = {"tau": mask.tau.detach(), "generator": generator.get_state()}
    tensors |= moments("mask", optimizer)
    tensors |= named("ranking", {str(place): tau for place, tau in enumerate(rankings)})
    if calibration:
        tensors |= named("calibration", calibration_state(calibration))
    state.put(name, {"walked": walked}, tensors)


def _resumed(
    state: State,
    name: str,
    mask: ComponentMask,
    optimizer: torch.optim.Optimizer,
    calibration: LearnedCalibration | None,
    generator: torch.Generator,
) -> tuple[int, list[Tensor]]:
    """Steps walked, and tau at the stages passed; what learns is as it was."""
    if (found := state.get(name)) is None:
        return 0, []
    values, tensors = found
    with artifacts.foreign(state.folder or Path()):
        put_back(mask.tau, tensors, "tau")
        set_moments("mask", optimizer, tensors)
        generator.set_state(tensors["generator"])
        if calibration:
            set_calibration(calibration, under("calibration", tensors))
        passed = under("ranking", tensors)
        return int(values["walked"]), [passed[str(place)] for place in range(len(passed))]


def _selected(
    model: Model, circuit: Circuit, components: Sequence[Component], sets: PromptSets
) -> Circuit | None:
    """How few of the highest-ranked components reach the circuit's target."""

    def reaching(count: int) -> Circuit | None:
        selected = circuit_of_components(model.network, circuit, components[:count])
        editor = CircuitEditor(model.ours, selected, model.means)
        return None if editor.within_target(sets.validation) is None else selected

    likely = min(len(components), circuit.n_nodes + circuit.n_edges)
    return smallest(reaching, likely, len(components))
