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
from lacewing.model.store import Model, model_id
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


def test_no_edge_outlives_its_ends(model: Model) -> None:
    """Where the other circuit has only one end of an edge, the edge goes with it."""
    whole = make(model, micro.PLANTED)
    for key in ("0.attn_out", "0.attn_v"):
        left = whole - make(model, {key: micro.PLANTED[key]})
        assert 0 == len(left.nodes[key]) == len(left.edges["0.attn_v-attn_out"])


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
        with pytest.raises(ArtifactError, match=r"has (novel, which is unknown|no answers)"):
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
    make(model, micro.PLANTED, model_source="builtin:taught-sparse").save(Path("two"))
    assert Circuit.load("two").model_source == "builtin:taught-sparse"


def edited(folder: Path, **changes: object) -> None:
    """Change some facts of a saved circuit, and make its manifest agree."""
    plain = json.loads((folder / "circuit.json").read_text())
    (folder / "circuit.json").write_text(json.dumps(plain | changes))
    reseal(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ablation": "junk"}, "ablation: "),
        ({"calibration": {"scale": float("nan"), "bias": {}}}, "calibration.scale: "),
        ({"calibration": {"scale": 1, "bias": {"x": 1.0}}}, "'x' is no token id"),
        ({"answers": [80, -1]}, "a token id cannot be negative"),
        ({"answers": [True]}, "answers.0: "),
        ({"losses": {"full": "low"}}, "losses.full: "),
        ({"task": 7}, "task: "),
        ({"config": {"target_loss": 5}}, "target_loss must lie between"),
        ({"config": {"constraints": 3}}, "config.constraints: "),
        ({"config": None}, "config: "),
        ({"edits": "cut"}, "edits: "),
    ],
)
def test_resealed_nonsense(folder: Path, changes: dict[str, object], said: str) -> None:
    """Facts that no pruning writes are refused, each in one line that names the field."""
    edited(folder, **changes)
    with pytest.raises(ArtifactError) as error:
        Circuit.load(folder)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("nodes/0.attn_in", torch.tensor([True, False]), "not channels in int32"),
        ("nodes/0.attn_in", torch.tensor([0.0, 1.0]), "not channels in int32"),
        ("nodes/0.attn_in", torch.tensor([-3, 1], dtype=torch.int32), "has channel -3"),
        ("nodes/0.attn_in", torch.tensor([1, 1], dtype=torch.int32), "not sorted, each once"),
        ("nodes/0.attn_in", torch.tensor([2, 1], dtype=torch.int32), "not sorted, each once"),
        ("nodes/0.attn_in", torch.tensor([[1]], dtype=torch.int32), "not channels in int32"),
        ("edges/0.attn_in-attn_q", torch.tensor([[120, 0]], dtype=torch.int32), "not kept"),
        ("edges/0.attn_in-attn_q", torch.tensor([[1, 2, 3]], dtype=torch.int32), "no pairs"),
        ("edges/5.attn_in-attn_q", torch.tensor([[0, 0]], dtype=torch.int32), "other tensors"),
        ("nodes/9999999.attn_in", torch.tensor([0], dtype=torch.int32), "other tensors"),
    ],
)
def test_resealed_arrays(folder: Path, name: str, tensor: torch.Tensor, said: str) -> None:
    """Arrays that no pruning writes."""
    tensors = artifacts.read_tensors(folder / "nodes.safetensors")
    artifacts.write_tensors(folder / "nodes.safetensors", tensors | {name: tensor})
    reseal(folder)
    with pytest.raises(ArtifactError, match=said):
        Circuit.load(folder)


def test_what_the_model_does_not_have_is_refused(model: Model) -> None:
    """Answers beyond its vocabulary, a layer more, edges of a layer too few."""
    circuit = make(model, micro.PLANTED)
    circuit.check(model)
    more = {**circuit.nodes, "1.attn_in": np.array([0], dtype=np.int32)}
    fewer = {name: pairs for name, pairs in circuit.edges.items() if "attn_q" not in name}
    for changes, said in (
        ({"answers": (80, 10**6)}, "token 1000000"),
        ({"nodes": more}, r"1\.attn_in"),
        ({"edges": fewer}, r"0\.attn_in-attn_q"),
    ):
        with pytest.raises(MismatchError, match=said):
            dataclasses.replace(circuit, **changes).check(model)


def test_means_are_part_of_the_model(model: Model) -> None:
    """A circuit does not belong to the same weights with other means; an old one cannot tell."""
    means = {key: mean + 1 for key, mean in model.means.items()}
    id = model_id(model.network, means, model.tokenizer)
    other = dataclasses.replace(model, means=means, id=id)
    with pytest.raises(MismatchError, match=f"{model.id} .* {other.id}"):
        make(model, micro.PLANTED).check(other)
    old = make(model, micro.PLANTED, model_id=model.id.partition("-")[0])
    for each in (model, other):
        old.check(each)
    assert old == make(model, micro.PLANTED)
    assert hash(old) == hash(make(model, micro.PLANTED))
    assert (old | make(model, micro.PATH_A)).n_nodes


def test_notes_stay_where_a_circuit_is_replaced(model: Model, folder: Path) -> None:
    """They are people's, and not the program's to throw away."""
    (folder / "annotations.json").write_text('{"annotations": [], "supernodes": []}')
    make(model, micro.PATH_A).save(folder, replace=True)
    assert '{"annotations": [], "supernodes": []}' == (folder / "annotations.json").read_text()
    assert make(model, micro.PATH_A) == Circuit.load(folder)
