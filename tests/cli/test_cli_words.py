"""How the words of a command line are read: saved settings, tasks, what is misspelt."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import micro
from lacewing.cli import app, parsing
from lacewing.model import shipped
from lacewing.training.config import TrainConfig
from lacewing.training.presets import PRESETS
from lacewing.training.twin import twin_config


def parsed(words: list[str]) -> Any:
    """The verb and its flags, not run."""
    return parsing.parsed(words, app.VERBS)


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a command that has to be refused."""
    with pytest.raises(SystemExit) as stop:
        app.main(words)
    out, err = capsys.readouterr()
    assert (2, "", 1) == (stop.value.code, out, len(err.strip().splitlines())), err
    return err.strip()


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that has other settings than the defaults."""
    folder = micro.write_run(micro.micro(), tmp_path_factory.mktemp("run") / "sparse")
    saved = json.loads((folder / "config.json").read_text())
    saved["training"] = dataclasses.asdict(TrainConfig(tokens=20_000, batch=4, evaluate_every=7))
    saved["corpus"] = "code:standard_library"
    (folder / "config.json").write_text(json.dumps(saved))
    micro.artifacts.seal(
        folder, "run", [p.name for p in folder.iterdir() if "manifest" not in p.name]
    )
    return folder


@pytest.mark.parametrize("flag", [["--tokens", "8000000"], ["--tokens=8000000"]])
def test_a_twin_takes_flags_that_equal_the_defaults(sparse: Path, flag: list[str]) -> None:
    """What is typed counts, the default too; everything else is the run's."""
    for twin in (["--twin-of", str(sparse)], [f"--twin_of={sparse}"]):
        made = parsed(["train", *twin, "--output", "twin", *flag, "--batch", "32"])
        assert (TrainConfig().tokens, TrainConfig().batch) == (8_000_000, 32)
        wanted = twin_config(sparse, {"tokens": 8_000_000, "batch": 32})
        assert wanted == made.config
        assert (7, "code:standard_library") == (made.config.evaluate_every, made.corpus)
        assert twin_config(sparse) == parsed(["train", *twin, "--output", "twin"]).config


def test_a_twin_of_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The run that is missing is named; a preset does not go with it."""
    command = ["train", "--output", str(tmp_path / "twin"), "--twin-of", str(tmp_path / "none")]
    assert "no run at" in refused(command, capsys)
    assert "--preset does not go with --twin-of" in refused([*command, "--preset=tiny"], capsys)


def test_flags_go_before_the_file_of_a_sweep(tmp_path: Path) -> None:
    """Also those that equal the defaults; other values of the file stay."""
    file = tmp_path / "sweep.json"
    file.write_text(json.dumps({"trials": 3, "training": {"tokens": 99_999, "batch": 8}}))
    made = parsed(["sweep", "--config", str(file), "--trials", "8", "--training.batch", "32"])
    assert (8, 32, 99_999) == (
        made.settings.trials,
        made.settings.training.batch,
        made.settings.training.tokens,
    )


def test_presets() -> None:
    """A preset's settings, single ones changed by flags; they are those of the builtin models."""
    assert PRESETS["tiny"] == parsed(["train", "--output", "x", "--preset", "tiny"]).config
    made = parsed(["train", "--preset=tiny", "--output", "x", "--tokens", "8000000"]).config
    assert dataclasses.replace(PRESETS["tiny"], tokens=8_000_000) == made
    for name, config in PRESETS.items():
        saved = json.loads(
            (shipped.folder_of(f"builtin:taught-{name}") / "config.json").read_text()
        )
        now = json.loads(json.dumps(dataclasses.asdict(config)))
        differing = {key for key, value in saved["training"].items() if now[key] != value}
        assert differing <= {"precision"}


def test_one_spelling_of_task() -> None:
    """--task and --tasks, together or repeated, are the same for every verb that has them."""
    sides = ["--sparse", "a", "--dense", "b", "--output", "c"]
    for words in (
        ["--task", "x", "y"],
        ["--tasks", "x", "y"],
        ["--task", "x", "--task", "y"],
        ["--task=x", "--tasks", "y"],
    ):
        assert ("x", "y") == parsed(["compare", *words, *sides]).tasks
        assert ("x", "y") == parsed(["tasks", *words]).task
        assert ("x", "y") == parsed(["sweep", "--output", "c", *words]).settings.tasks
    for word in ("--task", "--tasks"):
        assert "x" == parsed(["prune", "--model", "m", word, "x", "--output", "o"]).task


def test_one_task_for_a_circuit(capsys: pytest.CaptureFixture[str]) -> None:
    """A circuit has one task; a second is not passed over."""
    words = ["prune", "--model", "m", "--output", "o", "--task", "x", "--task", "y"]
    assert "prune takes one --task, not 2: x, y" in refused(words, capsys)


def test_did_you_mean(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A misspelt verb, task or model is met with the nearest, and with all there are."""
    assert "did you mean prune? there are: corpus, train" in refused(["prun"], capsys)
    assert "did you mean" not in refused(["zzz"], capsys)
    output = ["--output", str(tmp_path / "out")]
    words = ["prune", "--model", "builtin:taught-tiny", "--task", "single_double_qoute", *output]
    assert "did you mean single_double_quote?" in refused(words, capsys)
    words = ["prune", "--model", "builtin:taught-tyni", "--task", "single_double_quote", *output]
    assert "no builtin model 'taught-tyni'; did you mean taught-tiny?" in refused(words, capsys)
    words[2] = "builtin:tiny"
    assert "no builtin model 'tiny'; did you mean taught-tiny?" in refused(words, capsys)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """One line."""
    app.main(["--version"])
    assert "lacewing 0.1.0\n" == capsys.readouterr().out


def test_models(capsys: pytest.CaptureFixture[str]) -> None:
    """Every model that ships has a row, and with --json its numbers."""
    app.main(["models", "--json"])
    *table, last = capsys.readouterr().out.splitlines()
    rows = {row["name"]: row for row in json.loads(last)["models"]}
    assert {
        "builtin:taught-tiny",
        "builtin:taught-small",
        "builtin:taught-sparse",
        "builtin:taught-dense",
    } <= rows.keys()
    for name, row in rows.items():
        assert any(line.startswith(name) for line in table)
        folder = shipped.folder_of(name)
        sizes = [path.stat().st_size for path in folder.iterdir() if path.name != "manifest.json"]
        assert sum(sizes) == row["bytes"]
    assert (1, 128, 0.02) == tuple(
        rows["builtin:taught-tiny"][k] for k in ("layers", "width", "density")
    )


def test_tasks_of_everyday(capsys: pytest.CaptureFixture[str]) -> None:
    """The other catalogue is a flag away."""
    app.main(["tasks", "--catalogue", "everyday", "--model", "builtin:taught-tiny", "--json"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["tasks"]
    assert "from_import" == found[0]["name"]
    assert 15 == len(found)
