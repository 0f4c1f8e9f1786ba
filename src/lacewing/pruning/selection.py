"""Cuts of a mask: how few of its highest-ranked nodes reach a target loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from torch import Tensor

from lacewing.ablation.masks import Masks
from lacewing.ablation.node_mask import NodeMask
from lacewing.model.store import Model
from lacewing.pruning.reachability import connected


@runtime_checkable
class HasLoss(Protocol):
    """Anything whose loss was measured."""

    @property
    def loss(self) -> float:
        """Nats."""


Measured = TypeVar("Measured", bound=HasLoss)


@dataclass(frozen=True)
class Cut:
    """The smallest set of top-ranked nodes at one point of the path that reaches the target."""

    masks: Masks
    nodes: int
    loss: float


def bisect(
    model: Model,
    mask: NodeMask,
    target: float,
    loss: Callable[[Masks], float],
    mended: Callable[[Masks], Masks] | None = None,
    most: int | None = None,
) -> Cut | None:
    """How few of the highest-ranked nodes reach the target loss, as `loss` measures it.

    Assumes that more nodes mean less loss, as the paper does; the cut returned is measured, so the
    target always holds for it. Where `mended` is given, what it makes of the top-ranked nodes is
    cut. A cut of more than `most` nodes is not looked for.
    """

    def cut(k: int) -> Cut:
        masks: Masks = connected(model.network, mask.top(k))
        masks = mended(masks) if mended else masks
        return Cut(masks, k, loss(masks))

    most = most or len(mask.tau)
    on = max(1, int((mask.tau > 0).sum()))
    return smallest(cut, min(on, most), most, target)


def smallest(
    cut: Callable[[int], Measured], likely: int, most: int, target: float
) -> Measured | None:
    """The least k whose cut reaches the target: growing strides from `likely`, then bisection."""
    tried, stride = cut(likely), max(1, likely // 16)
    best = tried if tried.loss <= target else None
    low, high = (0, likely) if best else (likely, most)  # no cut of `low` nodes reaches the target
    while best is None and low < most:
        at = min(most, low + stride)
        tried, stride = cut(at), 2 * stride
        low, high, best = (low, at, tried) if tried.loss <= target else (at, high, None)
    while best is not None and high - low > 1:
        at = max(high - stride, (low + high) // 2)  # stay near while that is the smaller step
        tried, stride = cut(at), 2 * stride
        low, high, best = (low, at, tried) if tried.loss <= target else (at, high, best)
    return best


def mean(losses: Tensor) -> float:
    """The mean, as a number."""
    return float(losses.mean())
