"""A run followed as it unfolds: what raises an alarm, when, and how often wrongly."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lacewing_blame.cli import main
from lacewing_blame.errors import DataError
from lacewing_blame.events import Event, Trace
from lacewing_blame.ranker.watch import DEVIATIONS, NAMES, deviations, threshold, watch
from lacewing_blame.signals.table import table

CALM = [f"Row {at} of the table is read and passed on to the next one in line." for at in range(12)]
WRONG = "I assume a placeholder of 7,311 for the rest, so 12 + 13 = 26 and 7311 in all."


def lines(fault: int | None, count: int = 12) -> list[str]:
    """A log line by line; at one step, something that stands out."""
    return [
        json.dumps({"agent": f"agent{at % 2}", "text": WRONG if at == fault else CALM[at]}) + "\n"
        for at in range(count)
    ]


def run(fault: int | None, count: int = 12, **changes: object) -> Trace:
    """The same as a trace."""
    events = tuple(
        Event(at, f"agent{at % 2}", WRONG if at == fault else CALM[at]) for at in range(count)
    )
    return replace(Trace("r", "Add the rows", events, "jsonl"), **changes)


@pytest.mark.parametrize("fault", [3, 6, 9])
def test_alarm_at_the_fault(fault: int) -> None:
    """The first step that stands out raises it, with evidence; a calm run raises none."""
    found = watch(run(fault))
    assert found is not None
    assert fault == found.step
    assert any("sum" in piece.reason for piece in found.evidence)
    assert watch(run(None)) is None


def test_what_is_to_come_moves_nothing() -> None:
    """A step's score is the same whether the run goes on or not."""
    whole = dict(deviations(run(9)))
    for count in (3, 6, 10):
        assert dict(deviations(run(9, count))) == {
            step: pytest.approx(value) for step, value in whole.items() if step < count
        }


def test_signals_that_look_back() -> None:
    """None of the signals a watcher uses changes with what comes later."""
    whole, part = table(run(9)).rows, table(run(9, 10)).rows
    for before, after in zip(part, whole, strict=False):
        assert {name: before[name] for name in NAMES} == {name: after[name] for name in NAMES}


def test_threshold_holds_the_rate() -> None:
    """Of ten successful runs one may raise an alarm at a rate of 0.1, and none at 0.05."""
    good = [run(None, 3 + at % 9, id=str(at), succeeded=True) for at in range(9)]
    good.append(run(6, id="odd", succeeded=True))
    assert 1 == sum(watch(one, threshold(good, 0.1)) is not None for one in good)
    assert 0 == sum(watch(one, threshold(good, 0.05)) is not None for one in good)
    with pytest.raises(DataError, match="9 successful runs are too few"):
        threshold(good[:9])


def test_follow_a_log_that_grows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The alarm comes while the run is still being written, and cut lines do no harm."""
    log = tmp_path / "log.jsonl"
    written = lines(6)
    log.write_text(written[0])

    def write() -> None:
        with log.open("a") as file:
            for line in written[1:8]:
                for part in (line[:20], line[20:]):
                    file.write(part)
                    file.flush()
                    time.sleep(0.03)

    writer = threading.Thread(target=write)
    writer.start()
    main([str(log), "--follow", "--patience", "20"])
    writer.join()
    out = capsys.readouterr().out
    assert out.startswith("ALARM: agent0 at step 6, ")
    assert "false alarms: about 10 %" in out.replace("10%", "10 %")


def test_follow_to_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run without an alarm ends when nothing more comes; JSON says so."""
    log = tmp_path / "log.jsonl"
    log.write_text("".join(lines(None)))
    main([str(log), "--follow", "--patience", "0.3", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (12, None) == (found["steps"], found["alarm"])


def test_follow_with_own_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Successful runs of one's own give the rate, with its interval."""
    runs = tmp_path / "runs"
    runs.mkdir()
    for number in range(12):
        text = "".join(lines(None, 3 + number % 9)) + json.dumps({"succeeded": True}) + "\n"
        (runs / f"{number}.jsonl").write_text(text)
    log = tmp_path / "log.jsonl"
    log.write_text("".join(lines(6)))
    main([str(log), "--follow", "--runs", str(runs), "--patience", "0.3"])
    out = capsys.readouterr().out
    assert "ALARM: agent0 at step 6" in out
    assert "of 12 successful runs" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--false-alarms", "0.1", "--follow"], "add --runs DIR"),
        (["--patience", "3"], "--patience does not go with blame of one log"),
        (["--follow", "--guess"], "--guess does not go"),
    ],
)
def test_follow_refuses(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Flags that have no meaning together are told in one line."""
    log = tmp_path / "log.jsonl"
    log.write_text("".join(lines(None)))
    with pytest.raises(SystemExit):
        main([str(log), *words])
    assert told in capsys.readouterr().err


def test_follow_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there is told at once."""
    with pytest.raises(SystemExit):
        main([str(tmp_path / "none.jsonl"), "--follow"])
    assert "cannot be read" in capsys.readouterr().err
    assert DEVIATIONS > 1
