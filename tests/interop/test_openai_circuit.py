"""Released circuits: the same channels, the same prompts, losses halved and measured anew."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain import Plain
from release import made, write_model, write_tokenizer

import lacewing
from lacewing.circuit.circuit import Circuit
from lacewing.errors import ArtifactError, DataError, MismatchError
from lacewing.interop.openai.circuit import import_circuit
from lacewing.interop.openai.model import import_model
from lacewing.model.store import Model
from lacewing.tasks.userfile import read_pairs

KEPT = {
    "0.attn.act_in": [3, 17],  # 17 is a position channel
    "0.attn.q": [0, 5],
    "0.attn.k": [1],
    "0.attn.v": [2, 3],
    "0.attn.resid_delta": [0, 15],
    "1.mlp.act_in": [4],
    "1.mlp.post_act": [20, 23],
    "1.mlp.resid_delta": [7],
    "final_resid": [0, 7, 15],
}
PAIRS = [("x = [1", "x = (1"), ("yy = [2, 3", "yy = (2, 3"), ("def f(a): [", "def f(a): (")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Model:
    folder = tmp_path_factory.mktemp("released")
    write_model(folder / "model", *made("yolo2"))
    write_tokenizer(folder / "tinypython")
    import_model(folder / "model", folder / "ours", corpus=str(text), quiet=True)
    return lacewing.load(folder / "ours")


def losses(model: Model) -> float:
    """What the release stores: the loss of both prompts of a pair, added up, by the second reader.

    Of the two ways round, the one that suits its random weights.
    """
    second, found = Plain(*made("yolo2")), []
    for answers in ("])", ")]"):
        right, wrong = (model.tokenizer.single(answer) for answer in answers)
        total = 0.0
        for clean, corrupted in PAIRS:
            for prompt, ids in ((clean, [right, wrong]), (corrupted, [wrong, right])):
                logits = second(torch.tensor([model.tokenizer.encode(prompt)]))[0, -1]
                total -= float(logits[ids].log_softmax(0)[0])
        found.append(total / len(PAIRS))
    return min(found)


def viz_data(model: Model, **changes: Any) -> dict[str, Any]:
    """A file of the release."""
    rows = [model.tokenizer.encode(t) for side in (0, 1) for t in (p[side] for p in PAIRS)]
    samples = torch.zeros(6, 24, dtype=torch.long)
    for row, ids in enumerate(rows):
        samples[row, : len(ids)] = torch.tensor(ids)
    importances = {"task_samples": [samples, {}], "loss": losses(model), "interv_loss": 0.5}
    data = {
        "circuit_data": {name: torch.tensor(kept) for name, kept in KEPT.items()},
        "samples": {},
        "importances": importances,
        "num_total_nodes": 100,
        "all_loss": [],
        "prune_config": {"target_loss": 0.3},
    }
    return data | changes


def write(folder: Path, data: object) -> Path:
    """The file where it would have been published."""
    file = folder / "viz" / "csp_test" / "my_task" / "prune_v4" / "k_optim" / "viz_data.pt"
    file.parent.mkdir(parents=True)
    torch.save(data, file)
    return file


def test_a_circuit_of_ours(model: Model, tmp_path: Path) -> None:
    file = write(tmp_path, viz_data(model))
    said = import_circuit(file, model, tmp_path / "circuit", ("]", ")"))
    circuit = Circuit.load(tmp_path / "circuit")
    circuit.check(model)
    assert circuit.task == "my_task"
    assert circuit.n_nodes == sum(map(len, KEPT.values()))
    assert circuit.nodes["0.attn_in"].tolist() == [3, 17]
    assert circuit.nodes["1.mlp_neuron"].tolist() == [20, 23]
    assert circuit.nodes["resid_final"].tolist() == [0, 7, 15]
    assert len(circuit.nodes["1.attn_q"]) == 0
    weight = model.network.blocks[1].c_fc.weight
    expected = [(4, d) for d in (20, 23) if weight[d, 4] != 0]
    assert sorted(map(tuple, circuit.edges["1.mlp_in-mlp_neuron"].tolist())) == expected
    assert circuit.config.target_loss == 0.15
    assert said["pairs"] == 3
    assert said["dropped"] == 0
    assert {(p.clean, p.corrupted) for p in circuit.pairs} == set(PAIRS)


def test_stored_losses_are_of_a_pair_and_ours_of_a_prompt(model: Model, tmp_path: Path) -> None:
    file = write(tmp_path, viz_data(model))
    said = import_circuit(file, model, tmp_path / "circuit", ("]", ")"))
    assert said["released_full"] == pytest.approx(said["full"], abs=1e-4)
    assert said["stored"]["released_full"] == 2 * said["released_full"]
    assert said["released_circuit"] == 0.25


def test_the_model_says_which_answer_is_whose(model: Model, tmp_path: Path) -> None:
    file = write(tmp_path, viz_data(model))
    one = import_circuit(file, model, tmp_path / "one", ("]", ")"))
    two = import_circuit(file, model, tmp_path / "two", (")", "]"))
    assert one["answers"] == two["answers"]
    assert one["swapped"] != two["swapped"]
    assert one["full"] == two["full"]


def test_its_pairs_are_a_task(model: Model, tmp_path: Path) -> None:
    import_circuit(write(tmp_path, viz_data(model)), model, tmp_path / "circuit", ("]", ")"))
    task = read_pairs(tmp_path / "circuit" / "pairs.jsonl")
    assert len(task.lines) == 3


def test_sites_without_a_name(model: Model, tmp_path: Path) -> None:
    data = viz_data(model, circuit_data={"0.attn.q": torch.tensor([1])})
    said = import_circuit(write(tmp_path, data), model, tmp_path / "circuit", ("]", ")"))
    circuit = Circuit.load(tmp_path / "circuit")
    assert circuit.n_nodes == 1 + 16
    assert "resid_final" in said["absent"]
    assert np.array_equal(circuit.nodes["resid_final"], np.arange(16))


def test_a_prompt_that_reads_back_otherwise_is_dropped(model: Model, tmp_path: Path) -> None:
    data = viz_data(model)
    data["importances"]["task_samples"][0][0, 0] = 180  # half a character
    said = import_circuit(write(tmp_path, data), model, tmp_path / "circuit", ("]", ")"))
    assert (said["pairs"], said["dropped"]) == (2, 1)


def test_unknown_answers_are_asked_for(model: Model, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give the two tokens with --answers"):
        import_circuit(write(tmp_path, viz_data(model)), model, tmp_path / "circuit")


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"circuit_data": {"0.attn.y": torch.tensor([1])}}, MismatchError, "'0.attn.y'"),
        ({"circuit_data": {"9.attn.q": torch.tensor([1])}}, MismatchError, "no site of a model"),
        ({"circuit_data": {"0.attn.q": torch.tensor([16])}}, MismatchError, "channel 16"),
        ({"circuit_data": {"0.attn.q": torch.tensor([-1])}}, MismatchError, "of another model"),
        ({"circuit_data": {"0.attn.q": torch.ones(16).bool()}}, ArtifactError, "no list"),
        (
            {"circuit_data": {"0.attn.q": torch.tensor([0.5])}},
            ArtifactError,
            "float32 for channels",
        ),
        ({"circuit_data": torch.zeros(3)}, ArtifactError, "circuit_data is a Tensor"),
        ({"importances": {}}, ArtifactError, "no task_samples"),
        ({"importances": {"task_samples": [torch.zeros(3, 4)]}}, ArtifactError, "two halves"),
        ({"importances": {"task_samples": [torch.zeros(2, 4)]}}, MismatchError, "does not know"),
        ({"importances": {"task_samples": [torch.full((2, 4), 900)]}}, MismatchError, "not know"),
    ],
)
def test_what_is_no_circuit(
    changes: dict[str, Any], error: type[Exception], said: str, model: Model, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        import_circuit(
            write(tmp_path, viz_data(model, **changes)), model, tmp_path / "circuit", ("]", ")")
        )
    assert not (tmp_path / "circuit").exists()


def test_a_bare_tensor(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="the file is a Tensor"):
        import_circuit(write(tmp_path, torch.zeros(3)), model, tmp_path / "c", ("]", ")"))
