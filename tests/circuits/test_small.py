"""The small model that ships: its quote circuit, found anew."""

from lacewing.circuits.config import PruneConfig
from lacewing.circuits.minimal import measured, minimise
from lacewing.circuits.prompts import prompt_sets
from lacewing.circuits.prune import prune
from lacewing.model import store
from lacewing.tasks.registry import get


def test_the_quotes_take_a_dozen_nodes_and_edges_at_most() -> None:
    """Fewer than the paper's 12 nodes and 9 edges allow, at 0.15 nats on test prompts."""
    model, task = store.load("builtin:small"), get("single_double_quote")
    config = PruneConfig(target_loss=0.12, validation_pairs=512)
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
