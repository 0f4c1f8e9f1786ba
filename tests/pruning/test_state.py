"""A pruning that is killed anywhere goes on, and ends with the same circuit, bit for bit."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import micro
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import ArtifactError
from lacewing.model.store import Model
from lacewing.pruning import state as state_module
from lacewing.pruning.prune import prune
from lacewing.pruning.state import State
from lacewing.tasks.task import Task

TASK = Task(name="first_letter", generate=lambda file, random: ())
ROBUST: dict[str, Any] = {"robust": True, "constraints": ("subset", "worst"), "stages": 2}


class KilledError(Exception):
    """Stands for a kill: raised right after something was kept."""


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Keep at every chance, and be killed at each place in this list, counted from the last."""
    left: list[int] = []
    put = State.put

    def then_killed(self: State, *values: Any) -> None:
        put(self, *values)
        if left:
            left[0] -= 1
            if left[0] == 0:
                left.pop(0)
                raise KilledError

    monkeypatch.setattr(state_module, "EVERY", 0.0)
    monkeypatch.setattr("os.fsync", lambda handle: None)  # the machine itself stays up
    monkeypatch.setattr(State, "put", then_killed)
    return left


def plain(circuit: Circuit) -> dict[str, Any]:
    """All that a circuit says, but for the time it took."""
    facts = dataclasses.asdict(dataclasses.replace(circuit, seconds=None, pairs=()))
    arrays = {
        name: {key: array.tolist() for key, array in facts.pop(name).items()}
        for name in ("nodes", "edges")
    }
    return facts | arrays


@pytest.mark.parametrize(
    ("changes", "places"),
    [
        ({}, [1, 4, 40]),
        ({"minimal": True, "edge_masks": 1}, [3, 60, 1, 90, 110, 2, 1, 1, 3]),
        pytest.param(ROBUST, [2, 90, 30, 1], marks=pytest.mark.long),
    ],
    ids=["nodes", "minimal", "robust"],
)
def test_killed_anywhere_it_ends_the_same(
    model: Model,
    sets: PromptSets,
    tmp_path: Path,
    kills: list[int],
    changes: dict[str, Any],
    places: list[int],
) -> None:
    """Nodes, edges, losses, calibration and certificate are those of a run without a kill."""
    config = dataclasses.replace(micro.prune_config(0), **changes)
    whole = prune(model, TASK, config, sets=sets, quiet=True)
    kills += places
    times = 0
    while True:
        try:
            found = prune(model, TASK, config, sets=sets, state=tmp_path / "state", quiet=True)
        except KilledError:
            times += 1
            continue
        break
    assert not kills, f"only {times} kills of {len(places)} took place"
    assert plain(whole) == plain(found)


def test_what_was_kept_is_not_done_again(
    model: Model, sets: PromptSets, tmp_path: Path, kills: list[int]
) -> None:
    """After a kill near the end, the steps of the mask are not walked again."""
    config = micro.prune_config(0)
    kills += [config.steps]  # the last thing kept is what was selected
    with pytest.raises(KilledError):
        prune(model, TASK, config, sets=sets, state=tmp_path / "state", quiet=True)
    kept = {p.name for p in (tmp_path / "state").iterdir() if p.is_dir()}
    assert {"of", "search", "selected"} == kept
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lacewing.pruning.prune.step_together", None)
        found = prune(model, TASK, config, sets=sets, state=tmp_path / "state", quiet=True)
    assert micro.PLANTED == micro.kept(found)


def test_another_pruning_is_refused(model: Model, sets: PromptSets, tmp_path: Path) -> None:
    """A state is that of one model, task, configuration and set of prompts."""
    config = micro.prune_config(0)
    prune(model, TASK, config, sets=sets, state=tmp_path / "state", quiet=True)
    other = dataclasses.replace(config, seed=1)
    with pytest.raises(ArtifactError, match="another config"):
        prune(model, TASK, other, sets=sets, state=tmp_path / "state", quiet=True)
    fewer = dataclasses.replace(sets, train=sets.train.first(8))
    with pytest.raises(ArtifactError, match="another prompts"):
        prune(model, TASK, config, sets=fewer, state=tmp_path / "state", quiet=True)


def test_penalties_set_in_another_way_are_refused(
    model: Model, sets: PromptSets, tmp_path: Path, kills: list[int]
) -> None:
    """A search of latents that an earlier lacewing left half done is not gone on with."""
    kills += [3]
    with pytest.raises(KilledError):
        prune(model, TASK, micro.prune_config(0), sets=sets, state=tmp_path / "s", quiet=True)
    state = State(tmp_path / "s")
    values, tensors = state.get("search") or ({}, {})
    state.put("search", values | {"pressure": [1e-4, 0.1]}, tensors)
    with pytest.raises(ArtifactError, match="penalties are set in another way"):
        prune(model, TASK, micro.prune_config(0), sets=sets, state=tmp_path / "s", quiet=True)


def test_damage_is_noticed(
    model: Model, sets: PromptSets, tmp_path: Path, kills: list[int]
) -> None:
    """A bit that flipped in what was kept is no place to go on from."""
    kills += [9]
    with pytest.raises(KilledError):
        prune(model, TASK, micro.prune_config(0), sets=sets, state=tmp_path / "s", quiet=True)
    file = tmp_path / "s" / "search" / "tensors.safetensors"
    content = np.frombuffer(file.read_bytes(), dtype=np.uint8).copy()
    content[-1] ^= 1
    file.write_bytes(content.tobytes())
    with pytest.raises(ArtifactError, match="damaged"):
        prune(model, TASK, micro.prune_config(0), sets=sets, state=tmp_path / "s", quiet=True)


def test_seconds_are_those_of_all_runs(tmp_path: Path, model: Model, sets: PromptSets) -> None:
    """The time before an interruption counts."""
    first = State.open(tmp_path / "s", model, {"config": PruneConfig().as_json()}, sets)
    first.began -= 100
    first.put("search", {}, {})
    again = State.open(tmp_path / "s", model, {"config": PruneConfig().as_json()}, sets)
    assert 100 <= again.seconds < 160


def test_a_link_out_of_it_is_not_followed(tmp_path: Path, model: Model, sets: PromptSets) -> None:
    """What stands elsewhere is neither read nor written over."""
    State.open(tmp_path / "other", model, {}, sets).put("search", {"step": 1}, {})
    state = State.open(tmp_path / "state", model, {}, sets)
    (tmp_path / "state" / "search").symlink_to(tmp_path / "other" / "search")
    with pytest.raises(ArtifactError, match="link out of its folder"):
        state.get("search")
    with pytest.raises(ArtifactError, match="link out of its folder"):
        state.put("search", {"step": 2}, {})
