"""Searches that suites share: asked once, and every finding as if each suite had searched."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from test_controls import SETTINGS, TASK, evidence

import micro
from lacewing import artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import DataError
from lacewing.model.store import Model
from lacewing.pruning import prune as pruning
from lacewing.pruning.node_search import Wanted
from lacewing.pruning.prune import prune_many
from lacewing.verification import controls, searches, stability
from lacewing.verification.finding import Finding
from lacewing.verification.searches import Found, searched


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Wanted]:
    """Every search that is really made."""
    made: list[Wanted] = []

    def counted(model: Model, wanted: list[Wanted], **more: Any) -> list[Circuit | DataError]:
        made.extend(wanted)
        return prune_many(model, wanted, **more)

    monkeypatch.setattr(searches, "prune_many", counted)
    return made


def suite(model: Model, circuit: Circuit, sets: PromptSets, folder: Path | None) -> list[Finding]:
    """The two parts that search."""
    prompts = dataclasses.replace(evidence(model, sets), seeds=2, searches=folder)
    return [
        *stability.run(model, circuit, prompts, True),
        *controls.run(model, circuit, prompts, True),
    ]


def test_the_minimal_circuit_finds_the_searches_of_the_plain_one(
    model: Model, sets: PromptSets, tmp_path: Path, asked: list[Wanted]
) -> None:
    """Its suite makes none again, and says what it says alone."""
    plain = make(model, SETTINGS)
    minimal = make(model, dataclasses.replace(SETTINGS, minimal=True))
    alone = suite(model, minimal, sets, None)
    count = len(asked)
    shared = [suite(model, one, sets, tmp_path / "searches") for one in (plain, minimal)]
    assert len(asked) == 2 * count
    assert shared == [alone, alone]


def make(model: Model, config: Any) -> Circuit:
    """The planted circuit, as a search of these settings found it."""
    return micro.make(model, micro.PLANTED, config=config)


def test_a_search_of_anything_else_is_made(
    model: Model, sets: PromptSets, tmp_path: Path, asked: list[Wanted]
) -> None:
    """Another seed, prompts, forbidden nodes, model: none is another's; a changed file is none."""
    short = dataclasses.replace(SETTINGS, prompts=64)
    one = Wanted(TASK, short, sets, anyway=True)
    fewer = dataclasses.replace(sets, train=sets.train.first(40))
    nodes = micro.nodes_of({"0.attn_v": [0]}, model.network.config)
    every = [
        one,
        dataclasses.replace(one, config=dataclasses.replace(short, seed=1)),
        dataclasses.replace(one, sets=fewer),
        dataclasses.replace(one, forbidden=nodes),
        dataclasses.replace(one, anyway=False),
    ]
    first = searched(model, every, tmp_path, quiet=True)
    assert len(asked) == len(every) == len(list(tmp_path.glob("*.json")))
    searched(micro.micro(1), [one], tmp_path, quiet=True)
    assert len(asked) == len(every) + 1
    told: list[int] = []
    again = searched(model, every, tmp_path, done=lambda i, _: told.append(i), quiet=True)
    assert len(asked) == len(every) + 1
    assert told == [i for i, found in enumerate(first) if isinstance(found, Found)]
    assert [str(found) for found in again] == [str(found) for found in first]
    assert [type(found) for found in again] == [type(found) for found in first]
    for path in tmp_path.glob("*.json"):
        row = artifacts.read_json(path)
        row["found"] = {"error": "changed"}
        artifacts.write_json(path, row)
    assert "changed" not in str(searched(model, [one], tmp_path, quiet=True))
    assert len(asked) == len(every) + 2


def test_a_search_that_was_interrupted_goes_on(
    model: Model, sets: PromptSets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the steps that are left and finds the same; a damaged state is begun anew."""
    config = dataclasses.replace(SETTINGS, prompts=480)
    one, steps, real = Wanted(TASK, config, sets, anyway=True), [0], pruning.step_together
    (alone,) = searched(model, [one], quiet=True)
    stop = 9

    def stopping(*given: Any) -> str:
        steps[0] += 1
        if steps[0] == stop:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(pruning, "step_together", stopping)
    monkeypatch.setattr("lacewing.pruning.state.EVERY", 0.0)
    for damage, more in ((False, 1), (True, stop)):
        steps[0], folder = 0, tmp_path / str(damage)
        with pytest.raises(KeyboardInterrupt):
            searched(model, [one], folder, quiet=True)
        (place,) = folder.glob("*.unfinished")
        if damage:
            next((place / "of").glob("*.json")).write_text("no more", encoding="utf-8")
        (again,) = searched(model, [one], folder, quiet=True)
        assert str(again) == str(alone)
        assert steps[0] == config.steps + more
        assert [path.suffix for path in folder.iterdir()] == [".json"]


def test_two_processes_make_the_same_search(
    model: Model, sets: PromptSets, tmp_path: Path, asked: list[Wanted]
) -> None:
    """The second keeps nothing on its way, and leaves what the first has."""
    one = Wanted(TASK, dataclasses.replace(SETTINGS, prompts=64), sets, anyway=True)
    searched(model, [one], tmp_path, quiet=True)
    place = asked[0].state.folder
    (found,) = tmp_path.glob("*.json")
    found.unlink()
    assert place is not None
    with artifacts.locked(place, "held"):
        searched(model, [one], tmp_path, quiet=True)
        assert asked[1].state.folder is None
        assert place.is_dir()
    assert found.exists()
