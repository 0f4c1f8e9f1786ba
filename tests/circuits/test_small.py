"""The small models that ship: a minimal circuit found anew, and one that holds."""

import micro
import numpy as np

from lacewing.circuits.ablate import ablated_logits, masks_of
from lacewing.circuits.calibrate import calibrated_loss
from lacewing.circuits.config import PruneConfig
from lacewing.circuits.faith.complement import MARK, worst_subset
from lacewing.circuits.minimal import measured, minimise
from lacewing.circuits.prompts import prompt_sets
from lacewing.circuits.prune import prune
from lacewing.model import store
from lacewing.tasks.registry import get

HOLDS = {
    "0.attn_in": [10, 74, 85, 92, 100, 103, 105, 119, 126, 130, 142, 155],
    "0.attn_q": [71, 72, 77],
    "0.attn_k": [71, 72, 76, 77, 78],
    "0.attn_v": [64],
    "0.attn_out": [105],
    "resid_final": [105],
}
"""What `lacewing prune --robust` finds for `indent_for` in `builtin:tiny`."""


def test_the_quotes_take_a_dozen_nodes_and_edges_at_most() -> None:
    """Fewer than the paper's 12 nodes and 9 edges allow, at 0.15 nats on test prompts."""
    model, task = store.load("builtin:small"), get("single_double_quote")
    # Room for test prompts, which another Python's standard library may make harder.
    config = PruneConfig(target_loss=0.1, validation_pairs=512)
    sets = prompt_sets(model, task, config)
    circuit, certificate = minimise(
        model, prune(model, task, config, sets=sets, quiet=True), sets.validation, quiet=True
    )
    circuit = measured(model, circuit, sets)
    assert 5 <= circuit.n_nodes <= 12
    assert 1 <= circuit.n_edges <= 12
    assert circuit.losses["full"] < 0.1
    assert circuit.losses["circuit"] <= 0.15
    without = [*certificate.nodes.values(), *certificate.edges.values()]
    assert len(certificate.nodes) == circuit.n_nodes
    assert len(certificate.edges) == circuit.n_edges
    assert min(without) > config.target_loss


def test_a_circuit_that_holds_stands_the_worst() -> None:
    """Of the narrower model: alone it does the task, and no subset of all else undoes it."""
    model, task = store.load("builtin:tiny"), get("indent_for")
    sets = prompt_sets(model, task, PruneConfig(validation_pairs=128, test_pairs=128))
    nodes = micro.nodes_of(HOLDS, model.network.config)
    other = nodes | {"0.attn_v": np.array([0], dtype=np.int32)}
    alone = masks_of(model.network, nodes)
    assert calibrated_loss(ablated_logits(model, sets.test, alone), sets.test) <= 0.15
    undone = []
    for kept in (nodes, other):
        running = worst_subset(model, kept, sets.train, sets.validation, seed=1)
        undone.append(calibrated_loss(ablated_logits(model, sets.test, running), sets.test))
    assert undone[0] <= MARK
    assert undone[1] > 0.6
