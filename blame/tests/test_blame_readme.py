"""What the README shows runs as it stands."""

import json
import re
import shlex
from pathlib import Path

import pytest

from lacewing_blame.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a log and a folder of labelled logs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    said = [("Ann", "I assume that it is 4."), ("Bob", "I counted 5."), ("Ann", "TERMINATE")]
    events = [{"agent": agent, "text": text} for agent, text in said]
    (tmp_path / "log.json").write_text(json.dumps(events), encoding="utf-8")
    for number in range(12):
        log = {
            "question": f"How many {number}?",
            "history": [{"name": agent, "content": text} for agent, text in said],
            "mistake_agent": "Ann",
            "mistake_step": 0,
        }
        (tmp_path / "logs" / f"{number}.json").write_text(json.dumps(log), encoding="utf-8")
    return tmp_path


def test_commands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command line runs, from the first to the last."""
    lines = "".join(blocks("console")).splitlines()
    ran = 0
    for line in lines:
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words[0] == "lacewing-blame":
            main(words[1:])
            ran += 1
    assert 6 == ran
    assert "suspected: Ann at step 0" in capsys.readouterr().out
    assert {"log.html", "own.json"} <= {path.name for path in folder.iterdir()}


def test_python(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The example in Python runs and names somebody."""
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("Ann 0 False ")
    assert (folder / "log.html").exists()


def test_event(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The plain event is a log."""
    [event] = blocks("json")
    (folder / "one.jsonl").write_text(event + event.replace("Planner", "Coder"), encoding="utf-8")
    main(["one.jsonl"])
    assert "one: 2 steps, jsonl" in capsys.readouterr().out
