"""Whole sweeps of models of seconds: resumed, refused, repeated, failing in part."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import letters
import pytest

from lacewing import artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ArtifactError, ConfigError
from lacewing.model.store import load
from lacewing.sweep.gather import Found, gather
from lacewing.sweep.pool import Pool
from lacewing.sweep.run import sweep
from lacewing.sweep.summary import summarise
from lacewing.training.run import training_of

COUNTS = ("model", "task", "target", "edges", "nodes", "losses", "prunings", "settings", "reason")


def numbers(found: Found) -> list[Any]:
    """Everything a sweep measured, without times and places."""
    losses = [(m["model"], m["id"], m["validation_loss"]) for m in found.models]
    return [*losses, *([row.get(key) for key in COUNTS] for row in found.sizes)]


@pytest.fixture(scope="module")
def found(done: Path) -> Found:
    return gather(done)


def test_every_model_has_a_twin_of_its_loss(found: Found) -> None:
    """Two models, each with a dense twin within 0.02 nats; nothing failed, nothing is open."""
    losses = {(m["width"], m["side"]): m["validation_loss"] for m in found.models}
    assert {(w, s) for w in (16, 32) for s in ("sparse", "dense")} == set(losses)
    for width in (16, 32):
        assert abs(losses[width, "sparse"] - losses[width, "dense"]) <= 0.02
    assert ([], 0) == (found.failed, found.open)


def test_both_sides_have_the_same_budget(done: Path, found: Found) -> None:
    """As many prunings of the twin as of the sparse model at every target, counted in the files."""
    expected = {0.15: 3, 0.5: 2}
    for point in ("w16-d0.25-a0.5-s0", "w32-d0.25-a0.5-s0"):
        for target, budget in expected.items():
            folder = done / "jobs" / point / "tasks" / "first"
            counted = {
                side: len(json.loads((folder / side / f"{target:g}.json").read_text())["trials"])
                for side in ("sparse", "dense")
            }
            assert {"sparse": budget, "dense": budget} == counted
    assert set(expected.items()) == {(row["target"], row["prunings"]) for row in found.sizes}


def test_circuits_are_whole_and_meet_their_targets(done: Path, found: Found) -> None:
    """Each row's circuit loads, belongs to its model, has the row's edges and the target's loss."""
    assert 8 == len(found.sizes)
    for row in found.sizes:
        circuit = Circuit.load(done / row["circuit"])
        circuit.check(load(circuit.model_source))
        assert (row["edges"], row["nodes"]) == (circuit.n_edges, circuit.n_nodes)
        assert row["target"] == circuit.target_loss
        assert row["losses"]["validation"] <= row["target"]
        assert row["edges"] == min(n for n in row["trials"] if n is not None)
        assert pytest.approx(row["losses"]["circuit"], abs=1e-4) == row["test"]["loss"]
        assert row["test"]["right_low"] <= row["test"]["right"] <= row["test"]["right_high"]
        assert len(circuit.pairs) == row["test"]["pairs"]


def test_every_cell_says_what_came_of_it(done: Path, found: Found, tmp_path: Path) -> None:
    """Circuits by side where it is done; a job that is missing is printed as not done."""
    states = [cell["state"] for cell in found.cells]
    assert ["sparse 2/2, dense 2/2"] * 2 == states
    assert "pairs right" in (done / "summary/summary.md").read_text()
    output = tmp_path / "out"
    shutil.copytree(done, output)
    (output / "jobs/w16-d0.25-a0.5-s0/tasks/first/manifest.json").unlink()
    (output / "jobs/w32-d0.25-a0.5-s0/model/manifest.json").unlink()
    summarise(output)
    text = (output / "summary/summary.md").read_text()
    assert "seed 0 | NOT DONE |" in text
    assert "seed 0 | NOT TRAINED |" in text
    assert "jobs are open" in text


def test_the_frontier_file_is_as_documented(done: Path, found: Found) -> None:
    """One point per model, its edges those of its circuits, whose paths lead somewhere."""
    data = json.loads((done / "frontier.json").read_text())
    assert {"target_loss", "tasks", "prunings_per_task", "points", "failed", "jobs_open"} == set(
        data
    )
    assert (0.15, ["first"], 3, 4) == (
        data["target_loss"],
        data["tasks"],
        data["prunings_per_task"],
        len(data["points"]),
    )
    rows = {(r["label"]): r for r in found.sizes if r["target"] == 0.15}
    for point in data["points"]:
        assert {"label", "width", "density", "seed", "validation_loss"} <= set(point)
        assert pytest.approx(rows[point["label"]]["edges"]) == point["edges"]
        assert (None, None) == (point["low"], point["high"])  # one task has no spread
        assert [rows[point["label"]]["circuit"]] == point["circuits"]
        assert (done / point["circuits"][0] / "manifest.json").exists()


def test_a_finished_sweep_is_only_read(done: Path, place: Path, one: Pool) -> None:
    """The same call again trains and prunes nothing."""
    before = {p: p.stat().st_mtime_ns for p in (done / "jobs").rglob("*.json")}
    sweep(letters.config(place), done, one, quiet=True)
    assert before == {p: p.stat().st_mtime_ns for p in (done / "jobs").rglob("*.json")}


def test_another_configuration_is_refused(done: Path, place: Path, one: Pool) -> None:
    """The folder of a sweep takes no other one, and says what differs."""
    before = sorted(done.rglob("*"))
    with pytest.raises(ConfigError, match=r"holds a sweep with trials 3, this one has 4"):
        sweep(letters.config(place, trials=4), done, one, quiet=True)
    training = letters.settings(place)["training"] | {"learning_rate": 0.2}
    with pytest.raises(ConfigError, match=r"training.learning_rate 0.1, this one has 0.2"):
        sweep(letters.config(place, training=training), done, one, quiet=True)
    assert before == sorted(done.rglob("*"))


def test_a_foreign_folder_is_refused(place: Path, one: Pool, tmp_path: Path) -> None:
    """Nothing is written where something else is."""
    (tmp_path / "mine.txt").write_text("text")
    with pytest.raises(ConfigError, match="is no sweep of lacewing"):
        sweep(letters.config(place), tmp_path, one, quiet=True)
    assert ["mine.txt"] == [path.name for path in tmp_path.iterdir()]


def test_two_sweeps_in_one_folder(done: Path, place: Path, one: Pool) -> None:
    """While one holds the folder, another gets one clear line."""
    with (
        artifacts.locked(done, "free"),
        pytest.raises(ConfigError, match=r"another sweep is running in .*--output") as refused,
    ):
        sweep(letters.config(place), done, one, quiet=True)
    assert 1 == len(str(refused.value).splitlines())


def test_a_failed_job_is_shown_and_the_rest_goes_on(
    place: Path, one: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A density the floor does not allow fails, with its reason, and is tried again."""
    config = letters.config(
        place, widths=[16], densities=[0.25, 0.01], trials=1, trials_elsewhere=1, twins=False
    )
    for _ in range(2):
        result = sweep(config, tmp_path / "out", one)
        assert "FAILED" in capsys.readouterr().err
        (failed,) = result["frontier"]["failed"]
        assert "density 1/100" in failed["job"]
        assert "floor" in failed["error"]
        (point,) = result["frontier"]["points"]
        assert (0.25, True) == (point["density"], point["edges"] is not None)
        assert 2 == result["frontier"]["jobs_open"]
        assert failed["error"] in (tmp_path / "out/summary/summary.md").read_text()


def test_a_given_tokenizer_and_rate_of_the_twins(place: Path, one: Pool, tmp_path: Path) -> None:
    """They become the models'; a missing tokenizer is refused and nothing is written."""
    given = Tokenizer.train(["k=a\nl=b"], 257)
    given.save(tmp_path / "given.json")
    changes = {"widths": [16], "trials": 1, "trials_elsewhere": 1, "twin_learning_rate": 0.021}
    config = letters.config(place, tokenizer=str(tmp_path / "given.json"), **changes)
    sweep(config, tmp_path / "out", one, quiet=True)
    (run,) = (tmp_path / "out/jobs").glob("*/model/sparse")
    assert given.id == Tokenizer.load(tmp_path / "out/tokenizer.json").id == load(run).tokenizer.id
    rate = training_of(run.parent / "dense").learning_rate
    assert rate in [0.021 / 2**halved for halved in range(5)], "twins that run past are slowed"
    missing = letters.config(place, tokenizer=str(tmp_path / "none.json"), **changes)
    with pytest.raises(ArtifactError, match="no tokenizer at"):
        sweep(missing, tmp_path / "other", one, quiet=True)
    assert not (tmp_path / "other/sweep.json").exists()


def test_killed_in_the_middle_it_goes_on(
    found: Found, place: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Killed after training, with another sweep refused before: the numbers of one in one go.

    One of the models alone gives its numbers among others. The workers of a sweep end with it,
    though nobody told them.
    """
    output, config = tmp_path / "out", letters.config(place, widths=[16])
    written = letters.write_config(place, widths=[16])
    command = ["sweep", "--config", str(written), "--output", str(output)]
    sweeping = subprocess.Popen(
        [sys.executable, "-m", "lacewing", *command, "--processes", "2", "--threads", "1"],
        env=environment,
        stderr=subprocess.PIPE,
    )
    try:
        _wait_for(lambda: len(list(output.glob("jobs/*/model/manifest.json"))) > 0, sweeping)
        with pytest.raises(ConfigError, match="another sweep is running"):
            sweep(config, output, Pool(processes=1, threads=1), quiet=True)
    finally:
        os.kill(sweeping.pid, signal.SIGKILL)
        sweeping.communicate()
    assert not list(output.glob("summary"))
    assert 2 > len(list(output.glob("jobs/**/result.json")))
    sweep(config, output, Pool(processes=1, threads=1), quiet=True)
    expected = [row for row in numbers(found) if row[0].startswith("w16-")]
    assert expected == numbers(gather(output))


def _wait_for(ready: Any, process: "subprocess.Popen[bytes]") -> None:
    while not ready():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_killed_during_tuning_no_trial_is_lost(
    done: Path, found: Found, place: Path, one: Pool, tmp_path: Path
) -> None:
    """A job cut off between its trials keeps those it has, and ends with the same circuits."""
    output = tmp_path / "out"
    shutil.copytree(done, output)
    folder = output / "jobs/w16-d0.25-a0.5-s0/tasks/first"
    for name in ("manifest.json", "result.json", "dense/0.5.json"):
        (folder / name).unlink()
    shutil.rmtree(folder / "dense/0.5")
    kept = json.loads((folder / "dense/0.15.json").read_text())["trials"][:2]
    (folder / "dense/0.15.json").write_text(json.dumps(kept))
    sweep(letters.config(place), output, one, quiet=True)
    assert numbers(found) == numbers(gather(output))
    after = json.loads((folder / "dense/0.15.json").read_text())["trials"]
    assert kept == after[:2]  # with the seconds they took then
    assert 3 == len(after)
