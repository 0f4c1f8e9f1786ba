"""The verb on the command line: its tables, its one line for a mistake."""

import json
from pathlib import Path

import letters
import pytest

from lacewing.cli.app import main


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a command that has to be refused."""
    with pytest.raises(SystemExit) as stop:
        main(["sweep", *arguments])
    out, err = capsys.readouterr()
    assert (2, "", 1) == (stop.value.code, out, len(err.strip().splitlines())), err
    return err


def test_mistakes_are_one_line(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No folder, two purposes, no sweep, a bad value, an unknown task: exit code 2."""
    config = ["--config", str(letters.write_config(place)), "--output", str(tmp_path / "out")]
    assert "needs --output DIR" in refused([], capsys)
    both = ["--summary", str(tmp_path), "--output", str(tmp_path)]
    assert "--summary stands alone" in refused(both, capsys)
    assert "no configuration of a sweep" in refused(["--summary", str(tmp_path)], capsys)
    assert "--processes must be at least 0, not -1" in refused([*config, "--processes=-1"], capsys)
    assert "unknown task 'nonsense'" in refused([*config, "--tasks", "nonsense"], capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_a_flag_goes_before_the_file(
    done: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A flag changes the file's value, so that the finished sweep is another one."""
    config = ["--config", str(letters.write_config(place)), "--output", str(done)]
    assert "a sweep with trials 3, this one has 5" in refused([*config, "--trials", "5"], capsys)
    longer = refused([*config, "--training.tokens", "99999"], capsys)
    assert "training.tokens 61440, this one has 99999" in longer


@pytest.mark.long
def test_summary_of_a_finished_sweep(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tables for people, or with --json everything; files and figures beside the sweep."""
    main(["sweep", "--summary", str(done)])
    printed = capsys.readouterr().out
    assert "dense twin of width 32" in printed
    assert "at 0.15 nats: " in printed
    main(["sweep", "--summary", str(done), "--json"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.loads((done / "frontier.json").read_text()) == result["frontier"]
    names = {path.name for path in (done / "summary").iterdir()}
    figures = {
        f"{figure}{theme}.{kind}"
        for figure in ("frontier", "sizes", "accuracy", "correlation")
        for theme in ("", "_dark")
        for kind in ("svg", "png")
    }
    tables = {
        f"{table}.{kind}" for table in ("frontier", "sizes", "accuracy") for kind in ("csv", "json")
    }
    assert figures | tables | {"summary.md", "correlation.csv", "circuits.csv"} <= names
