"""What is left out, in part: does the circuit hold when some of the rest runs freely?

`sufficient` ablates all of the rest at once. If the rest holds parts that work against each other,
they may cancel there and not elsewhere, so the circuit stays in the full model while subsets of the
rest are ablated: random halves, and the worst subset that a search finds. A loss beyond half of
chance says that nodes outside the circuit decide what it says (comments on Drori 2026, method
section 13). Edges that the circuit lacks run as in the full model. As in `ablations`, every loss is
after a calibration fitted to the ablation at hand: else the search for the worst subset would only
collect whatever writes one answer's logit down, the same on every prompt.
"""

from collections.abc import Sequence
from functools import partial
from itertools import count

import numpy as np

from lacewing.ablation.calibration import refitted_loss
from lacewing.ablation.modes import AblationMode, ablated, without
from lacewing.ablation.run import ablated_logits
from lacewing.ablation.worst_subset import STARTS, STEPS, random_half, worst_subset
from lacewing.circuit.circuit import Circuit
from lacewing.model.store import Model
from lacewing.progress import Progress, progress
from lacewing.statistics import bootstrap, pair_means
from lacewing.tasks.scoring import HALF_CHANCE
from lacewing.verification.evidence import Evidence
from lacewing.verification.finding import Finding, judge
from lacewing.verification.random_circuits import CONTROL_PAIRS, random_nodes

SUBSETS = 16
"""Random halves; every other one is resampled instead of at its mean."""
THRESHOLD = HALF_CHANCE
"""With the circuit whole, no choice of the rest should bring the model nearer to a guess than to an
answer."""


def run(model: Model, circuit: Circuit, prompts: Evidence, quiet: bool) -> list[Finding]:
    """Losses of the full model with subsets of what is outside the circuit ablated."""
    total = SUBSETS + (1 + STARTS) * STEPS
    with progress(f"complement {circuit.task}", total, "steps", not quiet) as bar:
        found = _random(model, circuit, prompts, bar)
        return [found, _worst(model, circuit, prompts, bar)]


def _random(model: Model, circuit: Circuit, evidence: Evidence, bar: Progress) -> Finding:
    generator = np.random.default_rng(evidence.seed)
    few = evidence.test.first(CONTROL_PAIRS)
    modes: Sequence[AblationMode] = ("mean", "resample")
    losses = []
    for number in range(SUBSETS):
        masks = random_half(model, circuit.nodes, generator)
        mode, seed = modes[number % len(modes)], evidence.seed + number
        run = partial(ablated, model, masks=masks, mode=mode, seed=seed, full=model.network)
        losses.append(pair_means(refitted_loss(run, evidence.fitted_on, few)))
        bar.update(number + 1, "random halves")
    pairs = np.mean(losses, axis=0)
    low, high = bootstrap(pairs, seed=evidence.seed)
    rest = partial(without, model, circuit.nodes, mode="mean", seed=evidence.seed)
    lost = refitted_loss(rest, evidence.fitted_on, few)
    worst = max(float(loss.mean()) for loss in losses)
    return judge(
        "complement.random",
        float(pairs.mean()),
        THRESHOLD,
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
        THRESHOLD,
        at_most=True,
        unit="nats",
        n=len(test),
        low=low,
        high=high,
        control=float(losses[0].mean()),
        control_name="a random circuit spared instead",
        meaning=(
            f"loss with the worst subset of all else that {STARTS} searches of up to {STEPS} steps "
            f"found, {ablated_nodes} nodes, at its mean"
        ),
    )
