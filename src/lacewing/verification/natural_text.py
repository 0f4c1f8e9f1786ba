"""Natural text outside the task: does the circuit claim places where its answers do not belong?

A circuit is pruned on one question, which of two answers, and only where one of them is right. In
the full model both answers are unlikely elsewhere. Does the circuit know that, or does it answer
everywhere?

What the circuit gives all other tokens is no use as it stands: with nearly everything at its mean
their logits are nearly constants, set by what the pretraining text is like on average, so whether
the answers exceed a probability of one half says where that constant happens to lie. Its claim is
therefore measured against its own claims on its task: the log odds of its answers against all other
tokens, and as the threshold their median over the test prompts, where an answer does come next. A
constant added to every other logit changes nothing. A circuit that tells its place from foreign
text claims hardly any foreign position as strongly; one that does not claims half of them.
"""

import dataclasses

import numpy as np
from torch import Tensor

from lacewing.ablation.claims import FOREIGN, ROUNDING, claims, log_odds
from lacewing.ablation.editor import cut_model
from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_logits
from lacewing.ablation.values import ablation_values_of
from lacewing.circuit.calibration import calibrated
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes
from lacewing.model.protocol import Network
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.statistics import interval
from lacewing.tasks.batch import Prompts
from lacewing.verification.evidence import Evidence
from lacewing.verification.finding import Finding, judge
from lacewing.verification.random_circuits import CONTROL_PAIRS, CONTROLS, random_nodes

THRESHOLD = 0.05
"""One foreign position in twenty."""


def run(model: Model, circuit: Circuit, prompts: Evidence, quiet: bool) -> list[Finding]:
    """The share of foreign positions that the circuit claims as strongly as its own prompts."""
    text, answers = prompts.text, list(circuit.answers)
    full = claims(model.network, text, answers, None)
    foreign = (full.sigmoid() < FOREIGN).numpy()
    test = prompts.test
    own = log_odds(ablated_logits(model, test, None), answers)
    full_claims = _as_strong(full, own).numpy()[foreign]
    few = test.first(CONTROL_PAIRS)
    shares = []
    with progress(f"natural text {circuit.task}", CONTROLS, "controls", not quiet) as bar:
        for nodes in random_nodes(model, circuit, prompts.seed, CONTROLS):
            claimed, _ = _claimed(model, model.network, nodes, circuit, few, text)
            shares.append(float(claimed[foreign].mean()))
            bar.update(len(shares))
    cut = cut_model(model, circuit, circuit.ablation)
    claimed, likely = _claimed(model, cut.network, circuit.nodes, circuit, test, text)
    low, high = _interval(claimed & foreign, foreign, prompts.seed)
    return [
        judge(
            "natural",
            float(claimed[foreign].mean()) if foreign.any() else float("nan"),
            THRESHOLD,
            at_most=True,
            unit="share",
            n=int(foreign.sum()),
            low=low,
            high=high,
            control=float(np.mean(shares)),
            control_name=f"mean of {CONTROLS} random circuits",
            meaning=(
                "positions of foreign text where the circuit claims an answer as strongly as on "
                f"the middle one of its own prompts; above a probability of 0.5 on "
                f"{likely[foreign].mean():.1%}; the full model, as strongly as on its own middle "
                f"one, on {full_claims.mean():.1%}"
            ),
        )
    ]


def _claimed(
    model: Model,
    network: Network,
    nodes: Nodes,
    circuit: Circuit,
    prompts: Prompts,
    text: Tensor,
) -> tuple[np.ndarray, np.ndarray]:
    """Where a circuit claims text as strongly as its prompts, and where above one half."""
    masks, answers = masks_of(model.network, nodes), list(circuit.answers)
    ablation_values = ablation_values_of(model, circuit.ablation)
    running = dataclasses.replace(model, network=network)
    logits = ablated_logits(
        running, prompts, masks, "zero" if circuit.ablation == "zero" else "mean"
    )
    own = log_odds(calibrated(logits, circuit.calibration), answers)
    odds = claims(network, text, answers, masks, circuit.calibration, ablation_values)
    return _as_strong(odds, own).numpy(), (odds > 0).numpy()


def _as_strong(odds: Tensor, own: Tensor) -> Tensor:
    """Where claims are as strong as the median of those at the end of the prompts."""
    return odds >= own.median() - ROUNDING


def _interval(
    claimed: np.ndarray, foreign: np.ndarray, seed: int, resamples: int = 2000
) -> tuple[float | None, float | None]:
    """95 % interval of the share, by resampling whole windows: their positions hang together."""
    hits, counts = claimed.sum(1), foreign.sum(1)
    rows = np.random.default_rng(seed).integers(len(hits), size=(resamples, len(hits)))
    drawn = counts[rows].sum(1)
    if not drawn.all():
        return None, None
    return interval(hits[rows].sum(1) / drawn)
