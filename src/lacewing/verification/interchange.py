"""Interchange: does the circuit carry the answer from one prompt to another?

In the full model the circuit's nodes get their values from the pair's other member, aligned from
the last token backwards; everything else runs on the prompt. If the circuit is where the decision
is made, the answer becomes the partner's. Only pairs count of which the full model has both members
right: elsewhere there is no answer to carry.
"""

from collections.abc import Sequence

import numpy as np

from lacewing.ablation.masks import masks_of
from lacewing.ablation.modes import Running, interchanged, partners
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
    with progress(f"interchange {circuit.task}", 2, "sets", not quiet) as bar:
        controls = _flips(model, few, random_nodes(model, circuit, prompts.seed, CONTROLS))
        shares = [float(each.mean()) for each in controls]
        bar.update(1)
        (flips,) = _flips(model, test, [circuit.nodes])
        bar.update(2)
    interval = bootstrap(flips, seed=prompts.seed)
    return [_finding(flips, 2 * len(test), interval, max(shares), said)]


def _flips(model: Model, prompts: Prompts, circuits: Sequence[Nodes]) -> list[np.ndarray]:
    """Of each circuit, per pair, the share of its members that answer as their partner should."""
    running = [
        Running(model.network, masks_of(model.network, nodes, complement=True))
        for nodes in circuits
    ]
    answer, other = prompts.answer[:, None], prompts.other[:, None]
    return [
        pair_means((logits.gather(1, answer) < logits.gather(1, other))[:, 0].float())
        for logits in interchanged(prompts, partners(prompts), running)
    ]


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
