"""Backward elimination of nodes: the cheapest go, some at a time, as long as the target is reached.

A mask ranks its nodes well while it is learned, but those that stay on crowd at its upper end, and
a threshold can no longer tell them apart. Here they are ranked by what the loss would rise without
each, to first order; as many of the cheapest go as the target allows, then all are ranked anew. The
target is measured before anything goes for good.
"""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from lacewing.ablation.masks import Masks
from lacewing.circuit.components import Node
from lacewing.model.store import Model
from lacewing.pruning.reachability import reachable
from lacewing.pruning.selection import Selection, Target

FAILURES = 12
"""Single nodes in a row that may turn out to be needed before the rest is taken to be."""
TRIES = 256
"""Runs of nodes tried at the end: a bound on the time where hundreds could go only one by one."""


def eliminate_nodes(
    model: Model,
    selection: Selection,
    target: Target,
    rises: Callable[[Masks], Mapping[str, Tensor]],
    tell: Callable[[Selection], None] = lambda selection: None,
    tries: int = TRIES,
    *,
    coarse: bool = False,
) -> Selection:
    """Remove nodes from a selection as long as it reaches its target.

    Args:
        model: The model.
        selection: One that reaches the target.
        target: What has to be reached.
        rises: What the loss of a selection would rise by without each node, to first order.
        tell: Called with every smaller selection.
        tries: Runs of nodes tried at the end, at most.
        coarse: How many could go together is found to a quarter, in a few runs instead of one for
            each bit of the number: half of them go, and what could have gone does in the next turn.

    Returns:
        A selection with no more nodes, which reaches the target too.
    """
    while True:
        order = _ranked(selection.masks, rises(selection.masks))
        smaller = _without_most(model, selection, order, target, coarse)
        if smaller is None:
            return _without_runs(model, selection, order, target, tell, tries)
        tell(smaller)
        selection = smaller


def _without_most(
    model: Model, selection: Selection, order: Sequence[Node], target: Target, coarse: bool
) -> Selection | None:
    """Half of the cheapest nodes that could go together; none if it is less than one."""
    low, high = 0, len(order)
    while high - low > (max(1, low // 4) if coarse else 1):
        middle = (low + high) // 2
        if _without(model, selection, order[:middle], target) is not None:
            low = middle
        else:
            high = middle
    return _without(model, selection, order[: low // 2], target) if low > 1 else None


def _without_runs(
    model: Model,
    selection: Selection,
    order: Sequence[Node],
    target: Target,
    tell: Callable[[Selection], None],
    tries: int,
) -> Selection:
    """Without the nodes that can go one by one, tried in runs: twice as many after one that can."""
    at, size, failures = 0, 1, 0
    for _ in range(tries):
        if at >= len(order) or failures == FAILURES:
            break
        run = [(key, c) for key, c in order[at : at + size] if selection.masks[key][c]]
        tried = _without(model, selection, run, target) if run else selection
        if tried is not None:
            selection, at, size, failures = tried, at + size, 2 * size, 0
            if run:
                tell(selection)
        elif size > 1:
            size //= 2
        else:
            at, failures = at + 1, failures + 1
    return selection


def _without(
    model: Model, selection: Selection, nodes: Sequence[Node], target: Target
) -> Selection | None:
    """The selection without some nodes, nor any that cannot reach the answer then, if it does."""
    masks = {key: mask.clone() for key, mask in selection.masks.items()}
    for key, channel in nodes:
        masks[key][channel] = False
    masks = reachable(model.network, masks)
    if not target.reaches(masks):
        return None
    return Selection(masks, sum(int(mask.sum()) for mask in masks.values()))


def _ranked(masks: Masks, rises: Mapping[str, Tensor]) -> list[Node]:
    """The nodes that are on, those first whose loss would rise least without them."""
    on = [
        (float(rises[key][channel]), key, int(channel))
        for key, mask in masks.items()
        for channel in mask.nonzero()[:, 0]
    ]
    return [(key, channel) for _, key, channel in sorted(on)]
