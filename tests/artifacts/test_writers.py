"""Two writers of one place: one wins, the other is told; nothing is gone meanwhile or lost."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lacewing import artifacts
from lacewing.errors import ArtifactError, ConfigError

APPENDS = """
import sys
from pathlib import Path
from lacewing import artifacts
folder, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(count):
    with artifacts.alone(folder):
        notes = artifacts.read_json(folder / "notes.json")
        artifacts.write_json(folder / "notes.json", [*notes, f"{name} {number}"])
"""
HOLDS = """
import sys, time
from pathlib import Path
from lacewing import artifacts
with artifacts.locked(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    time.sleep(60)
"""


def write(folder: Path, number: int, **more: object) -> None:
    """A folder with a number in it."""
    artifacts.write_folder(folder, "thing", json={"n.json": {"n": number}}, **more)


@pytest.mark.parametrize("_", range(5))
def test_six_savers_of_one_name(tmp_path: Path, _: int) -> None:
    """One folder is written, whole; five are told that the name exists."""
    together = threading.Barrier(6)

    def save(number: int) -> str:
        together.wait()
        try:
            write(tmp_path / "one", number)
        except ArtifactError as error:
            return str(error)
        return "saved"

    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(save, range(6)))
    assert 1 == said.count("saved")
    assert all("exists already" in line for line in said if line != "saved")
    whole = artifacts.open_folder(tmp_path / "one", "thing")
    assert said.index("saved") == whole.json("n.json")["n"]
    assert ["one"] == [path.name for path in tmp_path.iterdir()]


def test_a_name_that_was_taken_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the other writer came between our looking and our renaming."""
    seal = artifacts.folders.seal

    def late(*args: object) -> None:
        seal(*args)
        monkeypatch.undo()
        write(tmp_path / "one", 1)

    monkeypatch.setattr(artifacts.folders, "seal", late)
    with pytest.raises(ArtifactError, match="exists already"):
        write(tmp_path / "one", 2)
    assert 1 == artifacts.open_folder(tmp_path / "one", "thing").json("n.json")["n"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no exchange of folders")
def test_a_replaced_folder_is_never_gone(tmp_path: Path) -> None:
    """Whoever looks while it is replaced a hundred times finds the old one or the new one."""
    folder, seen, done = tmp_path / "one", [], threading.Event()
    write(folder, 0)

    def look() -> None:
        while not done.is_set():
            seen.append((folder / artifacts.MANIFEST).exists())

    watcher = threading.Thread(target=look)
    watcher.start()
    for number in range(100):
        write(folder, number, replace=True)
    done.set()
    watcher.join()
    assert len(seen) > 100
    assert all(seen)
    assert ["one"] == [path.name for path in tmp_path.iterdir()]


def test_without_an_exchange_folders_are_replaced_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on systems that cannot."""
    monkeypatch.setattr(artifacts.folders, "_exchanged", lambda *_: False)
    write(tmp_path / "one", 1)
    write(tmp_path / "one", 2, replace=True)
    assert 2 == artifacts.open_folder(tmp_path / "one", "thing").json("n.json")["n"]
    assert ["one"] == [path.name for path in tmp_path.iterdir()]


def test_notes_of_many_writers(tmp_path: Path) -> None:
    """Three processes write beside a folder that is replaced all the while: none is lost."""
    folder, each = tmp_path / "one", 60
    write(folder, 0)
    artifacts.write_json(folder / "notes.json", [])
    writers = [
        subprocess.Popen([sys.executable, "-c", APPENDS, str(folder), name, str(each)])
        for name in "abc"
    ]
    number = 0
    while any(writer.poll() is None for writer in writers):
        number += 1
        write(folder, number, replace=True, keep=("notes.json",))
    assert [0, 0, 0] == [writer.returncode for writer in writers]
    expected = {f"{name} {n}" for name in "abc" for n in range(each)}
    notes = artifacts.read_json(folder / "notes.json")
    assert expected == set(notes)
    assert len(expected) == len(notes)
    assert number > 1


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    """While one process holds it the other is told; after a kill it is free."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert "held" == holder.stdout.readline().strip()
    with pytest.raises(ConfigError, match="busy"), artifacts.locked(tmp_path, "busy"):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    began = time.monotonic()
    with artifacts.locked(tmp_path, "busy", patience=5.0):
        assert time.monotonic() - began < 5


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    """Writing beside it is refused, and makes none."""
    with pytest.raises(ArtifactError, match="is gone"), artifacts.alone(tmp_path / "no"):
        pass
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a/.."])
def test_no_place_for_what_is_unfinished(name: str) -> None:
    """A path without a name of its own: one line."""
    with pytest.raises(ArtifactError, match="choose another --output"):
        artifacts.unfinished(Path(name))


def test_a_link_where_the_unfinished_would_be(tmp_path: Path) -> None:
    """Is not followed, whether there is something or not."""
    for name, to in (("there", tmp_path), ("nowhere", tmp_path / "none")):
        (tmp_path / f"{name}.unfinished").symlink_to(to)
        with pytest.raises(ArtifactError, match="is a link, and was not followed"):
            artifacts.unfinished(tmp_path / name)


def test_a_place_that_is_taken(tmp_path: Path) -> None:
    """By a file or a folder; what is to be chosen instead is said."""
    artifacts.check_free(tmp_path / "new")
    with pytest.raises(ArtifactError, match=r"exists already: choose another --output; nothing"):
        artifacts.check_free(tmp_path)


def test_no_device_or_pipe_is_replaced(tmp_path: Path) -> None:
    """As root, `/dev/null` would be an ordinary file afterwards, for every program."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ArtifactError, match="is a device or a pipe: name a file"):
        artifacts.write_json(pipe, {})
    link = tmp_path / "link"
    link.symlink_to(pipe)
    artifacts.write_json(link, {"own": 1})  # the link is replaced, as a file would be
    assert artifacts.read_json(link) == {"own": 1}
    assert pipe.is_fifo()
