"""What is left out, in part: does the circuit hold when some of the rest runs freely?

`sufficient` ablates all of the rest at once. If the rest holds parts that work against each other,
they may cancel there and not elsewhere, so the circuit stays in the full model while subsets of the
rest are ablated: random halves, and the worst subset that a search finds. A loss beyond half of
chance says that nodes outside the circuit decide what it says (comments on Drori 2026, method
section 13). Edges that the circuit lacks run as in the full model. As in `ablations`, every loss is
after a calibration fitted to the ablation at hand: else the search for the worst subset would only
collect whatever writes one answer's logit down, the same on every prompt.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count

import numpy as np
import torch
from torch import Tensor

from lacewing.circuits.ablate import Masks, ablated_logits, calibrated, masks_of
from lacewing.circuits.calibrate import calibrated_loss, fit, refitted_loss
from lacewing.circuits.circuit import Circuit
from lacewing.circuits.edges import Nodes
from lacewing.circuits.faith.evidence import Evidence
from lacewing.circuits.faith.finding import HALF_CHANCE, Finding, judge
from lacewing.circuits.masks import NodeMask
from lacewing.circuits.statistics import pair_means
from lacewing.circuits.verify import CONTROL_PAIRS, random_nodes
from lacewing.circuits.ways import Way, ablated, without
from lacewing.model.hooks import edit
from lacewing.model.layers import sparse_products
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.progress import Progress, progress
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import bootstrap, two_answer_loss

SUBSETS = 16
"""Random halves; every other one is resampled instead of at its mean."""
STEPS, BATCH, RATE = 60, 24, 0.1
"""The search for the worst subset: steps, pairs a step, step size. A budget, not a guarantee."""
STARTS = 4
"""Searches against a circuit, each from a random half of its own: the ends of some are far worse
than those of others."""
LOOKS = 4
"""Points of the search at which its subset is tried on the validation prompts."""
TRIED = 64
"""Validation pairs it is tried on."""
MARK = HALF_CHANCE
"""With the circuit whole, no choice of the rest should bring the model nearer to a guess than to an
answer."""


def run(model: Model, circuit: Circuit, prompts: Evidence, quiet: bool) -> list[Finding]:
    """Losses of the full model with subsets of what is outside the circuit ablated."""
    total = SUBSETS + (1 + STARTS) * STEPS
    with progress(f"complement {circuit.task}", total, "steps", not quiet) as bar:
        found = _random(model, circuit, prompts, bar)
        return [found, _worst(model, circuit, prompts, bar)]


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
    validation prompts wins, and all of the rest is tried too.

    Args:
        model: The model.
        kept: The nodes that always run.
        train: What the search climbs on.
        validation: What the subset is chosen on.
        seed: Draws where the search begins, and its prompts.
        starts: How often it begins, each time from another half.
        tell: Called after every step.
    """
    generator = torch.Generator().manual_seed(seed)
    few = validation.take(range(min(TRIED, len(validation))))
    candidates: list[Masks] = [masks_of(model.network, kept)]
    with sparse_products(model.network):
        for _ in range(starts):
            candidates += _search(model, kept, train, generator, tell)
        return max(
            candidates, key=lambda masks: calibrated_loss(ablated_logits(model, few, masks), few)
        )


def _search(
    model: Model,
    kept: Nodes,
    train: Prompts,
    generator: torch.Generator,
    tell: Callable[[], None],
) -> list[Masks]:
    """What some points of one climb ablate."""
    widths = site_widths(model.network.config)
    init = 0.01 * torch.randn(sum(widths.values()), generator=generator)
    mask = NodeMask(widths, model.means, init, temperature=1.0)
    spared = torch.cat(list(masks_of(model.network, kept).values()))
    optimizer = torch.optim.Adam([mask.tau], lr=RATE)
    found: list[Masks] = []
    for step in range(STEPS):
        _spare(mask, spared)
        rows = torch.randint(len(train), (min(BATCH, len(train)),), generator=generator)
        _climb(model, mask, train.take(rows.tolist()))
        optimizer.step()
        optimizer.zero_grad()
        mask.clamp_()
        if (step + 1) % (STEPS // LOOKS) == 0:
            _spare(mask, spared)
            found.append(mask.on())
        tell()
    return found


def _climb(model: Model, mask: NodeMask, batch: Prompts) -> None:
    with edit(model.network, mask.edits()):
        logits = model.network(batch.tokens, at=batch.last)
    best = calibrated(logits, fit(logits.detach(), batch))
    (-two_answer_loss(best, batch).mean()).backward()  # type: ignore[no-untyped-call]


def _spare(mask: NodeMask, spared: Tensor) -> None:
    with torch.no_grad():
        mask.tau[spared] = 1.0


def _random(model: Model, circuit: Circuit, evidence: Evidence, bar: Progress) -> Finding:
    generator = np.random.default_rng(evidence.seed)
    few = evidence.test.take(range(min(CONTROL_PAIRS, len(evidence.test))))
    ways: Sequence[Way] = ("mean", "resample")
    losses = []
    for number in range(SUBSETS):
        masks = random_half(model, circuit.nodes, generator)
        way, seed = ways[number % len(ways)], evidence.seed + number
        run = partial(ablated, model, masks=masks, way=way, seed=seed, full=model.network)
        losses.append(pair_means(refitted_loss(run, evidence.fitted_on, few)))
        bar.update(number + 1, "random halves")
    pairs = np.mean(losses, axis=0)
    low, high = bootstrap(pairs, seed=evidence.seed)
    rest = partial(without, model, circuit.nodes, way="mean", seed=evidence.seed)
    lost = refitted_loss(rest, evidence.fitted_on, few)
    worst = max(float(loss.mean()) for loss in losses)
    return judge(
        "complement.random",
        float(pairs.mean()),
        MARK,
        at_most=True,
        unit="nats",
        n=len(few),
        low=low,
        high=high,
        control=float(lost.mean()),
        control_name="without the circuit",
        meaning=(
            f"loss with random halves of all else ablated, mean of {SUBSETS}; the worst "
            f"of these has {worst:.3f}"
        ),
    )


def _worst(model: Model, circuit: Circuit, evidence: Evidence, bar: Progress) -> Finding:
    """The worst of several searches; one search is enough to break the control."""
    sets, test = evidence.sets, evidence.test
    random = random_nodes(model, circuit, evidence.seed, 1)[0]
    steps, losses, ablated_nodes = count(SUBSETS + 1), [], 0

    def tell() -> None:
        bar.update(next(steps), "searching for the worst subset")

    for kept, starts in ((random, 1), (circuit.nodes, STARTS)):
        chosen = sets.train, sets.validation, evidence.seed
        masks = worst_subset(model, kept, *chosen, starts=starts, tell=tell)
        run = partial(ablated_logits, model, masks=masks)
        losses.append(pair_means(refitted_loss(run, evidence.fitted_on, test)))
        ablated_nodes = sum(int((~mask).sum()) for mask in masks.values())
    low, high = bootstrap(losses[1], seed=evidence.seed)
    return judge(
        "complement.worst",
        float(losses[1].mean()),
        MARK,
        at_most=True,
        unit="nats",
        n=len(test),
        low=low,
        high=high,
        control=float(losses[0].mean()),
        control_name="a random circuit spared instead",
        meaning=(
            f"loss with the worst subset of all else that {STARTS} searches of {STEPS} steps "
            f"found, {ablated_nodes} nodes, at its mean"
        ),
    )
