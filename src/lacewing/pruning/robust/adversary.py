"""The adversary: a second mask that learns, beside a circuit's, which part of the rest to ablate.

    value   x where the circuit is on or the adversary lets it run, mean elsewhere

One backward pass has the gradients of both: the circuit goes down the loss, the adversary up. It is
told of every node what ablating it would do, also of those the circuit keeps, so that it is ready
when one is dropped. This is the search of `ablation.worst_subset`, against a circuit that moves.
"""

from collections.abc import Sequence

import torch

from lacewing.ablation.masks import Masks
from lacewing.ablation.node_mask import NodeMask, steps
from lacewing.ablation.prefix_run import Owners
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.model.transformer import SiteHook
from lacewing.pruning.robust.ablations import gated

RATE = 0.1
"""Step size of the adversary, as that of the search which judges a circuit."""
START = 0.01
"""Spread of its mask around 0, where it begins: it ablates a random half."""


class Adversary:
    """A mask that climbs the loss."""

    def __init__(self, model: Model, seed: int) -> None:
        widths = site_widths(model.network.config)
        generator = torch.Generator().manual_seed(seed)
        init = START * torch.randn(sum(widths.values()), generator=generator)
        self.mask = NodeMask(widths, model.means, init, temperature=1.0)
        self.optimizer = torch.optim.Adam([self.mask.tau], lr=RATE, maximize=True)

    def follow(self) -> None:
        """One step up the gradient, where there is one."""
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.mask.clamp_()

    def start_at(self, running: Masks) -> None:
        """Go on from another subset: let these nodes run, ablate the others."""
        on = torch.cat([running[key] for key in self.mask.widths])
        with torch.no_grad():
            self.mask.tau.copy_(RATE * (2 * on.float() - 1))

    def spare(self, kept: Masks) -> Masks:
        """What runs when a circuit is whole and the adversary ablates its subset of the rest."""
        return {key: runs | kept[key] for key, runs in self.mask.on().items()}


def opposed(
    masks: Sequence[NodeMask], adversaries: Sequence[Adversary], circuit: Owners
) -> dict[str, SiteHook]:
    """Hooks that ablate what is off and chosen by the adversary; gradients reach both masks.

    Args:
        masks: One per circuit of the batch.
        adversaries: One each.
        circuit: Which mask every row of a site has.
    """
    hooks = {}
    chosen = steps([adversary.mask for adversary in adversaries])
    for key, own in steps(masks).items():
        runs = chosen[key].detach() > 0
        on = ((own.detach() > 0) | runs).contiguous()
        # What runs in any case does not hang on the circuit's mask, so no gradient reaches it.
        hooks[key] = gated(own * ~runs + chosen[key], on, masks[0].means[key], circuit(key))
    return hooks
