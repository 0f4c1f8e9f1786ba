"""Controls: prompts without a rule, a model without training, searches that come to nothing."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import lacewing
import micro
from lacewing import artifacts
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import DataError
from lacewing.model.store import Model
from lacewing.model.weights import writers
from lacewing.pruning.node_search import Wanted
from lacewing.tasks.task import Task
from lacewing.verification import controls
from lacewing.verification.evidence import Evidence
from lacewing.verification.searches import Found, searched
from micro import make

GPT2 = Path(__file__).parent.parent / "model" / "gpt2"
TASK = Task(name="first_letter", generate=lambda file, random: ())
SETTINGS = PruneConfig(calibrate=False, target_loss=micro.TARGET, seed=0, prompts=1024, batch=16)


def evidence(model: Model, sets: PromptSets) -> Evidence:
    text = micro._text(model.tokenizer, 0)[:64, :16]
    return Evidence(test=sets.test, sets=sets, text=text, task=TASK, corpus="none", seed=0)


def test_answers_exchanged_by_hash_follow_no_rule(sets: PromptSets) -> None:
    """In about half of the pairs both members' answers change places; prompts stay as they are."""
    nonsense = controls.exchanged(sets)
    for before, after in ((sets.train, nonsense.train), (sets.test, nonsense.test)):
        moved = (before.answer != after.answer).view(-1, 2)
        assert torch.equal(moved[:, 0], moved[:, 1])
        assert 0.3 < float(moved[:, 0].double().mean()) < 0.7
        assert torch.equal(before.answer + before.other, after.answer + after.other)
        assert torch.equal(before.tokens, after.tokens)
    again = controls.exchanged(sets)
    assert torch.equal(nonsense.train.answer, again.train.answer)


def test_answers_dealt_anew_are_those_of_other_prompts(sets: PromptSets) -> None:
    """The same answers as often as before, in another order; each still has its wrong answer."""
    shuffled = controls.dealt(sets, 0)
    assert sorted(sets.train.answer.tolist()) == sorted(shuffled.train.answer.tolist())
    assert not torch.equal(sets.train.answer, shuffled.train.answer)
    assert bool((shuffled.train.answer != shuffled.train.other).all())
    assert not torch.equal(shuffled.train.answer, controls.dealt(sets, 1).train.answer)


def test_conv1d_is_cut_by_its_columns(tmp_path: Path) -> None:
    """GPT-2's c_attn is [in, out]: its queries, keys and values stand side by side, and stay so."""
    pytest.importorskip("transformers")
    folder = shutil.copytree(GPT2, tmp_path / "gpt2")
    model = lacewing.load(f"hf:{folder}")
    text = torch.arange(64).view(4, 16)
    other = controls.without_training(model, text, 0)
    known = dict(other.network.named_parameters())  # type: ignore[attr-defined]
    weights = [
        (weight, known[name])
        for name, weight in model.network.named_parameters()  # type: ignore[attr-defined]
        if name.endswith("c_attn.weight")
    ]
    assert len(weights) == 2
    for before, after in weights:
        for old, new in zip(before.chunk(3, dim=1), after.chunk(3, dim=1), strict=True):
            assert torch.equal(old.flatten().sort().values, new.flatten().sort().values)
            assert not torch.equal(old, new)


def test_a_model_without_training_has_the_same_weights_elsewhere(model: Model) -> None:
    """Every matrix keeps its values and density; queries, keys and values keep theirs apart."""
    before = {name: weight.clone() for name, weight in model.network.named_parameters()}
    text = micro._text(model.tokenizer, 0)[:16, :16]
    other = controls.without_training(model, text, 0)
    for old, new in zip(model.network.blocks, other.network.blocks, strict=True):
        for site, (weight, bias) in writers(old).items():  # type: ignore[arg-type]
            placed, shifted = writers(new)[site]  # type: ignore[arg-type]
            assert torch.equal(weight.flatten().sort().values, placed.flatten().sort().values)
            assert torch.equal(bias.sort().values, shifted.sort().values)
            assert not torch.equal(weight, placed)
    assert model.id != other.id
    assert all(torch.equal(before[n], w) for n, w in model.network.named_parameters())
    assert not torch.equal(model.means["0.attn_out"], other.means["0.attn_out"])


def test_no_control_of_the_planted_circuit_is_reached(model: Model, sets: PromptSets) -> None:
    """Without a rule or without training no mask reaches the target, so all three pass."""
    circuit = make(model, micro.PLANTED, config=SETTINGS)
    found = controls.run(model, circuit, evidence(model, sets), True)
    assert ["control.nonsense", "control.shuffled", "control.random_weights"] == [
        finding.name for finding in found
    ]
    assert [math.inf] * 3 == [finding.value for finding in found]
    assert all(finding.passed for finding in found)
    assert all("no circuit reaches the target" in finding.meaning for finding in found)


def test_a_robust_control_is_searched_for_where_a_plain_one_is_found(
    model: Model, sets: PromptSets, tmp_path: Path
) -> None:
    """Nonsense, where the plain search finds nothing, is not searched again; true answers are."""
    config = replace(SETTINGS, robust=True, constraints=("zero",))
    wanted = [Wanted(TASK, config, s, anyway=True) for s in (controls.exchanged(sets), sets)]
    none, found = controls._plainly_first(model, wanted, tmp_path, True)
    made = [artifacts.read_json(file)["asked"]["config"]["robust"] for file in tmp_path.iterdir()]
    assert sorted(made) == [False, False, True]
    assert isinstance(none, DataError)
    (alone,) = searched(model, wanted[1:], quiet=True)
    assert isinstance(found, Found)
    assert isinstance(alone, Found)
    assert found.n_edges == alone.n_edges
    assert all(np.array_equal(found.nodes[key], kept) for key, kept in alone.nodes.items())


@pytest.mark.parametrize(("edges", "passed"), [(1, True), (2, False), (8, False)])
def test_a_control_that_is_reached_is_counted(
    model: Model, sets: PromptSets, edges: int, passed: bool
) -> None:
    """Fewer than five times the edges of the true circuit is a failure, whatever its loss."""
    planted = make(model, micro.PLANTED)  # 8 edges
    reached = Found(planted.nodes, planted.n_edges)
    finding = controls._finding("nonsense", "on nonsense", model, sets, reached, edges)
    assert 8 / edges == finding.value
    assert passed is finding.passed
    assert "8 edges reaches the target" in finding.meaning


def test_a_failed_search_is_an_infinite_ratio(model: Model, sets: PromptSets) -> None:
    """Nothing found: infinite, passed, and stored as null."""
    finding = controls._finding("nonsense", "on nonsense", model, sets, DataError("no"), 8)
    assert finding.passed
    assert finding.as_json()["value"] is None
