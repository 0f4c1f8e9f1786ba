"""Reading logs: detection, labels, streaming, and one clear line for each bad file."""

import json
import os
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lacewing_blame.errors import DataError
from lacewing_blame.ranker.ranking import rank
from lacewing_blame.reading.read import FORMATS, read, read_folder, read_so_far
from lacewing_blame.scoring import baselines

FLAT = {
    "question": "How many?",
    "question_ID": "q1",
    "ground_truth": "4",
    "is_correct": False,
    "history": [
        {"content": "You are given: a task", "role": "assistant", "name": "Data_Expert"},
        {"content": "```python\n1/0\n```", "role": "user", "name": "Code_Expert"},
        {"content": "exitcode: 1 (execution failed)", "role": "user", "name": "Computer_terminal"},
        {"content": "TERMINATE", "role": "user", "name": "Data_Expert"},
    ],
    "mistake_agent": "Code_Expert",
    "mistake_step": "1",
    "mistake_reason": "divides by zero",
}


def write(path: Path, value: object) -> Path:
    """A JSON file."""
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def error_of(path: Path) -> str:
    """The one line a bad file gives."""
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_read_whoandwhen(tmp_path: Path) -> None:
    """A flat Who&When log keeps its indices, label, answer, group and outcome."""
    trace = read(write(tmp_path / "7.json", FLAT))

    assert ("whoandwhen", "7", "How many?") == (trace.format, trace.id, trace.task)
    assert [0, 1, 2, 3] == [event.index for event in trace.events]
    assert ("Code_Expert", 1) == (trace.label.agent, trace.label.step)
    assert ("4", "q1", False) == (trace.expected, trace.group, trace.succeeded)
    assert (
        trace.events[2].kind,
        trace.events[2].status,
        trace.events[2].blamable,
    ) == ("tool_result", "error", False)


def test_read_crafted_roles(tmp_path: Path) -> None:
    """Suffixes of roles become kinds, and the role keeps its spelling."""
    history = [
        {"content": "Task", "role": "human"},
        {"content": "Initial plan: go", "role": "Orchestrator (thought)"},
        {"content": "Updated Ledger: {}", "role": "Orchestrator (thought)"},
        {"content": "Please search", "role": "Orchestrator (-> WebSurfer)"},
        {"content": "I clicked", "role": "WebSurfer"},
    ]
    trace = read(write(tmp_path / "a.json", {"question": "Task", "history": history}))

    assert [event.agent for event in trace.events] == [
        "human",
        "Orchestrator",
        "Orchestrator",
        "Orchestrator",
        "WebSurfer",
    ]
    assert ["message", "plan", "ledger", "handoff", "message"] == [e.kind for e in trace.events]
    assert "Orchestrator (-> WebSurfer)" == trace.events[3].role


def test_label_defects_are_noted(tmp_path: Path) -> None:
    """A label whose step another agent made, and another spelling, are notes, not errors."""
    other = read(write(tmp_path / "a.json", {**FLAT, "mistake_step": "0"}))
    spelled = read(write(tmp_path / "b.json", {**FLAT, "mistake_agent": "code_expert"}))

    assert "step 0 was made by Data_Expert, not by Code_Expert" in other.notes[0]
    assert "code_expert is spelled Code_Expert" in spelled.notes[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("hello there", "is not JSON"),
        ('{"question": "a", "history": [{"role": "x", "con', "is cut off"),
        ('{"agent": "a", "text": "b"}\n{"agent": "a", "te', "is cut off"),
        ('{"agent": "a", "text": "b"}\nnonsense\n', "is not JSON"),
        ('{"agent": "a", "text": "b"}\n[1]\n{}', "line 2 is no JSON object"),
        ({"question": "a", "history": []}, "has no steps"),
        ({"question": "a", "history": [{"content": "a"}]}, "has no agent"),
        ({"question": "a", "history": ["a"]}, "is no JSON object"),
        ({"question": "a", "history": [{"role": "human", "content": "a"}]}, "has no agents"),
        ({"some": "thing"}, "of no known format"),
        ([{"colour": "red"}], "of no known format"),
        ([{"role": ["user"], "content": "a"}], "has no agent"),
        ({**FLAT, "mistake_step": "4"}, "outside of the log (steps 0 to 3)"),
        ({**FLAT, "mistake_step": "two"}, "is no number"),
        ({**FLAT, "mistake_step": None}, "the label has no step"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_bad_files(tmp_path: Path, content: object, words: str) -> None:
    """Each kind of bad file gives one line that says what is wrong."""
    assert words in error_of(write(tmp_path / "bad.json", content))


def test_wrong_encoding(tmp_path: Path) -> None:
    """Latin-1 and UTF-16 are told apart from UTF-8, which may begin with its mark."""
    (tmp_path / "a.json").write_bytes('[{"agent": "a", "text": "é"}]'.encode("latin-1"))
    (tmp_path / "b.json").write_bytes('[{"agent": "a", "text": "é"}]'.encode("utf-16"))
    (tmp_path / "c.json").write_bytes('[{"agent": "a", "text": "é"}]'.encode("utf-8-sig"))

    assert "is not UTF-8 (byte 0xe9" in error_of(tmp_path / "a.json")
    assert "is UTF-16" in error_of(tmp_path / "b.json")
    assert "é" == read(tmp_path / "c.json").events[0].text


def test_missing_files_and_formats(tmp_path: Path) -> None:
    """A missing file, a folder instead of a file, an empty folder and an unknown name are told."""
    assert "cannot be read" in error_of(tmp_path / "none.json")
    assert "cannot be read" in error_of(tmp_path)
    with pytest.raises(DataError, match="holds no log"):
        read_folder(tmp_path)
    with pytest.raises(DataError, match="no format is called 'xml'"):
        read(write(tmp_path / "a.json", FLAT), "xml")


def test_cycles_and_doubles(tmp_path: Path) -> None:
    """Parents in a circle and two steps of one number are refused."""
    circle = [{"agent": "a", "text": "x", "parent": 1}, {"agent": "b", "text": "y", "parent": 0}]
    double = [{"agent": "a", "text": "x", "index": 3}, {"agent": "b", "text": "y", "index": 3}]

    assert "parents form a cycle (0 -> 1 -> 0)" in error_of(write(tmp_path / "a.json", circle))
    assert "the same index" in error_of(write(tmp_path / "b.json", double))


def test_folder_in_natural_order(tmp_path: Path) -> None:
    """Logs come as 2, 10, with their paths as ids; hidden files are left alone."""
    (tmp_path / "sub").mkdir()
    for name in ("sub/10.json", "sub/2.json", "sub/.3.json"):
        write(tmp_path / name, FLAT)

    assert ["sub/2", "sub/10"] == [trace.id for trace in read_folder(tmp_path)]


def test_million_characters(tmp_path: Path) -> None:
    """A message of a million characters is read whole and ranked."""
    events = [{"agent": "a", "text": "1 word, " * 125_000}, {"agent": "b", "text": "done"}]
    trace = read(write(tmp_path / "a.json", events))
    attribution = rank(trace)

    assert 1_000_000 == len(trace.events[0].text)
    assert 2 == len(attribution.ranking)


RANKED = """
import sys, tracemalloc
from pathlib import Path
from lacewing_blame.ranker.ranking import rank
from lacewing_blame.reading.read import read
tracemalloc.start()
ranking = rank(read(Path(sys.argv[1])), guess=True).ranking
peak = tracemalloc.get_traced_memory()[1]
print(len(ranking), sum(suspect.probability for suspect in ranking), peak)
"""
"""A program of its own, which no run-time checks of types slow down."""


def test_ten_thousand_events(tmp_path: Path, program: Callable[[Sequence[str]], str]) -> None:
    """A streamed log of 10,000 events is read and ranked in far less than 500 MB."""
    path = tmp_path / "long.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for step in range(10_000):
            text = f"Step {step}: the search found {step * 7} results, so I proceed. " * 3
            file.write(json.dumps({"agent": f"agent{step % 4}", "text": text}) + "\n")
    count, total, peak = program(["-c", RANKED, str(path)]).split()

    assert 10_000 == int(count)
    assert 1.0 == pytest.approx(float(total))
    assert int(peak) < 250e6


def test_lines_are_streamed(tmp_path: Path) -> None:
    """Reading lines holds the events, not the file beside them."""
    path = tmp_path / "wide.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for step in range(200):
            line = {"agent": "a", "text": f"{step}", "raw": "x" * 100_000}
            file.write(json.dumps(line) + "\n")
    tracemalloc.start()
    trace = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert 200 == len(trace.events)
    assert peak < path.stat().st_size / 2


def test_every_format_is_listed() -> None:
    """The names of the formats are those the documentation gives."""
    first = ["inspect", "whoandwhen", "otel", "agents", "crewai", "anthropic"]
    assert [*first, "langchain", "autogen", "openai", "jsonl"] == list(FORMATS)


DATA = os.environ.get("LACEWING_WHOANDWHEN")


@pytest.mark.skipif(DATA is None, reason="LACEWING_WHOANDWHEN does not name the data's folder")
def test_whoandwhen_baselines() -> None:
    """On the development part the loader gives the known figures of the two simple rules."""
    traces = read_folder(Path(str(DATA)))
    flat = baselines([t for t in traces if t.id.startswith("algorithm")])["second agent step"]
    crafted = baselines([t for t in traces if t.id.startswith("hand")])["first action"]

    assert (0.500, 0.274) == tuple(round(flat[key]["accuracy"], 3) for key in ("agent", "step"))
    assert (0.641, 0.205) == tuple(round(crafted[key]["accuracy"], 3) for key in ("agent", "step"))
    assert 6 == sum(bool(trace.notes) for trace in traces)


@pytest.mark.parametrize("begin", ['{"agent": "Ann"}', '{"eval": {}, "samples": ['])
def test_a_vast_log_is_refused_before_it_is_read(tmp_path: Path, begin: str) -> None:
    """Of any format, and one that is still being written; the file is a hole."""
    path = tmp_path / "run.json"
    path.write_text(begin)
    os.truncate(path, 6 * 2**30)
    for reader in (read, read_so_far):
        with pytest.raises(DataError, match="6,442,450,944 bytes; a log has at most"):
            reader(path)
