"""Nuisance rewrites and matched negatives: what should change nothing, and what should change all.

    nuisance    the same prompts after a sentence, or a comment line, that has nothing to do with
                them: the circuit's answers should stay as right as they were
    negatives   the places inside its own prompts where no answer is due: the circuit should not
                claim one there as strongly as at the end

Both stay as near to the task as can be, where `natural` is far from it. After *Mechanistic unit
tests* (2026): a mechanism is told from a shortcut by inputs that differ only in what matters.
"""

import dataclasses
import math

import numpy as np
import torch
from torch import Tensor

from lacewing.ablation.calibration import refitted_loss
from lacewing.ablation.claims import FOREIGN, ROUNDING, claims
from lacewing.ablation.editor import cut_model
from lacewing.ablation.masks import masks_of
from lacewing.ablation.modes import alone, only
from lacewing.ablation.run import ablated_loss
from lacewing.ablation.values import ablation_values_of
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes
from lacewing.errors import DataError
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.statistics import bootstrap, interval, pair_means
from lacewing.tasks.batch import Prompts, encode
from lacewing.tasks.fit import problems
from lacewing.tasks.pair import Pair
from lacewing.tasks.scoring import HALF_CHANCE
from lacewing.verification.evidence import Evidence
from lacewing.verification.finding import Finding, LeftOut, judge
from lacewing.verification.random_circuits import CONTROL_PAIRS, CONTROLS, random_nodes

NUISANCE = HALF_CHANCE
"""After a rewrite the circuit should still be nearer to an answer than to a guess."""
NEGATIVES = 0.05
"""One place in twenty, as on natural text."""
SENTENCES = ("It was late. ", "The rain had stopped. ", "Nothing else happened. ")
COMMENTS = ("# see below\n", "# note\n", "# as before\n")


def run(model: Model, circuit: Circuit, prompts: Evidence, quiet: bool) -> list[Finding | LeftOut]:
    """The loss after rewrites, and the share of places that are claimed wrongly."""
    with progress(f"rewrites {circuit.task}", 2, "tests", not quiet) as bar:
        first = _nuisance(model, circuit, prompts)
        bar.update(1, "negatives")
        return [first, _negatives(model, circuit, prompts)]


def rewritten(pairs: tuple[Pair, ...], english: bool) -> list[Pair]:
    """The same pairs, each after a line that says nothing of them."""
    before = SENTENCES if english else COMMENTS
    return [
        dataclasses.replace(pair, clean=start + pair.clean, corrupted=start + pair.corrupted)
        for number, pair in enumerate(pairs)
        for start in (before[number % len(before)],)
    ]


def _nuisance(model: Model, circuit: Circuit, evidence: Evidence) -> Finding | LeftOut:
    english = evidence.task.origin == "template"
    changed, context = rewritten(evidence.test.pairs, english), model.network.config.context
    fits = problems(changed, model.tokenizer, context)
    usable = [pair for pair, problem in zip(changed, fits, strict=True) if problem is None]
    if not usable:
        return LeftOut("nuisance", f"no prompt has room for another line: {context} tokens at most")
    try:
        test = encode(usable, model.tokenizer, context)
    except DataError as error:  # such as a tokenizer that merges across the seam
        return LeftOut("nuisance", str(error))
    run_ = lambda on: alone(model, circuit, on, circuit.ablation, evidence.seed)  # noqa: E731
    losses = pair_means(refitted_loss(run_, evidence.fitted_on, test))
    low, high = bootstrap(losses, seed=evidence.seed)
    few = test.first(CONTROL_PAIRS)
    random = [
        float(
            refitted_loss(
                lambda on, nodes=nodes: only(model, nodes, on, circuit.ablation, evidence.seed),
                evidence.fitted_on,
                few,
            ).mean()
        )
        for nodes in random_nodes(model, circuit, evidence.seed, CONTROLS)
    ]
    full = float(ablated_loss(model, test, None).mean())
    return judge(
        "nuisance",
        float(losses.mean()),
        NUISANCE,
        at_most=True,
        unit="nats",
        n=len(test),
        low=low,
        high=high,
        control=min(random),
        control_name=f"best of {CONTROLS} random circuits",
        meaning=(
            f"loss of the circuit alone after {'a sentence' if english else 'a comment line'} that "
            f"says nothing of the task; the full model has {full:.3f}"
        ),
    )


def _negatives(model: Model, circuit: Circuit, evidence: Evidence) -> Finding | LeftOut:
    test, answers = evidence.test, list(circuit.answers)
    full = claims(model.network, test.tokens, answers, None)
    place = torch.arange(test.tokens.shape[1])[None]
    before = (place < test.last[:, None]) & (place >= model.network.spared)
    due = (before & (full.sigmoid() < FOREIGN)).numpy()
    if not due.any():
        reason = "the full model gives an answer a tenth or more everywhere in the prompts"
        return LeftOut("negatives", reason)
    shares = [
        float(_claimed(model, model, nodes, circuit, test)[due].mean())
        for nodes in random_nodes(model, circuit, evidence.seed, CONTROLS)
    ]
    cut = cut_model(model, circuit, circuit.ablation)
    claimed = _claimed(model, cut, circuit.nodes, circuit, test)
    low, high = _interval(claimed & due, due, evidence.seed)
    return judge(
        "negatives",
        float(claimed[due].mean()),
        NEGATIVES,
        at_most=True,
        unit="share",
        n=int(due.sum()),
        low=low,
        high=high,
        control=float(np.mean(shares)),
        control_name=f"mean of {CONTROLS} random circuits",
        meaning=(
            "places inside its own prompts, no answer due, where the circuit claims one as "
            "strongly as at the end of its middle prompt"
        ),
    )


def _claimed(
    model: Model, running: Model, nodes: Nodes, circuit: Circuit, prompts: Prompts
) -> np.ndarray:
    """Where a circuit claims an answer as strongly as at the end of its middle prompt."""
    values = ablation_values_of(model, circuit.ablation)
    masks, answers = masks_of(model.network, nodes), list(circuit.answers)
    calibration = circuit.calibration
    odds: Tensor = claims(running.network, prompts.tokens, answers, masks, calibration, values)
    ends = odds[torch.arange(len(odds)), prompts.last]
    found: np.ndarray = (odds >= ends.median() - ROUNDING).numpy()
    return found


def _interval(
    claimed: np.ndarray, due: np.ndarray, seed: int, resamples: int = 2000
) -> tuple[float | None, float | None]:
    """95 % interval of the share, by resampling pairs: their two prompts hang together."""
    hits, counts = (t.sum(1).reshape(-1, 2).sum(1) for t in (claimed, due))
    rows = np.random.default_rng(seed).integers(len(hits), size=(resamples, len(hits)))
    drawn = counts[rows].sum(1)
    if not drawn.all() or not math.isfinite(float(drawn.sum())):
        return None, None
    return interval(hits[rows].sum(1) / drawn)
