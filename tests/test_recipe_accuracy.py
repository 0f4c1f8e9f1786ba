"""Accuracy against edges of a pair: circuits at every target, tables, figures, what is missing."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from recipes import accuracy

import micro
from lacewing import artifacts
from lacewing.errors import ConfigError
from lacewing.model.store import Model
from lacewing.sweep.accuracy import circuit_score, full_score

TARGETS = (0.01, micro.TARGET, 0.15, 0.5)


@pytest.fixture
def given(tmp_path: Path) -> accuracy.Recipe:
    """A recipe over the micro model's task as a file of pairs."""
    rows = [asdict(pair) for pair in micro.prompts(120, 1, micro.tokenizer()).pairs]
    lines = [{key: row[key] for key in row if key != "source"} for row in rows]
    file = tmp_path / "first.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    search = replace(micro.prune_config(), test_pairs=30, max_tokens=16)
    return accuracy.Recipe(
        ("one", "two"), (str(file),), tmp_path / "out", targets=TARGETS, search=search
    )


def test_a_pair_of_models(given: accuracy.Recipe, model: Model) -> None:
    """A row a target that both reach, and a figure; a side to come is said to be missing."""
    (task,) = given.wanted().values()
    accuracy.prune_task(given, "sparse", model, task)
    assert "- dense, first: NOT DONE" in accuracy.tell(given)
    assert not (given.output / "first.svg").exists(), "one side alone is no comparison yet"
    accuracy.prune_task(given, "dense", micro.micro(dense=True), task)
    ((name, table),) = accuracy.curves(given)
    reached = [row for row in table if row["circuits"]]
    assert ("first", [micro.TARGET, 0.15, 0.5]) == (name, [row["target"] for row in reached])
    edges = [[row[f"{side}_edges"] for row in reached] for side in ("sparse", "dense")]
    assert [8, 4, 4] == pytest.approx(edges[0])
    assert [22, 4, 4] == pytest.approx(edges[1]), "every edge between the planted nodes"
    said = accuracy.tell(given)
    assert said == (given.output / "accuracy.md").read_text().strip("\n")
    assert "NOT DONE" not in said
    for end in (".svg", ".png", "_dark.svg", "_dark.png"):
        assert (given.output / f"first{end}").stat().st_size > 1000


def test_what_is_there_is_not_made_again(
    given: accuracy.Recipe, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing target is found again, and is the same; with all there, nothing is pruned."""
    (task,) = given.wanted().values()
    accuracy.prune_task(given, "sparse", model, task)
    path = given.place("sparse", "first", 0.15)
    before = artifacts.read_json(path)
    path.unlink()
    _, _, missing = accuracy.rows(given)
    assert "NOT DONE: 0.15" == missing["sparse", "first"]
    accuracy.prune_task(given, "sparse", model, task)
    assert before | {"seconds": 0} == artifacts.read_json(path) | {"seconds": 0}
    monkeypatch.setattr(accuracy, "Walks", None)
    accuracy.prune_task(given, "sparse", model, task)
    accuracy.plan(given, {"sparse": model})
    warmer = replace(given, search=replace(given.search, temperature=2.0))
    with pytest.raises(ConfigError, match="temperature"):
        accuracy.plan(warmer, {"sparse": model})


def test_the_score_of_a_circuit(model: Model) -> None:
    """The planted nodes have every pair right; without one of them some are wrong; by hand."""
    test = micro.prompt_sets(model).test
    whole = full_score(model, test)
    assert (1.0, len(test)) == (whole.right, whole.pairs)
    assert 0.9 < whole.right_low < whole.right_high == 1.0
    planted = circuit_score(model, micro.make(model, micro.PLANTED), test)
    assert 1.0 == planted.right
    empty = micro.make(model, {key: [] for key in micro.PLANTED})
    none = circuit_score(model, empty, test)
    assert 0.0 == none.right, "one answer whatever the prompt is right in no pair"
    assert none.loss > 0.69
