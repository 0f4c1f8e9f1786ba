"""Sufficient and necessary under every ablation: does the verdict hang on one ablation mode?

Under the circuit's own ablation the thresholds and verdicts are those of the short test. Under the
others the circuit must keep the loss below half of chance, and the model without it must be above.
In both the circuit must do better than every random circuit with as many nodes at every site, by a
margin whose whole interval lies above zero. Zero
ablation often gives far smaller circuits than mean ablation, and norms that are not frozen far
smaller ones than frozen norms (method section 13, a and f), so a circuit that holds under one alone
owes its loss to it. Every loss here, of circuit, model without it and controls alike, is after a
calibration fitted to that very ablation on validation prompts: an offset that all prompts share is
no evidence.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from torch import Tensor

from lacewing.ablation.calibration import refitted
from lacewing.ablation.editor import cut_model
from lacewing.ablation.masks import masks_of
from lacewing.ablation.modes import AblationMode, Running, ablated_together
from lacewing.circuit.calibration import calibrated
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.statistics import bootstrap, pair_means
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import HALF_CHANCE
from lacewing.verification.evidence import Evidence
from lacewing.verification.finding import Finding, judge
from lacewing.verification.random_circuits import (
    CONTROL_PAIRS,
    CONTROLS,
    beats,
    margin,
    random_nodes,
)
from lacewing.verification.short import ShortTest, Test

MODES: tuple[AblationMode, ...] = ("mean", "zero", "resample", "frozen")
SAID = {
    "mean": "at its mean over the pretraining text",
    "zero": "at zero",
    "resample": "as in a random other prompt",
    "frozen": "at its mean, norms frozen to the full model's",
}
SUFFICIENT = HALF_CHANCE
"""A circuit found for 0.15 nats under one ablation may lose some under another, but not be nearer
to a guess than to an answer."""
NECESSARY = HALF_CHANCE
"""As in the short test."""


def of_short_test(done: ShortTest, ablation: str) -> list[Finding]:
    """The two findings that the short test has made already, under the circuit's own ablation."""
    said = SAID[ablation]
    return [
        _of_test(
            done.sufficient,
            f"sufficient.{ablation}",
            f"loss of the circuit alone, all else {said}",
            done.pairs,
            at_most=True,
        ),
        _of_test(
            done.necessary,
            f"necessary.{ablation}",
            f"loss of the model with the circuit {said}",
            done.pairs,
            at_most=False,
        ),
    ]


def run(model: Model, circuit: Circuit, prompts: Evidence, quiet: bool) -> list[Finding]:
    """Sufficiency and necessity under the ablations that the short test does not use."""
    found: list[Finding] = []
    modes = [mode for mode in MODES if mode != circuit.ablation]
    controls = random_nodes(model, circuit, prompts.seed, CONTROLS)
    with progress(f"ablations {circuit.task}", len(modes), "ablations", not quiet) as bar:
        for done, mode in enumerate(modes):
            found += _judged(model, circuit, prompts, mode, controls)
            bar.update(done + 1, mode)
    return found


def _judged(
    model: Model, circuit: Circuit, evidence: Evidence, mode: AblationMode, controls: list[Nodes]
) -> Iterator[Finding]:
    test, seed = evidence.test, evidence.seed
    few = test.first(CONTROL_PAIRS)
    (kept, lost), (alone, without) = _losses(model, circuit, evidence, mode, controls)

    def judged(
        name: str,
        losses: np.ndarray,
        random: list[np.ndarray],
        at_most: bool,
        threshold: float,
        meaning: str,
    ) -> Finding:
        low_high, means = bootstrap(losses, seed=seed), [float(each.mean()) for each in random]
        return judge(
            f"{name}.{mode}",
            float(losses.mean()),
            threshold,
            at_most=at_most,
            unit="nats",
            n=len(test),
            low=low_high[0],
            high=low_high[1],
            control=min(means) if at_most else max(means),
            control_name=f"{'best' if at_most else 'worst'} of {len(controls)} random circuits",
            beaten=beats(margin(losses[: len(few)], random, less=at_most, seed=seed)),
            meaning=f"{meaning} {SAID[mode]}",
        )

    meaning = "loss of the circuit alone, all else"
    yield judged("sufficient", kept, alone, True, SUFFICIENT, meaning)
    meaning = "loss of the model with the circuit"
    yield judged("necessary", lost, without, False, NECESSARY, meaning)


Losses = list[Float[np.ndarray, " pair"]]


def _losses(
    model: Model, circuit: Circuit, evidence: Evidence, mode: AblationMode, controls: list[Nodes]
) -> tuple[Losses, tuple[Losses, Losses]]:
    """Of the circuit, alone and without it; of the random circuits alone, and without each.

    All share their passes: what resampling takes from other prompts, and the full model's norms.
    """
    cut, network = cut_model(model, circuit, "zero" if mode == "zero" else "mean"), model.network
    own = [
        Running(cut.network, masks_of(network, circuit.nodes)),
        Running(network, masks_of(network, circuit.nodes, complement=True)),
    ]
    others = [
        Running(network, masks_of(network, nodes, complement))
        for complement in (False, True)
        for nodes in controls
    ]
    seed, fitted_on, few = evidence.seed, evidence.fitted_on, evidence.test.first(CONTROL_PAIRS)

    def run(running: list[Running], prompts: Prompts) -> list[Tensor]:
        return ablated_together(model, prompts, running, mode, seed, network)

    fitted = run([*own, *others], fitted_on)
    measured = [*run(own, evidence.test), *run(others, few)]
    fitted[0], measured[0] = (
        calibrated(logits[0], circuit.calibration) for logits in (fitted, measured)
    )
    on = [evidence.test] * len(own) + [few] * len(others)
    losses = [
        pair_means(refitted(before, fitted_on, logits, prompts))
        for before, logits, prompts in zip(fitted, measured, on, strict=True)
    ]
    of_controls = losses[len(own) :]
    return losses[: len(own)], (of_controls[: len(controls)], of_controls[len(controls) :])


def _of_test(test: Test, name: str, meaning: str, pairs: int, at_most: bool) -> Finding:
    """A test of the short test as a finding, with the verdict that it has there."""
    low, high = test.interval
    random = test.random
    finding = judge(
        name,
        test.loss,
        test.threshold,
        at_most=at_most,
        unit="nats",
        n=pairs,
        low=low,
        high=high,
        control=random.lowest if at_most else random.highest,
        control_name=f"{'best' if at_most else 'worst'} of {random.count} random circuits",
        meaning=meaning,
    )
    return dataclasses.replace(finding, passed=test.verdict)
