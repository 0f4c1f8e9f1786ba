"""Elimination where it is known which nodes are needed, with a target that counts its questions."""

from collections.abc import Collection

import torch
from torch import Tensor

import micro
from lacewing.ablation.masks import Masks, nodes_of
from lacewing.circuit.prompts import PromptSets
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.pruning import node_elimination
from lacewing.pruning.reachability import reachable
from lacewing.pruning.selection import Selection

Node = tuple[str, int]


class Counted:
    """A target that is reached where all of some nodes are kept."""

    def __init__(self, needed: Collection[Node]) -> None:
        self.needed, self.asked = list(needed), 0

    def reaches(self, masks: Masks) -> bool:
        """Whether they are."""
        self.asked += 1
        return all(masks[key][channel] for key, channel in self.needed)


def whole(model: Model) -> Selection:
    """The selection that keeps everything that reaches the answer."""
    widths = site_widths(model.network.config)
    everything = {key: torch.ones(width, dtype=torch.bool) for key, width in widths.items()}
    masks = reachable(model.network, everything)
    return Selection(masks, sum(int(mask.sum()) for mask in masks.values()))


def shuffled(masks: Masks, first: Node) -> dict[str, Tensor]:
    """A ranking that knows nothing, with one node in front of all others."""
    generator = torch.Generator().manual_seed(0)
    rises = {key: torch.rand(len(mask), generator=generator) for key, mask in masks.items()}
    rises[first[0]][first[1]] = -1.0
    return rises


def test_all_that_is_not_needed_goes_though_the_ranking_is_blind(
    model: Model, sets: PromptSets
) -> None:
    """A needed node at the front ends the handfuls; runs find their way around it and others."""
    needed = [(key, channel) for key, channels in micro.PLANTED.items() for channel in channels]
    everything, target, told = whole(model), Counted(needed), list[int]()
    found = node_elimination.eliminate_nodes(
        model,
        everything,
        target,
        lambda masks: shuffled(masks, needed[0]),
        lambda smaller: told.append(smaller.nodes),
    )
    assert {k: v.tolist() for k, v in nodes_of(found.masks).items() if len(v)} == micro.PLANTED
    assert told == sorted(set(told), reverse=True), "only smaller selections are told of"
    assert target.asked < everything.nodes / 4, "far fewer questions than nodes"


def test_where_nodes_can_only_go_singly_the_questions_are_bounded(
    model: Model, sets: PromptSets
) -> None:
    """Every second node of the ranking is needed: it stops, and what it leaves holds."""
    everything = whole(model)
    order = node_elimination._ranked(everything.masks, shuffled(everything.masks, ("0.attn_in", 1)))
    target = Counted(order[::2])
    found = node_elimination.eliminate_nodes(
        model, everything, target, lambda masks: shuffled(masks, ("0.attn_in", 1))
    )
    rounds = everything.nodes.bit_length() + 1
    assert target.asked <= node_elimination.TRIES + rounds
    assert found.nodes < everything.nodes - node_elimination.TRIES // 4
    assert target.reaches(found.masks)


def test_a_coarse_search_asks_less_and_ends_as_small(model: Model, sets: PromptSets) -> None:
    """How many can go is found to a quarter; the nodes that are needed are left all the same."""
    needed = [(key, channel) for key, channels in micro.PLANTED.items() for channel in channels]
    everything, asked = whole(model), []
    for coarse in (False, True):
        target = Counted(needed)
        found = node_elimination.eliminate_nodes(
            model,
            everything,
            target,
            lambda masks: {key: (~spare(key, masks)).float() for key in masks},
            coarse=coarse,
        )
        assert {k: v.tolist() for k, v in nodes_of(found.masks).items() if len(v)} == micro.PLANTED
        asked.append(target.asked)
    assert asked[1] < 0.75 * asked[0]


def spare(key: str, masks: Masks) -> Tensor:
    """Where a site's nodes are not needed: those go first."""
    rest = torch.ones_like(masks[key])
    rest[micro.PLANTED.get(key, [])] = False
    return rest
