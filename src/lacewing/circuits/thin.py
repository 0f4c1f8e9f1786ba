"""Thin a cut: let go, one handful after the other, the nodes that gradients call cheapest.

A mask ranks its nodes well while it is learned, but those that stay on crowd at its upper end, and
a threshold can no longer tell them apart. Here they are ranked by what the loss would rise without
each, to first order; as many of the cheapest go as the target allows, then all are ranked anew. The
target is measured before anything goes for good.
"""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from lacewing.circuits.ablate import Masks
from lacewing.circuits.attribution import node_rises
from lacewing.circuits.cuts import Cut
from lacewing.circuits.paths import connected
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts

RANKED = 64
"""Pairs that nodes are ranked on; what goes is decided on all."""
LITTLE = 0.02
"""Share of the nodes that a round must let go, where only that is wanted which goes quickly."""
FAILURES = 12
"""Single nodes in a row that may turn out to be needed before the rest is taken to be."""


def thin(
    model: Model,
    cut: Cut,
    prompts: Prompts,
    target: float,
    loss: Callable[[Masks], float],
    rises: Callable[[Masks], Mapping[str, Tensor]] | None = None,
    tell: Callable[[Cut], None] = lambda cut: None,
    roughly: bool = False,
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
        roughly: End when a round lets go of less than a fiftieth, instead of trying single nodes:
            for losses that take long.

    Returns:
        A cut with no more nodes, which reaches the target too.
    """
    few = prompts.take(range(min(RANKED, len(prompts))))
    rises = rises or (lambda masks: node_rises(model.network, masks, model.means, few))
    while True:
        order = _ranked(cut.masks, rises(cut.masks))
        smaller = _without_most(model, cut, order, target, loss)
        if smaller is None:
            return cut if roughly else _without_single(model, cut, order, target, loss)
        tell(smaller)
        if roughly and smaller.nodes > (1 - LITTLE) * cut.nodes:
            return smaller
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


def _without_single(
    model: Model,
    cut: Cut,
    order: Sequence[tuple[str, int]],
    target: float,
    loss: Callable[[Masks], float],
) -> Cut:
    failures = 0
    for node in order:
        if cut.masks[node[0]][node[1]]:
            tried = _removed(model, cut, [node], loss)
            cut, failures = (tried, 0) if tried.loss <= target else (cut, failures + 1)
        if failures == FAILURES:
            break
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
