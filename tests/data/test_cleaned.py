"""Cleaned source that is remembered: the same as cleaned anew, whatever became of its file."""

import sqlite3
from pathlib import Path

import pytest

from lacewing.data import cleaned
from lacewing.data.code import without_prose

TEXTS = ('"""Doc."""\nx = 1  # one\n', "def f():\n    'only'\n", "no Python at all", "a = 'é'\n")


def through(file: Path) -> list[str | None]:
    """All texts, cleaned with what is kept in a file."""
    with cleaned.cleaner(file) as clean:
        return [clean(text) for text in TEXTS]


def test_the_second_time_nothing_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was cleaned once comes from the file, what is no Python too."""
    expected = [without_prose(text) for text in TEXTS]
    assert through(tmp_path / "kept.sqlite") == expected
    monkeypatch.setattr(cleaned, "without_prose", lambda text: pytest.fail("parsed again"))
    assert through(tmp_path / "kept.sqlite") == expected


@pytest.mark.parametrize("damage", ["text", "sum"])
def test_a_damaged_entry_counts_as_none(tmp_path: Path, damage: str) -> None:
    """An entry whose sum does not fit is made anew, and mended."""
    file = tmp_path / "kept.sqlite"
    expected = through(file)
    known = sqlite3.connect(file)
    known.execute(f"update cleaned set {damage} = x'0102'")
    known.commit()
    known.close()
    assert through(file) == expected
    assert through(file) == expected


def test_a_file_that_is_no_table_is_made_anew(tmp_path: Path) -> None:
    """Garbage in its place costs no more than cleaning again."""
    file = tmp_path / "kept.sqlite"
    file.write_bytes(b"no table" * 1000)
    assert through(file) == through(file) == [without_prose(text) for text in TEXTS]


def test_where_nothing_can_be_kept_all_is_cleaned(tmp_path: Path) -> None:
    """A folder that cannot be made is no error."""
    (tmp_path / "file").write_text("")
    found = through(tmp_path / "file" / "below" / "kept.sqlite")
    assert found == [without_prose(text) for text in TEXTS]


def test_a_writer_that_does_not_end_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process writes, nothing is kept, and nothing is wrong."""
    file = tmp_path / "kept.sqlite"
    monkeypatch.setattr(cleaned, "WAIT", 0.01)
    with cleaned.cleaner(file):
        pass
    other = sqlite3.connect(file)
    other.execute("begin exclusive")
    assert through(file) == [without_prose(text) for text in TEXTS]
    other.close()
