"""Runs that were damaged or made to do harm: one line, or a page; never a file elsewhere."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_report import add_circuit

from lacewing import artifacts
from lacewing.cli.app import main

Change = Callable[[Path], None]
SCORE = {"name": "n", "learned": True, "loss": 0.1, "interval": [0.1, 0.2], "accuracy": 1.0}
SCORE |= {"description": "d"}
RATIO = {"sparse": 1.0, "dense": 2.0, "ratio": 2.0, "interval": [1.0, 3.0]}
ROW = {"task": "t", "seed": 0, "edges": 1, "edges_all": 1, "nodes": 1, "losses": {}}
COMPARED: dict[str, Any] = {
    "tasks": ["t"],
    "edges": RATIO,
    "edges_all": RATIO,
    "nodes": RATIO,
    "target_loss": 0.1,
    "seeds": [0],
    "sparse": "a",
    "dense": "/nowhere",
    "rows": [ROW | {"side": "sparse"}, ROW | {"side": "dense"}],
    "skipped": [],
}


def write(name: str, value: Any) -> Change:
    """A file that no manifest lists."""

    def change(run: Path) -> None:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(value if isinstance(value, str) else json.dumps(value))

    return change


def listed(name: str, text: str) -> Change:
    """A file that the manifest lists, sealed anew."""

    def change(run: Path) -> None:
        (run / name).write_text(text)
        seal(run)

    return change


def said(name: str, *keys: str, value: Any) -> Change:
    """A value of a listed file, sealed anew."""

    def change(run: Path) -> None:
        whole = json.loads((run / name).read_text())
        place = whole
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        (run / name).write_text(json.dumps(whole))
        seal(run)

    return change


def seal(run: Path) -> None:
    """Make what was changed whole again, as whoever means harm would."""
    manifest = json.loads((run / "manifest.json").read_text())
    artifacts.seal(run, "run", list(manifest["files"]))


def scored(**more: Any) -> Change:
    return write("tasks.json", {"tasks": [SCORE | {"pairs": 4} | more], "corpus": "c"})


def compared(**more: Any) -> Change:
    return write("comparison/comparison.json", COMPARED | more)


def explained(value: Any) -> Change:
    """A circuit with a file of explanations."""

    def change(run: Path) -> None:
        add_circuit(run, "c", 1)
        write("circuits/c/explanations.json", value)(run)

    return change


SHARES = {"explained": 1.0, "described": 1.0, "supported": 1.0, "tokens": 9, "seed": 0}


def measured(**more: Any) -> Change:
    row = {"step": 1, "tokens": 9, "loss": 1.0, "validation_loss": 1.0, "density": 0.5} | more
    return listed("metrics.jsonl", json.dumps(row) + "\n")


REFUSED: dict[str, Change] = {
    "scores a list": write("tasks.json", "[]"),
    "scores deep": write("tasks.json", "[" * 9999),
    "score of text": scored(loss="x"),
    "score nan": scored(loss=float("nan")),
    "score without pairs": write("tasks.json", {"tasks": [SCORE], "corpus": "c"}),
    "scores without text": write("tasks.json", {"tasks": []}),
    "name a number": scored(name=7),
    "interval of one": scored(interval=[0.1]),
    "comparison a text": write("comparison/comparison.json", '"x"'),
    "comparison of one side": compared(rows=[ROW | {"side": "sparse"}]),
    "comparison of no task": compared(tasks=[], rows=[]),
    "edges below zero": compared(rows=[ROW | {"side": "sparse", "edges": -1}, *COMPARED["rows"]]),
    "ratio a text": compared(edges=RATIO | {"ratio": "big"}),
    "skipped of texts": compared(skipped=["t"]),
    "no metrics": listed("metrics.jsonl", ""),
    "metrics of texts": measured(loss="x"),
    "metrics nan": measured(loss=float("nan")),
    "density none": measured(density=0),
    "tokens none": measured(tokens=0),
    "summary id a number": said("summary.json", "id", value=7),
    "summary densities texts": said("summary.json", "densities", value={"a": "b"}),
    "explanations a list": explained("[]"),
    "explanations without shares": explained({"nodes": []}),
    "explained nodes texts": explained(SHARES | {"nodes": ["a"]}),
    "a card of texts": explained(SHARES | {"nodes": [{"node": "a", "sentence": "b", "card": "c"}]}),
    "model of texts": said("config.json", "model", "n_layer", value="x"),
}
SHOWN: dict[str, Change] = {
    "scores": scored(),
    "comparison": compared(),
    "explanations": explained(SHARES | {"nodes": [{"node": "a", "sentence": "b"}]}),
    "metrics of one line": measured(),
    "losses that are all alike": measured(loss=0.0, validation_loss=0.0),
    "density a text": said("config.json", "training", "density", value="<b>"),
    "no densities": said("summary.json", "densities", value={}),
}


@pytest.fixture
def own(run: Path, tmp_path: Path) -> Path:
    """A copy of the small trained run."""
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_report_cannot_be_made_of(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """One line that names the file; nothing is written."""
    REFUSED[kind](own)
    with pytest.raises(SystemExit) as stop:
        main(["report", "--run", str(own), "--output", str(tmp_path / "report")])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert 2 == stop.value.code, line
    assert ".json" in line
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("kind", SHOWN)
def test_what_is_odd_and_can_be_shown(own: Path, tmp_path: Path, kind: str) -> None:
    """A page, whatever the figures are."""
    SHOWN[kind](own)
    main(["report", "--run", str(own), "--output", str(tmp_path / "report")])
    assert "<b><" not in (tmp_path / "report" / "index.html").read_text()


def test_names_of_signs(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a circuit's folder, its task and the run: no markup on the page, no file elsewhere."""
    nasty = "<img src=x onerror=alert(1)>\x1b[31m"
    circuit = add_circuit(own, "if_equals", 3)
    circuit.save(own / "circuits" / nasty)
    named = own.rename(tmp_path / f"run {nasty}")
    before = set(tmp_path.rglob("*"))
    main(["report", "--run", str(named), "--output", str(tmp_path / "report")])
    made = {path for path in set(tmp_path.rglob("*")) - before if path.name != ".lock"}
    assert made
    assert all(path.is_relative_to(tmp_path / "report") for path in made)
    assert "<img" not in (tmp_path / "report" / "index.html").read_text()
    assert "\x1b" not in capsys.readouterr().out


def test_a_name_that_is_no_utf8(own: Path, tmp_path: Path) -> None:
    """Linux takes any bytes for a name; the page shows them escaped."""
    output = tmp_path / os.fsdecode(b"report\xff")
    main(["report", "--run", str(own), "--output", str(output)])
    assert "report\\udcff" in (output / "index.html").read_text(encoding="utf-8")
