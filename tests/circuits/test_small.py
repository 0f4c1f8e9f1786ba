"""The small models that ship: a minimal circuit and a robust one, found anew."""

from pathlib import Path

from lacewing.circuits.config import PruneConfig
from lacewing.circuits.faith.suite import PARTS, examine
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


def test_a_robust_circuit_of_the_narrower_one_stands_the_suite(tmp_path: Path) -> None:
    """Other ablations, the worst subset, foreign text, attention: nothing fails."""
    model, task = store.load("builtin:tiny"), get("indent_for")
    config = PruneConfig(robust=True, prompts=2304)
    sets = prompt_sets(model, task, config)
    circuit = prune(model, task, config, sets=sets, quiet=True)
    circuit.save(tmp_path / "circuit", sets.test.pairs)
    parts = {name: PARTS[name] for name in ("ablations", "complement", "natural", "attention")}
    found = examine(model, circuit, sets.test, tmp_path / "circuit", parts=parts, quiet=True)
    assert "holds" == found["verdict"]
    assert 12 == len(found["tests"])
    assert circuit.n_nodes <= 40
