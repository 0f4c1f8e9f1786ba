"""Thin a cut: let go, one handful after the other, the nodes that gradients call cheapest.

A mask ranks its nodes well while it is learned, but those that stay on crowd at its upper end, and
a threshold can no longer tell them apart. Here they are ranked by what the loss would rise without
each, to first order; as many of the cheapest go as the target allows, then all are ranked anew. The
target is measured before anything goes for good.
"""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from lacewing.ablation.attribution import node_rises
from lacewing.ablation.masks import Masks
from lacewing.model.store import Model
from lacewing.pruning.reachability import connected
from lacewing.pruning.selection import Cut
from lacewing.tasks.batch import Prompts

RANKED = 64
"""Pairs that nodes are ranked on; what goes is decided on all."""
FAILURES = 12
"""Single nodes in a row that may turn out to be needed before the rest is taken to be."""
TRIES = 256
"""Runs of nodes tried at the end: a bound on the time where hundreds could go only one by one."""


def thin(
    model: Model,
    cut: Cut,
    prompts: Prompts,
    target: float,
    loss: Callable[[Masks], float],
    rises: Callable[[Masks], Mapping[str, Tensor]] | None = None,
    tell: Callable[[Cut], None] = lambda cut: None,
) -> Cut:
    """Remove nodes from a cut as long as it reaches its target.

    Args:
        model: The model.
        cut: One that reaches the target.
        prompts: What nodes are ranked on.
        target: Nats.
        loss: Measures a cut, on the prompts that decide.
        rises: What the loss of a cut would rise by without each node, to first order; by default
            the task loss under mean ablation.
        tell: Called with every smaller cut.

    Returns:
        A cut with no more nodes, which reaches the target too.
    """
    few = prompts.take(range(min(RANKED, len(prompts))))
    rises = rises or (lambda masks: node_rises(model.network, masks, model.means, few))
    while True:
        order = _ranked(cut.masks, rises(cut.masks))
        smaller = _without_most(model, cut, order, target, loss)
        if smaller is None:
            return _without_runs(model, cut, order, target, loss, tell)
        tell(smaller)
        cut = smaller


def _without_most(
    model: Model,
    cut: Cut,
    order: Sequence[tuple[str, int]],
    target: float,
    loss: Callable[[Masks], float],
) -> Cut | None:
    """Half of the cheapest nodes that could go together; none if it is less than one."""
    low, high = 0, len(order)
    while high - low > 1:
        middle = (low + high) // 2
        if _removed(model, cut, order[:middle], loss).loss <= target:
            low = middle
        else:
            high = middle
    found = _removed(model, cut, order[: low // 2], loss) if low > 1 else None
    return found if found is not None and found.loss <= target else None


def _without_runs(
    model: Model,
    cut: Cut,
    order: Sequence[tuple[str, int]],
    target: float,
    loss: Callable[[Masks], float],
    tell: Callable[[Cut], None],
) -> Cut:
    """Without the nodes that can go one by one, tried in runs: twice as many after one that can."""
    at, size, failures = 0, 1, 0
    for _ in range(TRIES):
        if at >= len(order) or failures == FAILURES:
            break
        run = [(key, channel) for key, channel in order[at : at + size] if cut.masks[key][channel]]
        tried = _removed(model, cut, run, loss) if run else cut
        if tried.loss <= target:
            cut, at, size, failures = tried, at + size, 2 * size, 0
            if run:
                tell(cut)
        elif size > 1:
            size //= 2
        else:
            at, failures = at + 1, failures + 1
    return cut


def _removed(
    model: Model, cut: Cut, nodes: Sequence[tuple[str, int]], loss: Callable[[Masks], float]
) -> Cut:
    """The cut without some nodes, nor any that no path joins to the answer then."""
    masks = {key: mask.clone() for key, mask in cut.masks.items()}
    for key, channel in nodes:
        masks[key][channel] = False
    masks = connected(model.network, masks)
    return Cut(masks, sum(int(mask.sum()) for mask in masks.values()), loss(masks))


def _ranked(masks: Masks, rises: Mapping[str, Tensor]) -> list[tuple[str, int]]:
    """The nodes that are on, those first whose loss would rise least without them."""
    on = [
        (float(rises[key][channel]), key, int(channel))
        for key, mask in masks.items()
        for channel in mask.nonzero()[:, 0]
    ]
    return [(key, channel) for _, key, channel in sorted(on)]
