"""Selections of a mask: how few of its highest-ranked nodes reach a target."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from lacewing.ablation.limit import Hardest, loss_within
from lacewing.ablation.masks import Masks
from lacewing.ablation.node_mask import NodeMask
from lacewing.ablation.prefix_run import runs_at_prefixes
from lacewing.ablation.prefixes import UniquePrefixes, unique_prefixes
from lacewing.ablation.run import logits_at, logits_in_pieces
from lacewing.model.store import Model
from lacewing.pruning.reachability import reachable
from lacewing.tasks.batch import Prompts

Found = TypeVar("Found")
GRAIN_OPEN = 0.01
"""Share of a selection's nodes to which its size is settled in open models, where measuring one
takes most of a minute; elimination follows, whose first turn settles the rest."""


@runtime_checkable
class Target(Protocol):
    """What a selection has to reach; the limit and how it is measured are one thing."""

    def reaches(self, masks: Masks) -> bool:
        """Whether the nodes that masks keep reach it."""


@dataclass(frozen=True)
class TargetLoss:
    """A task loss under mean ablation."""

    model: Model
    prompts: Prompts
    """What decides."""
    nats: float
    """The largest loss that reaches the target."""
    calibrate: bool
    """Whether the loss is that with the calibration that is best for these prompts."""

    def reaches(self, masks: Masks) -> bool:
        """Whether the nodes that masks keep reach it."""
        prompts, pieces = self.prompts, self._logits(masks)
        if self.model.is_open:
            order = self._hardest.order(mixed=self.calibrate)
            prompts = prompts.take(order)
            pieces = logits_in_pieces(self.model, prompts, masks)
            pieces = self._hardest.noting(pieces, prompts, order)
        return loss_within(self.nats, pieces, prompts, self.calibrate) is not None

    def _logits(self, masks: Masks) -> Iterator[Tensor]:
        network = self.model.network
        if not runs_at_prefixes(network):
            return logits_in_pieces(self.model, self.prompts, masks)
        return logits_at(network, self._known, masks, self.model.means, self._answers)

    @cached_property
    def _hardest(self) -> Hardest:
        """The order in which pairs run where each takes long; the loss is that of all of them."""
        return Hardest(len(self.prompts))

    @cached_property
    def _known(self) -> Sequence[UniquePrefixes]:
        """Where the prompts run, with what the first block reads there."""
        return unique_prefixes(self.model.network, self.prompts)

    @cached_property
    def _answers(self) -> Tensor:
        return torch.unique(torch.cat([self.prompts.answer, self.prompts.other]))


@dataclass(frozen=True)
class Selection:
    """The smallest set of top-ranked nodes at one point of the path that reaches the target."""

    masks: Masks
    nodes: int
    """How many of the top-ranked it was made of; after elimination, how many it keeps."""


def smallest_selection(
    model: Model,
    mask: NodeMask,
    target: Target,
    mended: Callable[[Masks], Masks] | None = None,
    most: int | None = None,
) -> Selection | None:
    """How few of the highest-ranked nodes reach the target.

    Assumes that more nodes mean less loss, as the paper does; the selection returned was measured,
    so the target always holds for it.

    Args:
        model: The model.
        mask: Ranks the nodes.
        target: What has to be reached.
        mended: What is selected instead of the top-ranked nodes, made of them.
        most: Selections of more nodes are not looked for.
    """

    def selected(k: int) -> Selection | None:
        masks: Masks = reachable(model.network, mask.top(k))
        masks = mended(masks) if mended else masks
        return Selection(masks, k) if target.reaches(masks) else None

    most = most or len(mask.tau)
    on = max(1, int((mask.tau > 0).sum()))
    return smallest(selected, min(on, most), most, GRAIN_OPEN if model.is_foreign else 0.0)


def smallest(
    reaching: Callable[[int], Found | None], likely: int, most: int, grain: float = 0.0
) -> Found | None:
    """What the least count gives that gives something: strides from `likely`, then bisection.

    Args:
        reaching: What a count gives, none if it does not reach the target; more reach more.
        likely: Where to begin.
        most: The largest count.
        grain: The count may be larger than the least by this share of it.
    """
    best, stride = reaching(likely), max(1, likely // 16)
    low, high = (0, likely) if best is not None else (likely, most)  # `low` reaches nothing
    while best is None and low < most:
        at = min(most, low + stride)
        tried, stride = reaching(at), 2 * stride
        low, high, best = (low, at, tried) if tried is not None else (at, high, None)
    while best is not None and high - low > max(1, grain * high):
        at = max(high - stride, (low + high) // 2)  # stay near while that is the smaller step
        tried, stride = reaching(at), 2 * stride
        low, high, best = (low, at, tried) if tried is not None else (at, high, best)
    return best
