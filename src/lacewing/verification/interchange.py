"""Interchange: does the circuit carry the answer from one prompt to another?

In the full model the circuit's nodes get their values from the pair's other member, aligned from
the last token backwards; everything else runs on the prompt. If the circuit is where the decision
is made, the answer becomes the partner's. Only pairs count of which the full model has both members
right: elsewhere there is no answer to carry.
"""

import numpy as np
from torch import Tensor

from lacewing.ablation.masks import masks_of
from lacewing.ablation.modes import interchanged, partners
from lacewing.ablation.run import ablated_logits
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.statistics import bootstrap, pair_means
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import is_right
from lacewing.verification.evidence import Evidence
from lacewing.verification.finding import Finding, judge
from lacewing.verification.random_circuits import CONTROL_PAIRS, CONTROLS, random_nodes

THRESHOLD = 0.9
"""Nearly all answers follow the circuit; a tenth may hang on how the two prompts are aligned."""


def run(model: Model, circuit: Circuit, prompts: Evidence, quiet: bool) -> list[Finding]:
    """The share of prompts whose answer becomes the partner's."""
    right = is_right(ablated_logits(model, prompts.test, None), prompts.test).view(-1, 2).all(1)
    usable = right.nonzero()[:, 0].tolist()
    said = "prompts that answer like their partner when the circuit's values are the partner's"
    if not usable:
        nothing = f"{said}; the full model has both members of no pair right"
        return [_finding(np.array([np.nan]), 0, (None, None), None, nothing)]
    test = prompts.test.take(usable)
    few = test.first(CONTROL_PAIRS)
    shares = []
    with progress(f"interchange {circuit.task}", CONTROLS, "controls", not quiet) as bar:
        for nodes in random_nodes(model, circuit, prompts.seed, CONTROLS):
            shares.append(float(_flips(model, few, nodes).mean()))
            bar.update(len(shares))
    flips = _flips(model, test, circuit.nodes)
    interval = bootstrap(flips, seed=prompts.seed)
    return [_finding(flips, 2 * len(test), interval, max(shares), said)]


def _flips(model: Model, prompts: Prompts, nodes: Nodes) -> np.ndarray:
    """Per pair, the share of its members that answer as their partner should."""
    masks = masks_of(model.network, nodes, complement=True)
    logits: Tensor = interchanged(model.network, prompts, partners(prompts), masks)
    right = logits.gather(1, prompts.answer[:, None]) < logits.gather(1, prompts.other[:, None])
    return pair_means(right[:, 0].float())


def _finding(
    flips: np.ndarray,
    prompts: int,
    interval: tuple[float | None, float | None],
    control: float | None,
    meaning: str,
) -> Finding:
    return judge(
        "interchange",
        float(flips.mean()),
        THRESHOLD,
        at_most=False,
        unit="share",
        n=prompts,
        low=interval[0],
        high=interval[1],
        control=control,
        control_name=f"best of {CONTROLS} random circuits",
        meaning=meaning,
    )
