"""Agreement: does the circuit say what the full model says, also on prompts of another make?

The task loss asks for right answers. This asks for the full model's, wrong ones included: on the
test prompts, and on prompts the circuit was not pruned on (Drori 2026, method section 13, e).

    agree.answer       the same of the two answers, on the test prompts
    agree.difference   correlation of the two answers' logit difference
    agree.templates    the same answer on composed prompts if pruned on natural ones, or the reverse
    agree.files        ... on prompts from the files of another corpus
    agree.longer       ... on prompts up to twice as long as any that it was pruned on
"""

import dataclasses
import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.ablation.modes import alone, only
from lacewing.ablation.run import ablated_logits
from lacewing.circuit.circuit import Circuit
from lacewing.errors import DataError
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.statistics import bootstrap, correlation, correlations, interval, pair_means
from lacewing.tasks.batch import Prompts
from lacewing.verification import distribution_shift as others
from lacewing.verification.evidence import Evidence
from lacewing.verification.finding import Finding, LeftOut, judge
from lacewing.verification.random_circuits import CONTROL_PAIRS, CONTROLS, random_nodes

ANSWER = 0.95
"""On its own kind of prompt the circuit speaks for the model."""
DIFFERENCE = 0.8
"""Two thirds of the variance of how sure the model is."""
ELSEWHERE = 0.9
"""On prompts of another make it still does."""
FEWEST = 24
"""Pairs below which agreement elsewhere is unresolved, whatever it is."""


def run(model: Model, circuit: Circuit, prompts: Evidence, quiet: bool) -> list[Finding | LeftOut]:
    """Agreement on test prompts, and on prompts of another make where there can be any."""
    kinds = others.KINDS
    with progress(f"agreement {circuit.task}", 1 + len(kinds), "sets", not quiet) as bar:
        found: list[Finding | LeftOut] = [*_on_test(model, circuit, prompts)]
        for done, (name, kind) in enumerate(kinds.items()):
            bar.update(1 + done, name)
            found.append(_elsewhere(model, circuit, prompts, f"agree.{name}", kind))
        bar.update(1 + len(kinds))
    return found


def differences(
    logits: Float[Tensor, "sequence vocab"], prompts: Prompts
) -> Float[Tensor, " sequence"]:
    """Logit of the clean prompt's answer less that of the corrupted one's, for both members."""
    right = logits.gather(1, prompts.answer[:, None]) - logits.gather(1, prompts.other[:, None])
    sign = torch.tensor([1.0, -1.0]).repeat(len(prompts))
    return right[:, 0] * sign


def _both(model: Model, circuit: Circuit, prompts: Prompts, seed: int) -> tuple[Tensor, Tensor]:
    """Logit differences of the circuit and of the full model."""
    own = alone(model, circuit, prompts, circuit.ablation, seed)
    full = ablated_logits(model, prompts, None)
    return differences(own, prompts), differences(full, prompts)


def _on_test(model: Model, circuit: Circuit, evidence: Evidence) -> list[Finding]:
    test, seed = evidence.test, evidence.seed
    own, full = _both(model, circuit, test, seed)
    few = test.first(CONTROL_PAIRS)
    best = -math.inf
    for nodes in random_nodes(model, circuit, seed, CONTROLS):
        logits = only(model, nodes, few, circuit.ablation, seed)
        best = max(best, correlation(differences(logits, few), full[: 2 * len(few)]))
    low, high = _correlation_interval(own, full, seed)
    sign = torch.tensor([1.0, -1.0]).repeat(len(test))
    within = correlation(own * sign, full * sign)
    return [
        _share("agree.answer", own, full, ANSWER, seed, "test prompts"),
        judge(
            "agree.difference",
            correlation(own, full),
            DIFFERENCE,
            at_most=False,
            unit="correlation",
            n=2 * len(test),
            low=low,
            high=high,
            control=best,
            control_name=f"best of {CONTROLS} random circuits",
            meaning=(
                "logit difference of the two answers, circuit against full model; of right less "
                f"wrong alone the correlation is {within:.2f}"
            ),
        ),
    ]


def _elsewhere(
    model: Model, circuit: Circuit, evidence: Evidence, name: str, kind: others.Kind
) -> Finding | LeftOut:
    try:
        made = kind(model, circuit, evidence)
    except DataError as error:
        return _unresolved(name, f"no such prompts could be made: {error}")
    if isinstance(made, str):
        return LeftOut(name, made)
    prompts, said = made
    own, full = _both(model, circuit, prompts, evidence.seed)
    finding = _share(name, own, full, ELSEWHERE, evidence.seed, said)
    if len(prompts) < FEWEST:
        few = f"{finding.meaning}; {len(prompts)} pairs are too few to tell"
        return dataclasses.replace(finding, passed=None, meaning=few)
    return finding


def _share(name: str, own: Tensor, full: Tensor, threshold: float, seed: int, said: str) -> Finding:
    """How often two signs agree; a tie of either agrees with nothing."""
    same = pair_means((own * full > 0).float())
    low, high = bootstrap(same, seed=seed)
    clean = float((full > 0).double().mean())
    return judge(
        name,
        float(same.mean()),
        threshold,
        at_most=False,
        unit="share",
        n=len(own),
        low=low,
        high=high,
        control=max(clean, 1 - clean),
        control_name="always the full model's commoner answer",
        meaning=f"{said} on which circuit and full model give the same answer",
    )


def _unresolved(name: str, reason: str) -> Finding:
    return judge(
        name,
        math.nan,
        ELSEWHERE,
        at_most=False,
        unit="share",
        n=0,
        meaning=" ".join(reason.split()),
    )


def _correlation_interval(
    own: Tensor, full: Tensor, seed: int, resamples: int = 2000
) -> tuple[float, float]:
    """95 % interval, by resampling pairs."""
    a, b = (t.double().view(-1, 2).numpy() for t in (own, full))
    rows = np.random.default_rng(seed).integers(len(a), size=(resamples, len(a)))
    drawn = (t[rows].reshape(resamples, -1) for t in (a, b))
    return interval(correlations(*drawn))
