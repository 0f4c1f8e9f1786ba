"""The table of training for proof: arms are compared on the same tasks; a run is its own arm."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recipes import proof

from lacewing import artifacts
from lacewing.data.corpus import Corpus
from lacewing.model.store import load
from lacewing.training.branch import branch
from lacewing.training.config import TrainConfig
from lacewing.training.loop import train


def cell(edges: int, loss: float) -> dict[str, Any]:
    """A circuit's file."""
    test = {"value": loss, "control": 2.0, "low": loss - 0.1, "high": loss + 0.1, "passed": False}
    return {"edges": edges, "tests": dict.fromkeys(proof.TESTS, test)}


def arm(place: Path, learned: tuple[str, ...], **found: dict[str, Any]) -> None:
    """An arm's folder: what it learned, and some of its cells."""
    tasks = {name: {"learned": name in learned} for name in proof.names()}
    artifacts.write_json(
        place / "reading.json", {"id": place.name, "bits_per_byte": 2.0, "tasks": tasks}
    )
    for task, row in found.items():
        artifacts.write_json(place / f"{task}.json", row)


def rows(given: proof.Recipe) -> dict[str, list[str]]:
    """The table's cells by arm."""
    lines = [line for line in proof.table(given).splitlines() if line.startswith("|")]
    split = [[part.strip() for part in line.strip("|").split("|")] for line in lines[2:]]
    return {line[0]: line for line in split}


def test_losses_are_of_the_tasks_that_arms_share(tmp_path: Path) -> None:
    """A task that one arm alone has moves no mean, and every mean has an interval over tasks."""
    one, two, three = "single_double_quote", "indent_for", "set_or_string"
    arm(tmp_path / "before-0", (one, two), **{one: cell(10, 1.0), two: cell(40, 3.0)})
    more = {one: cell(10, 1.0), two: cell(40, 3.0), three: cell(9, 99.0)}
    arm(tmp_path / "nodes-0", (one, two, three), **more)
    given = proof.Recipe(tmp_path / "run", tmp_path, arms=("before", "nodes"), seeds=(0,))
    found = rows(given)
    assert found["before"][5:] == found["nodes"][5:]
    assert found["nodes"][5] == "20 [10, 40]"
    assert found["nodes"][6] == "2.000 [1.000, 3.000] (control 2.000); 0 of 2 pass"
    assert [found["before"][4], found["nodes"][4]] == ["2", "3"]


def test_of_one_shared_task_the_interval_is_that_of_its_pairs(tmp_path: Path) -> None:
    """One task cannot be resampled."""
    arm(tmp_path / "before-0", ("indent_for",), indent_for=cell(10, 1.0))
    found = rows(proof.Recipe(tmp_path / "run", tmp_path, arms=("before",), seeds=(0,)))
    assert found["before"][5:7] == ["10", "1.000 [0.900, 1.100] (control 2.000); 0 of 1 pass"]


def test_an_arm_without_circuits_leaves_the_others_theirs(tmp_path: Path) -> None:
    """It learned nothing, or no search found anything: a dash, and all others have their row."""
    arm(tmp_path / "before-0", ("indent_for",), indent_for=cell(10, 1.0))
    arm(tmp_path / "nodes-0", ())
    arm(tmp_path / "halves-0", ("indent_for",), indent_for={"error": "no circuit"})
    arm(tmp_path / "idle-0", ("indent_for",))
    given = proof.Recipe(tmp_path / "run", tmp_path, seeds=(0,))
    found = rows(given)
    assert found["before"][5] == "10"
    assert found["nodes"][5:] == found["halves"][5:] == ["-", "-", "-"]
    assert found["idle"][4:] == ["0; 1 cells NOT DONE", *["NOT DONE"] * 3]
    assert found["fewer"][2] == "NOT DONE"


@pytest.fixture(scope="module")
def kept(
    text: Path, small: Callable[..., TrainConfig], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished run that kept its checkpoint of half-way."""
    folder = tmp_path_factory.mktemp("proof") / "run"
    train(small(keep=(0.5,), snapshots=3), Corpus.parse(str(text)), folder, quiet=True)
    return folder


def test_the_run_is_its_own_arm(kept: Path, tmp_path: Path) -> None:
    """Its seed of `before` is not trained again: a branch has the same weights to the bit."""
    given = proof.Recipe(kept, tmp_path)
    (step,) = proof.kept_steps(kept)
    assert proof.trained(given, step, "before", 0, tmp_path / "before-0") == kept
    assert not (tmp_path / "before-0").exists()
    again = branch(kept, step, tmp_path / "again", {"seed": 0}, quiet=True)
    assert load(again.folder).id == load(kept).id
    for name, seed in (("before", 1), ("nodes", 0)):
        place = tmp_path / f"{name}-{seed}"
        assert proof.trained(given, step, name, seed, place) == place / "run"
    begun = tmp_path / "begun"
    shutil.copytree(kept, begun)
    (begun / artifacts.MANIFEST).unlink()
    place = tmp_path / "of-begun"
    given = proof.Recipe(begun, tmp_path)
    assert proof.trained(given, step, "before", 0, place) == place / "run"


def test_the_table_says_which_arm_is_the_run(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the column of its seed."""
    monkeypatch.setattr(proof, "LIBRARY", load(kept).corpus)
    given = proof.Recipe(kept, tmp_path, arms=("before",))
    proof.work(given)
    lines = proof.table(given).splitlines()[2:4]
    assert [line.split(" | ")[1] for line in lines] == ["0, the run itself", "1"]
