"""What a report makes of hostile names, of text that is no Python, and of equal tasks."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_report import add_circuit

import micro
from lacewing.model.store import load
from lacewing.pages.names import safe_name
from lacewing.report.build import report
from lacewing.report.page import page
from lacewing.tasks.listing import list_tasks

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture
def own(run: Path, tmp_path: Path) -> Path:
    """A copy of the small trained run."""
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def poisoned(value: Any, key: str = "") -> Any:
    """A report's data with markup in every text, and in place of ids and seeds."""
    if isinstance(value, dict):
        return {k: poisoned(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(v, key) for v in value]
    if key == "name":  # the figures' names, which `safe_name` has made
        return value
    return f"{EVIL}{value}" if isinstance(value, str) or key in ("seed", "id") else value


def test_nothing_is_inserted_raw(own: Path, tmp_path: Path) -> None:
    """Run, model id, corpus, task, seed, reasons, prompts and commands are text."""
    add_circuit(own, "if_equals", 3)
    test = {"value": 0.1, "low": None, "high": None, "n": 8, "threshold": 0.3, "at_most": True}
    test |= {"unit": "nats", "control": 0.7, "control_name": "random", "passed": False}
    suite = {"tests": [test | {"name": "one", "meaning": "m"}], "left_out": []}
    told = micro.SHORT_TEST | suite | {"verdict": "fails: one"}
    (own / "circuits" / "if_equals" / "verification.json").write_text(json.dumps(told))
    scores = {"name": "one", "description": "d", "learned": True, "loss": 0.1, "accuracy": 1.0}
    scores |= {"interval": [0.1, 0.2], "pairs": 4}
    tasks = [scores, {"name": "two", "error": "no place", "learned": False}]
    (own / "tasks.json").write_text(json.dumps({"tasks": tasks, "corpus": "elsewhere"}))
    report(own, tmp_path / "report")
    data = poisoned(json.loads((tmp_path / "report" / "report.json").read_text()))
    names = ("training", "circuit-if_equals", "verification-if_equals")
    shown = page(data, dict.fromkeys(names, "<svg/>"))
    body = shown.partition("<body>")[2]
    assert 1 == len(re.findall(r"<script", body))
    assert "<img" not in body
    for hostile in (data["summary"]["id"], data["config"]["training"]["seed"], data["run"]):
        assert hostile.startswith(EVIL)
    assert body.count("&lt;script&gt;alert(1)") > 20
    assert "Circuit: &#34;&#39;&gt;&lt;script&gt;" in body


def test_policy(own: Path, tmp_path: Path) -> None:
    """The page's content security policy runs its own style and script alone."""
    shown = report(own, tmp_path / "report").read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', shown)
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert {"'none'"} == {parts[name] for name in ("default-src", "base-uri", "form-action")}
    assert parts["style-src"].startswith("'sha256-")
    assert parts["script-src"].startswith("'sha256-")
    assert not re.search(r"\s(style|on\w+)=", shown.partition("<body>")[2])


def test_names_stay_in_the_folder(own: Path, tmp_path: Path) -> None:
    """A circuit's own task name is never a path; two circuits of one task keep their figures."""
    circuit = add_circuit(own, "if_equals", 3)
    evil = dataclasses.replace(circuit, task="/../../X")
    evil.save(own / "circuits" / "evil")
    dataclasses.replace(circuit, nodes=circuit.nodes).save(own / "circuits" / "again")
    before = {path for path in tmp_path.rglob("*") if path != tmp_path}
    shown = report(own, tmp_path / "deep" / "report").read_text()
    made = set(tmp_path.rglob("*")) - before
    assert all(path.is_relative_to(tmp_path / "deep") for path in made)
    drawn = {path.stem for path in (tmp_path / "deep" / "report").glob("circuit-*.svg")}
    assert {"circuit-evil", "circuit-again", "circuit-if_equals"} == drawn
    assert "Circuit: /../../X" in shown


@pytest.mark.parametrize("text", ["", "..", "/", "a/b", "a\\b", "con", "NUL.txt", "ü", "a" * 300])
def test_safe_names(text: str) -> None:
    """A file name that is no path, no device and not hidden; another text, another name."""
    name = safe_name(text)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name)
    assert len(name) < 100
    assert name not in ("con", "NUL.txt")
    assert safe_name(text + "/") != name
    assert "single_double_quote" == safe_name("single_double_quote")


def tasks_line(shown: str) -> str:
    """What the page says of tasks that do not apply."""
    return re.findall(r"<p class=soft>([^<]* appl[^<]*)</p>", shown)[0]


def test_of_english_no_task_applies(own: Path, tmp_path: Path) -> None:
    """Of text that is no Python, one line says that no task applies and why; no row of zeros."""
    words = ["the", "dog", "saw", "a", "bird", "while", "the", "sun", "sat", "still"]
    for number in range(120):
        path = tmp_path / "english" / f"{number % 5}" / f"story{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(" ".join(words[number % 7 :]) for _ in range(9)))
    list_tasks(load(own), corpus=str(tmp_path / "english" / "**" / "*.txt"), evaluated=True)
    shown = report(own, tmp_path / "report").read_text()
    line = tasks_line(shown)
    assert line.startswith("None of the 20 tasks applies: none of the ")
    assert line.endswith("the built-in tasks need Python source.")
    assert "tasks learned to under" not in shown
    assert "<th>accuracy</th>" not in shown


def test_some_tasks_apply(own: Path, tmp_path: Path) -> None:
    """Those that could be scored are a table; the others a line, by reason."""
    row = {"name": "one", "description": "d", "learned": True, "loss": 0.1, "accuracy": 1.0}
    row |= {"interval": [0.1, 0.2], "pairs": 4}
    why = "its answers (' as' and ' if') are not single tokens of this tokenizer"
    left = [{"name": n, "error": f"task '{n}': {why}", "learned": False} for n in ("two", "three")]
    (own / "tasks.json").write_text(json.dumps({"tasks": [row, *left], "corpus": "x"}))
    shown = report(own, tmp_path / "report").read_text()
    reason = "its answers are not single tokens of this tokenizer"
    assert f"2 of the 3 tasks do not apply: {reason} (two, three)." == tasks_line(shown)
    assert "<b>1 of 1</b><span>tasks learned" in shown
