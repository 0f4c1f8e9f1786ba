"""The subset of what is outside some nodes whose ablation hurts most, found by a search."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from lacewing.ablation.calibration import calibrated_loss, fit
from lacewing.ablation.masks import Masks, masks_of
from lacewing.ablation.node_mask import NodeMask, gates
from lacewing.ablation.packed import fitting
from lacewing.ablation.prefix_run import Batch
from lacewing.ablation.run import ablated_logits
from lacewing.circuit.calibration import calibrated
from lacewing.circuit.edges import Nodes
from lacewing.model.hooks import ablate
from lacewing.model.layers import sparse_products
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import CHANCE, two_answer_loss

STEPS, BATCH, RATE = 60, 24, 0.1
"""The search for the worst subset: steps, pairs a step, step size. A budget, not a guarantee."""


STARTS = 4
"""Searches against a circuit, each from a random half of its own: the ends of some are far worse
than those of others."""


LOOKS = 4
"""Points of the search at which its subset is tried on the validation prompts."""


TRIED = 64
"""Validation pairs it is tried on."""


ROOM = 1e-3
"""Nats below chance from which on nothing worse is searched for: a calibration that ignores the
logits loses ln 2, so the best one loses no more."""


def random_half(model: Model, kept: Nodes, generator: np.random.Generator) -> Masks:
    """Masks that ablate half of the channels outside some nodes at every site, drawn at random."""
    masks = {}
    for key, free in masks_of(model.network, kept).items():
        outside = np.flatnonzero(~free.numpy())
        ablated = generator.permutation(outside)[: len(outside) // 2]
        masks[key] = torch.ones_like(free)
        masks[key][torch.from_numpy(ablated)] = False
    return masks


def worst_subset(
    model: Model,
    kept: Nodes,
    train: Prompts,
    validation: Prompts,
    seed: int,
    *,
    starts: int = 1,
    tell: Callable[[], None] = lambda: None,
) -> Masks:
    """Masks that ablate the subset outside some nodes that a search finds to hurt most.

    The mask is trained as in pruning, with tau and a surrogate for the step's slope, but up the
    loss, from a random half. So every mask on the way is a true subset; the one of largest loss on
    validation prompts wins, and all of the rest is tried first. At chance the search ends: there is
    no more to lose.

    Args:
        model: The model.
        kept: The nodes that always run.
        train: What the search climbs on.
        validation: What the subset is chosen on.
        seed: Draws where the search begins, and its prompts.
        starts: How often it begins, each time from another half.
        tell: Called after every step; there may be fewer than STEPS a start.
    """
    few = validation.first(TRIED)
    worst: Masks = masks_of(model.network, kept)
    most = -math.inf
    with sparse_products(model.network):
        for masks in _candidates(model, kept, train, seed, starts, tell):
            loss = calibrated_loss(ablated_logits(model, few, masks), few)
            if loss > most:
                worst, most = masks, loss
            if most > CHANCE - ROOM:
                break
    return worst


def _candidates(
    model: Model, kept: Nodes, train: Prompts, seed: int, starts: int, tell: Callable[[], None]
) -> Iterator[Masks]:
    """All of the rest, and some points of every climb."""
    yield masks_of(model.network, kept)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(starts):
        yield from _search(model, kept, train, generator, tell)


def _search(
    model: Model,
    kept: Nodes,
    train: Prompts,
    generator: torch.Generator,
    tell: Callable[[], None],
) -> Iterator[Masks]:
    """What some points of one climb ablate."""
    widths = site_widths(model.network.config)
    init = 0.01 * torch.randn(sum(widths.values()), generator=generator)
    mask = NodeMask(widths, model.means, init, temperature=1.0)
    spared = torch.cat(list(masks_of(model.network, kept).values()))
    optimizer = torch.optim.Adam([mask.tau], lr=RATE)
    for step in range(STEPS):
        _spare(mask, spared)
        rows = torch.randint(len(train), (min(BATCH, len(train)),), generator=generator)
        _climb(model, mask, train.take(rows.tolist()))
        optimizer.step()
        optimizer.zero_grad()
        mask.clamp_()
        tell()
        if (step + 1) % (STEPS // LOOKS) == 0:
            _spare(mask, spared)
            yield mask.on()


def _climb(model: Model, mask: NodeMask, batch: Prompts) -> None:
    """Gradients of a mask up the loss with the calibration that is best for the batch.

    In parts whose backward pass fits. The calibration needs the logits of all, so all but the last
    part run twice: less than if blocks were checkpointed, where everything does.
    """
    *parts, last = fitting(model.network, batch)
    with torch.no_grad():
        known = [_masked(model, mask, part) for part in parts]
    logits = _masked(model, mask, last)
    best = fit(torch.cat([*known, logits.detach()]), batch)
    for part, own in [(last, logits), *((part, None) for part in parts)]:
        run = _masked(model, mask, part) if own is None else own
        loss = two_answer_loss(calibrated(run, best), part).mean() * (len(part) / len(batch))
        (-loss).backward()  # type: ignore[no-untyped-call]


def _masked(model: Model, mask: NodeMask, batch: Prompts) -> Tensor:
    """Logits at the answers under a mask, with gradients."""
    run = Batch.of(model.network, [batch])
    with ablate(model.network, gates([mask], run.owners)):
        return run.logits()


def _spare(mask: NodeMask, spared: Tensor) -> None:
    with torch.no_grad():
        mask.tau[spared] = 1.0
