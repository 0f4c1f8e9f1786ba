"""Cheap baselines of the same budget: would a few gradients have found as good a circuit?

    baseline.attribution   attribution patching: nodes ranked by what the loss would rise without
                           each, to first order, one pass forward and back
    baseline.integrated    the same, averaged over steps from everything ablated to nothing
                           ablated: integrated gradients, as EAP-IG does it for edges

Our own plain versions, on training prompts, with as many nodes as the circuit. The circuit may lose
no more alone than those, but for hundredths of a nat: else nobody needed the search. It need not
lose less, as gradients may well find the very same nodes.
"""

from functools import partial

import numpy as np
import torch

from lacewing.ablation.attribution import gated_rises, node_rises
from lacewing.ablation.calibration import refitted_loss
from lacewing.ablation.masks import nodes_of
from lacewing.ablation.modes import alone, only
from lacewing.ablation.values import AblationValues, ablation_values_of
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.statistics import bootstrap, pair_means
from lacewing.tasks.batch import Prompts
from lacewing.verification.evidence import Evidence
from lacewing.verification.finding import Finding, judge

RANKED = 48
"""Training pairs that nodes are ranked on."""
NO_WORSE = -0.02
"""Nats that the circuit may lose more than a cheap one."""
STEPS = 5
"""From everything ablated to nothing."""


def run(model: Model, circuit: Circuit, prompts: Evidence, quiet: bool) -> list[Finding]:
    """How much less the circuit loses alone than what gradients rank highest."""
    few = prompts.sets.train.first(RANKED)
    found = []
    with progress(f"baselines {circuit.task}", 2, "baselines", not quiet) as bar:
        for name, integrated in (("attribution", False), ("integrated", True)):
            nodes = cheap_nodes(model, circuit, few, integrated=integrated)
            found.append(_against(model, circuit, prompts, nodes, name))
            bar.update(len(found))
    return found


def cheap_nodes(model: Model, circuit: Circuit, prompts: Prompts, *, integrated: bool) -> Nodes:
    """As many nodes as a circuit has, those that gradients say matter most."""
    values: AblationValues = ablation_values_of(model, circuit.ablation)
    every = site_widths(model.network.config)
    widths = {key: width for key, width in every.items() if key in circuit.nodes}
    if integrated:
        rises = {key: torch.zeros(width) for key, width in widths.items()}
        for step in range(1, STEPS + 1):
            gates = {key: torch.full((width,), step / STEPS) for key, width in widths.items()}
            for key, rise in gated_rises(model.network, gates, values, prompts).items():
                rises[key] += rise / STEPS
    else:
        masks = {key: torch.ones(width, dtype=torch.bool) for key, width in widths.items()}
        rises = dict(node_rises(model.network, masks, values, prompts))
    together = torch.cat([rises[key].abs() for key in widths])
    kept = torch.zeros(len(together), dtype=torch.bool)
    kept[together.topk(min(circuit.n_nodes, len(together))).indices] = True
    return nodes_of(dict(zip(widths, torch.split(kept, list(widths.values())), strict=True)))


def _against(
    model: Model, circuit: Circuit, evidence: Evidence, nodes: Nodes, name: str
) -> Finding:
    seed, test, fitted_on = evidence.seed, evidence.test, evidence.fitted_on
    run_own = partial(alone, model, circuit, mode=circuit.ablation, seed=seed)
    run_cheap = partial(only, model, nodes, mode=circuit.ablation, seed=seed)
    own, cheap = (pair_means(refitted_loss(run_, fitted_on, test)) for run_ in (run_own, run_cheap))
    shared = sum(len(np.intersect1d(nodes[key], kept)) for key, kept in circuit.nodes.items())
    low, high = bootstrap(cheap - own, seed=seed)
    return judge(
        f"baseline.{name}",
        float((cheap - own).mean()),
        NO_WORSE,
        at_most=False,
        unit="nats",
        n=len(test),
        low=low,
        high=high,
        control=float(cheap.mean()),
        control_name=f"loss of the {circuit.n_nodes} nodes that gradients rank highest",
        meaning=(
            f"how much less the circuit loses alone ({own.mean():.3f} nats) than as many nodes by "
            f"{'integrated gradients' if name == 'integrated' else 'attribution patching'}, of "
            f"which it has {shared}"
        ),
    )
