"""Thinning, where it is known which nodes are needed, with a loss that counts its questions."""

from collections.abc import Collection

import torch
from torch import Tensor

import micro
from lacewing.ablation.masks import Masks, nodes_of
from lacewing.circuit.prompts import PromptSets
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.pruning import node_elimination as thinning
from lacewing.pruning.reachability import reachable
from lacewing.pruning.selection import Cut

Node = tuple[str, int]


class Counted:
    """A loss of 0 where all of some nodes are kept, and 1 elsewhere."""

    def __init__(self, needed: Collection[Node]) -> None:
        self.needed, self.asked = list(needed), 0

    def __call__(self, masks: Masks) -> float:
        """Of a cut."""
        self.asked += 1
        return float(not all(masks[key][channel] for key, channel in self.needed))


def whole(model: Model) -> Cut:
    """The cut that keeps everything that reaches the answer."""
    widths = site_widths(model.network.config)
    everything = {key: torch.ones(width, dtype=torch.bool) for key, width in widths.items()}
    masks = reachable(model.network, everything)
    return Cut(masks, sum(int(mask.sum()) for mask in masks.values()), 0.0)


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
    cut, loss, told = whole(model), Counted(needed), list[int]()
    found = thinning.thin(
        model,
        cut,
        sets.validation,
        0.5,
        loss,
        lambda masks: shuffled(masks, needed[0]),
        lambda smaller: told.append(smaller.nodes),
    )
    assert {k: v.tolist() for k, v in nodes_of(found.masks).items() if len(v)} == micro.PLANTED
    assert found.loss == 0.0
    assert told == sorted(set(told), reverse=True), "only smaller cuts are told of"
    assert loss.asked < cut.nodes / 4, "far fewer questions than nodes"


def test_where_nodes_can_only_go_singly_the_questions_are_bounded(
    model: Model, sets: PromptSets
) -> None:
    """Every second node of the ranking is needed: thinning stops, and what it leaves holds."""
    cut = whole(model)
    order = thinning._ranked(cut.masks, shuffled(cut.masks, ("0.attn_in", 1)))
    loss = Counted(order[::2])
    found = thinning.thin(
        model, cut, sets.validation, 0.5, loss, lambda masks: shuffled(masks, ("0.attn_in", 1))
    )
    handfuls = cut.nodes.bit_length() + 1
    assert loss.asked <= thinning.TRIES + handfuls
    assert found.nodes < cut.nodes - thinning.TRIES // 4
    assert loss(found.masks) == 0.0
