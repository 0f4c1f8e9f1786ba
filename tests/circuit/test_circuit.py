"""A circuit as a value and as a folder."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import micro
from lacewing import artifacts
from lacewing.circuit.calibration import Calibration
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.edges import edges_between
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ArtifactError, MismatchError
from lacewing.model.store import Model
from micro import PAIRS, make


def pairs_of(circuit: Circuit) -> set[tuple[str, int, int]]:
    return {(f, int(s), int(d)) for f, edges in circuit.edges.items() for s, d in edges}


def test_a_saved_circuit_loads_equal(model: Model, tmp_path: Path) -> None:
    """Nodes, edges, every fact and the test pairs come back as they were, in the same order."""
    circuit = make(model, micro.PLANTED, calibration=Calibration(1.25, {80: 0.5, 81: -0.5}))
    circuit.save(tmp_path / "circuit")
    again = Circuit.load(tmp_path / "circuit")
    assert circuit == again
    assert circuit.node_names() == again.node_names()
    assert list(circuit.edges) == list(again.edges)
    for field in dataclasses.fields(Circuit):
        if field.name not in ("nodes", "edges", "model_source"):
            assert getattr(circuit, field.name) == getattr(again, field.name), field.name
    assert PAIRS == again.pairs


def test_counts_and_names(model: Model) -> None:
    """Fifteen nodes, named from input to output, and eight edges."""
    circuit = make(model, micro.PLANTED)
    assert (15, 8) == (circuit.n_nodes, circuit.n_edges)
    assert ["0.attn_in.1", "resid_final.7"] == [circuit.node_names()[i] for i in (0, -1)]


def test_set_operations_are_those_of_sets(model: Model) -> None:
    """Nodes combine as sets, and no edge is left without both its ends."""
    other = {"0.attn_in": [3, 5], "0.attn_q": [0], "0.attn_v": [16], "resid_final": [4]}
    a, b = make(model, micro.PLANTED), make(model, other)
    for both, nodes in (
        (a & b, set(a.node_names()) & set(b.node_names())),
        (a | b, set(a.node_names()) | set(b.node_names())),
        (a - b, set(a.node_names()) - set(b.node_names())),
    ):
        assert nodes == set(both.node_names())
        inside = edges_between(model.network, both.nodes)
        expected = {(f, int(s), int(d)) for f, edges in inside.items() for s, d in edges}
        assert expected == pairs_of(both)
        assert {} == both.losses
        assert all(np.all(np.diff(n) > 0) for n in both.nodes.values())
    assert a == a | b == (a & b) | a
    assert 0 == (a - a).n_nodes == (a - a).n_edges


def test_circuits_of_two_models_do_not_combine(model: Model) -> None:
    """The message names both models."""
    other = make(model, micro.PLANTED, model_id="0123456789abcdef")
    with pytest.raises(MismatchError, match=f"{model.id} and 0123456789abcdef"):
        make(model, micro.PLANTED) | other


def test_equality_is_of_model_task_nodes_and_edges(model: Model) -> None:
    """Losses and seeds do not count; nodes do. Equal circuits have one hash."""
    a = make(model, micro.PLANTED)
    assert a == make(model, micro.PLANTED, config=PruneConfig(seed=9), losses={})
    assert hash(a) == hash(make(model, micro.PLANTED, config=PruneConfig(seed=9)))
    assert a != make(model, micro.PATH_A)
    assert a != make(model, micro.PLANTED, task="another")


def test_a_model_of_another_id_is_refused(model: Model) -> None:
    """Both ids and the way out are named."""
    circuit = make(model, micro.PLANTED, model_id="0123456789abcdef")
    with pytest.raises(MismatchError, match=rf"0123456789abcdef .* {model.id}: pass the model"):
        circuit.check(model)


def test_the_same_weights_with_another_tokenizer_are_refused(model: Model) -> None:
    """Both tokenizers are named; a circuit that does not know its tokenizer is let through."""
    circuit = make(model, micro.PLANTED, tokenizer_id=model.tokenizer.id)
    circuit.check(model)
    other = dataclasses.replace(model, tokenizer=Tokenizer.train(["b c d"], vocab_size=258))
    with pytest.raises(MismatchError, match=f"{model.tokenizer.id}, .*{other.tokenizer.id}: the"):
        circuit.check(other)
    make(model, micro.PLANTED).check(other)


def test_channels_outside_the_model_are_refused(model: Model) -> None:
    """A channel beyond a site's width, or a site that is missing, names the site."""
    circuit = make(model, micro.PLANTED)
    beyond = dict(circuit.nodes) | {"0.attn_q": np.array([128], dtype=np.int32)}
    without = {key: kept for key, kept in circuit.nodes.items() if key != "0.attn_q"}
    for nodes in (beyond, without):
        with pytest.raises(MismatchError, match=r"site 0\.attn_q of width 128"):
            dataclasses.replace(circuit, nodes=nodes).check(model)


@pytest.fixture
def folder(model: Model, tmp_path: Path) -> Path:
    """A saved circuit."""
    make(model, micro.PLANTED).save(tmp_path / "circuit")
    return tmp_path / "circuit"


def reseal(folder: Path) -> None:
    """Make a manifest that agrees with what is in the folder now."""
    artifacts.seal(folder, "circuit", ["circuit.json", "nodes.safetensors", "pairs.jsonl"])


def test_an_existing_folder_is_not_overwritten(model: Model, folder: Path) -> None:
    """Saving there again is refused, and the circuit stays."""
    with pytest.raises(ArtifactError, match="exists already"):
        make(model, micro.PATH_A).save(folder)
    assert make(model, micro.PLANTED) == Circuit.load(folder)
    make(model, micro.PATH_A).save(folder, replace=True)
    assert make(model, micro.PATH_A) == Circuit.load(folder)


def test_truncated_tensors(folder: Path) -> None:
    """Found by the manifest; and where that agrees, by the tensor file itself."""
    file = folder / "nodes.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ArtifactError, match=r"nodes\.safetensors has .* damaged"):
        Circuit.load(folder)
    reseal(folder)
    with pytest.raises(ArtifactError, match="truncated"):
        Circuit.load(folder)


@pytest.mark.parametrize("name", ["wte.weight", "nodes/attn", "nodes/0.nowhere", "edges/0.a-b"])
def test_foreign_tensors(folder: Path, name: str) -> None:
    """A safetensors file of something else is refused by name."""
    artifacts.write_tensors(folder / "nodes.safetensors", {name: torch.zeros(3)})
    reseal(folder)
    with pytest.raises(ArtifactError, match="holds other tensors than a circuit's"):
        Circuit.load(folder)


def test_changed_bytes_of_the_same_size(folder: Path) -> None:
    """The manifest's hash tells."""
    file = folder / "nodes.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match="another content"):
        Circuit.load(folder)


def test_a_missing_manifest(folder: Path) -> None:
    """An unfinished circuit is no circuit."""
    (folder / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"has no manifest\.json"):
        Circuit.load(folder)


def test_facts_of_another_version(folder: Path) -> None:
    """A fact too many or too few is named."""
    plain = json.loads((folder / "circuit.json").read_text())
    for changed in (plain | {"novel": 1}, {k: v for k, v in plain.items() if k != "answers"}):
        (folder / "circuit.json").write_text(json.dumps(changed))
        reseal(folder)
        with pytest.raises(ArtifactError, match=r"another version: .*(novel|answers)"):
            Circuit.load(folder)


def test_damaged_pairs(folder: Path) -> None:
    """Lines that are no pairs are refused, with the file's name."""
    for text in ("{", '{"clean": "a"}\n', "[1]\n"):
        (folder / "pairs.jsonl").write_text(text)
        reseal(folder)
        with pytest.raises(ArtifactError, match=r"pairs\.jsonl, line 1"):
            Circuit.load(folder)


def test_model_and_circuit_move_together(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model's path is kept relative to the circuit, and found from any working folder."""
    monkeypatch.chdir(tmp_path)
    make(model, micro.PLANTED, model_source="here/model").save(Path("here/c/one"))
    shutil.move("here", "there")
    monkeypatch.chdir(tmp_path / "there" / "c")
    assert tmp_path / "there" / "model" == Path(Circuit.load("one").model_source).resolve()
    make(model, micro.PLANTED, model_source="builtin:sparse").save(Path("two"))
    assert Circuit.load("two").model_source == "builtin:sparse"
