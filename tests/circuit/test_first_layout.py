"""A circuit saved in the first layout, with the words of then, loads as what it was."""

import json
from pathlib import Path

import pytest

from lacewing.circuit.circuit import Circuit, NodesOnly
from lacewing.errors import ArtifactError
from lacewing.model.store import load
from lacewing.verification.verify import Verification, saved_verification

FOLDER = Path(__file__).parent / "first_layout"
"""A robust and minimal circuit of what was builtin:tiny then, with few of its pairs and tests."""


def test_its_configuration_is_typed() -> None:
    """Seed and target loss stood beside the settings, and constraints were called stress."""
    saved = json.loads((FOLDER / "circuit.json").read_text())
    circuit = Circuit.load(FOLDER)
    assert saved["settings"]["stress"] == list(circuit.config.constraints)
    assert circuit.config.robust
    assert (saved["seed"], saved["target_loss"]) == (circuit.seed, circuit.target_loss)
    assert (saved["seed"], saved["target_loss"]) == (
        circuit.config.seed,
        circuit.config.target_loss,
    )
    assert saved["settings"]["prompts"] == circuit.config.prompts
    assert saved["settings"]["seconds"] == circuit.seconds
    assert NodesOnly(**saved["settings"]["nodes_only"]) == circuit.nodes_only
    assert saved["losses"] == circuit.losses


def test_its_pairs_and_certificate_come_along() -> None:
    """From the files beside it."""
    circuit = Circuit.load(FOLDER)
    assert 3 == len(circuit.pairs)
    assert circuit.certificate
    assert circuit.certificate.minimal
    assert 2 == len(circuit.certificate.pairs)
    assert json.loads((FOLDER / "certificate.json").read_text()) == circuit.certificate.as_json()
    assert set(circuit.node_names()) == set(circuit.certificate.nodes)


def test_its_model_has_another_name_now() -> None:
    """The taught models gave their short names to the pair that learned by reading."""
    assert "builtin:tiny" == json.loads((FOLDER / "circuit.json").read_text())["model_source"]
    circuit = Circuit.load(FOLDER)
    assert "builtin:taught-tiny" == circuit.model_source
    circuit.check(load(circuit.model_source))


def test_saved_again_it_has_the_present_layout(tmp_path: Path) -> None:
    """Nothing is lost on the way."""
    circuit = Circuit.load(FOLDER)
    circuit.save(tmp_path / "again")
    facts = json.loads((tmp_path / "again" / "circuit.json").read_text())
    assert {"settings", "seed", "target_loss"} & set(facts) == set()
    again = Circuit.load(tmp_path / "again")
    assert circuit == again
    for name in ("config", "pairs", "certificate", "seconds", "nodes_only", "losses"):
        assert getattr(circuit, name) == getattr(again, name), name


def test_its_verification_is_read(tmp_path: Path) -> None:
    """Thresholds were called marks."""
    plain = json.loads((FOLDER / "verification.json").read_text())
    found = saved_verification(FOLDER)
    assert found
    assert [test["pass_mark"] for test in plain["tests"]] == [t.threshold for t in found.tests]
    assert plain["sufficient"]["mark"] == found.sufficient.threshold
    assert plain["verdict"].split(":")[0] == found.verdict.split(":")[0]
    found.save(tmp_path)
    assert "mark" not in (tmp_path / "verification.json").read_text()
    assert found == saved_verification(tmp_path)


def test_a_verification_of_something_else() -> None:
    """Is refused, not guessed at."""
    with pytest.raises(ArtifactError, match="no verification"):
        Verification.from_json({"tests": []})
