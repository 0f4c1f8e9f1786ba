"""Logs that the libraries themselves wrote (samples/make_*.py made them), and what may be wrong."""

import json
import zipfile
from pathlib import Path

import pytest

from lacewing_blame.cli import main
from lacewing_blame.errors import DataError
from lacewing_blame.events import Trace
from lacewing_blame.pages.page import page
from lacewing_blame.ranker.ranking import rank
from lacewing_blame.reading.read import read, read_folder

SAMPLES = Path(__file__).with_name("samples")
SAID = "The lamp costs about 45, the desk 120, so 165 in all."
FILES = {
    "inspect.json": ("inspect", 7),
    "inspect.eval": ("inspect", 7),
    "anthropic.json": ("anthropic", 5),
    "agents_input.json": ("agents", 8),
    "agents_items.json": ("agents", 7),
    "agents_trace.json": ("agents", 5),
    "crewai_log.json": ("crewai", 4),
    "crewai_output.json": ("crewai", 12),
}
"""Each file with its format and number of steps."""


def logged(name: str) -> Trace:
    """One of the logs."""
    return read(SAMPLES / name)


@pytest.mark.parametrize("name", FILES)
def test_made_with_the_library(name: str, tmp_path: Path) -> None:
    """Recognised, every step in its place, ranked, and shown as a page."""
    trace = logged(name)
    assert FILES[name] == (trace.format, len(trace.events))
    indices = [event.index for event in trace.events]
    assert indices == sorted(set(indices))
    calls = [event for event in trace.events if event.kind == "tool_call"]
    if name not in ("crewai_log.json",):
        assert "price" in {event.tool for event in calls}
        results = [e for e in trace.events if e.kind == "tool_result" and e.tool == "price"]
        assert "error" == results[0].status
        assert {e.parent for e in results} <= {e.index for e in calls}
        assert not any(e.blamable for e in results)
    found = rank(trace, guess=True)
    assert found.ranking
    assert page(trace, found, tmp_path / "a.html").exists()


@pytest.mark.parametrize("name", ["inspect.json", "inspect.eval", "anthropic.json"])
def test_the_guess_is_seen(name: str) -> None:
    """The answer with a made-up price is told as such, with its words as evidence."""
    trace = logged(name)
    last = trace.events[-1]
    assert SAID == last.text
    found = next(s for s in rank(trace, guess=True).ranking if s.step == last.index)
    told = {p.reason: last.text[p.start : p.end] for p in found.evidence}
    assert any("no source" in reason for reason in told)


def test_names_of_agents() -> None:
    """Agents of items, of the spans around a step, and of a crew's tasks."""
    assert ("Front desk", "Clerk") == logged("agents_items.json").agents()
    assert ("Front desk", "Clerk") == logged("agents_trace.json").agents()
    assert ("Clerk", "Writer") == logged("crewai_output.json").agents()


def test_header_of_a_sample() -> None:
    """Task, answer and outcome come from the sample."""
    trace = logged("inspect.eval")
    assert ("170", False, "shop-1") == (trace.expected, trace.succeeded, trace.group)
    assert "What do a lamp and a desk cost together?" == trace.task


def test_system_prompt_of_anthropic_keeps_numbers() -> None:
    """The prompt stands before the messages; message 3 is step 3."""
    events = logged("anthropic.json").events
    assert (-1, "Never guess a price.") == (events[0].index, events[0].text)
    assert SAID == next(event.text for event in events if event.index == 3)


def many(path: Path) -> Path:
    """An eval log with two samples, the second one labelled."""
    whole = json.loads((SAMPLES / "inspect.json").read_text())
    second = {**whole["samples"][0], "id": "shop-2"}
    second["metadata"] = {"mistake_agent": "assistant", "mistake_step": 6}
    whole["samples"].append(second)
    path.write_text(json.dumps(whole))
    return path


def test_several_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One is named behind a #; a folder gives all; without a name the first few are told."""
    log = many(tmp_path / "log.json")
    with pytest.raises(DataError, match=r"2 samples: name one.*shop-1_epoch_1, shop-2_epoch_1"):
        read(log)
    main([f"{log}#shop-2_epoch_1", "--guess"])
    assert "suspected: assistant at step" in capsys.readouterr().out
    traces = read_folder(tmp_path)
    assert ["log/shop-1_epoch_1", "log/shop-2_epoch_1"] == [trace.id for trace in traces]
    assert [None, 6] == [trace.label.step if trace.label else None for trace in traces]
    with pytest.raises(DataError, match="no sample 'x'"):
        read(Path(f"{log}#x"))


def test_attachments_are_put_back(tmp_path: Path) -> None:
    """Content that Inspect keeps aside stands in its message again."""
    whole = json.loads((SAMPLES / "inspect.json").read_text())
    whole["samples"][0]["messages"][-1]["content"] = "attachment://abc"
    whole["samples"][0]["attachments"] = {"abc": "Kept aside."}
    (tmp_path / "log.json").write_text(json.dumps(whole))
    assert "Kept aside." == read(tmp_path / "log.json").events[-1].text


def test_zstd(tmp_path: Path) -> None:
    """Newer eval logs are compressed with zstd; read with the extra, else told in one line."""
    with zipfile.ZipFile(SAMPLES / "inspect.eval") as file:
        name = next(n for n in file.namelist() if n.startswith("samples/"))
        content = file.read(name)
    path = tmp_path / "log.eval"
    try:
        from backports import zstd
    except ImportError:
        packed = content
    else:
        packed = zstd.compress(content)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name, packed)
    raw = bytearray(path.read_bytes())
    for start, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = raw.find(start) + offset
        raw[at : at + 2] = (93).to_bytes(2, "little")
    path.write_bytes(bytes(raw))
    if packed is content:
        with pytest.raises(DataError, match=r"compressed with zstd: pip install"):
            read(path)
    else:
        assert 7 == len(read(path).events)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no zip", "is no eval log"), (b"", "is no eval log")],
)
def test_damaged_eval_logs(content: bytes, words: str, tmp_path: Path) -> None:
    """Anything that is no zip is told in one line."""
    (tmp_path / "a.eval").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read(tmp_path / "a.eval")


def test_eval_without_samples(tmp_path: Path) -> None:
    """An eval that was broken off before its first sample ended."""
    with zipfile.ZipFile(tmp_path / "a.eval", "w") as file:
        file.writestr("header.json", "{}")
    with pytest.raises(DataError, match="holds no finished samples"):
        read(tmp_path / "a.eval")


def test_spans_line_by_line(tmp_path: Path) -> None:
    """A trace exported one span per line is the same trace."""
    spans = json.loads((SAMPLES / "agents_trace.json").read_text())
    log = tmp_path / "trace.jsonl"
    log.write_text("".join(json.dumps(span) + "\n" for span in spans))
    assert logged("agents_trace.json").events == read(log).events
