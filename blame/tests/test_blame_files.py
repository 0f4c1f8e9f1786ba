"""Files appear whole or not at all; progress is told on standard error, and not too often."""

import errno
import os
from pathlib import Path

import pytest

from lacewing_blame import progress as told
from lacewing_blame.errors import ArtifactError
from lacewing_blame.files import read_json, write_bytes, write_json
from lacewing_blame.progress import duration, progress


def test_old_or_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves the old file and nothing beside it; a full disk is told."""
    place = tmp_path / "a.json"
    write_json(place, {"step": 1})

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="disk full while writing"):
        write_json(place, {"step": 2})
    assert {"step": 1} == read_json(place)
    assert [place] == list(tmp_path.iterdir())


def test_folders_are_made(tmp_path: Path) -> None:
    """Missing folders above a file are made; the file can be read by others."""
    place = tmp_path / "deep" / "down" / "a"
    write_bytes(place, b"four")
    assert b"four" == place.read_bytes()
    assert 0o644 == place.stat().st_mode & 0o777


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_damaged_json(content: bytes, tmp_path: Path) -> None:
    """What is not JSON is one clear error, and so is a folder."""
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"a\.json is not JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_json(tmp_path)


def test_progress_is_quiet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no terminal listens, lines come seconds apart, and one at the end."""
    clock = [0.0]
    monkeypatch.setattr(told.time, "monotonic", lambda: clock[0])
    with progress("asking m", 100, "logs") as bar:
        for done in range(1, 101):
            clock[0] += 1.0
            bar.update(done)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert "" == out
    assert "asking m  15 of 100 logs  1 min 25 s left" == lines[0]
    assert "asking m  100 of 100 logs  0 s left" == lines[-1]
    assert 7 == len(lines)


def test_progress_can_be_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    """A library call may say nothing."""
    with progress("asking m", 1, "logs", shown=False) as bar:
        bar.update(1)
    assert ("", "") == capsys.readouterr()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"), (7500, "2 h 05 min")],
)
def test_duration(seconds: float, words: str) -> None:
    """Seconds as people write them."""
    assert words == duration(seconds)


def test_no_pipe_is_replaced(tmp_path: Path) -> None:
    """Nor a device: a file of that name would stand in its place."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ArtifactError, match="is a device or a pipe: name a file"):
        write_json(pipe, {})
    assert pipe.is_fifo()
