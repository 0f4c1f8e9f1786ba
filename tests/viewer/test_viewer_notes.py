"""Annotations: never lost, whoever writes and however the server dies."""

import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from lacewing.circuit.circuit import Circuit
from lacewing.errors import ArtifactError
from lacewing.viewer import notes


def test_put_and_drop(folder: Path) -> None:
    """An entry is added, replaced by its id, and taken away; the circuit stays whole."""
    place = folder / "circuits" / "planted"
    notes.put(place, "annotations", "a", {"on": "circuit", "text": "one"})
    notes.put(place, "annotations", "a", {"on": "circuit", "text": "two"})
    notes.put(place, "supernodes", "a", {"name": "head", "members": ["0.attn_q.0"]})
    found = notes.read(place)
    assert ["two"] == [a.text for a in found.annotations]
    assert ["head"] == [s.name for s in found.supernodes]
    assert notes.drop(place, "annotations", "a")
    assert not notes.drop(place, "annotations", "a")
    assert (0, 1) == (len(notes.read(place).annotations), len(notes.read(place).supernodes))
    assert Circuit.load(place).n_nodes > 0


def test_many_writers(folder: Path) -> None:
    """Threads that write at once lose nothing of each other's."""
    place = folder / "circuits" / "planted"

    def write(person: int) -> None:
        for i in range(10):
            notes.put(place, "annotations", f"p{person}-{i}", {"on": "circuit", "text": "x"})

    people = [threading.Thread(target=write, args=(p,)) for p in range(4)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert {f"p{p}-{i}" for p in range(4) for i in range(10)} == {
        a.id for a in notes.read(place).annotations
    }


def test_damaged_file(folder: Path) -> None:
    """A file that is no notes is reported and left as it is."""
    path = folder / "circuits" / "planted" / notes.NAME
    for content in ("{", '{"annotations": 3}'):
        path.write_text(content)
        with pytest.raises(ArtifactError):
            notes.put(path.parent, "annotations", "a", {"on": "circuit", "text": "x"})
        assert content == path.read_text()


def test_too_many(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a most; what was there stays."""
    monkeypatch.setattr(notes, "MOST", 2)
    place = folder / "circuits" / "planted"
    for name in "ab":
        notes.put(place, "annotations", name, {"on": "circuit", "text": "x"})
    with pytest.raises(ArtifactError, match="at most 2"):
        notes.put(place, "annotations", "c", {"on": "circuit", "text": "x"})
    assert 2 == len(notes.read(place).annotations)


def test_killed_server(folder: Path, start: Any, here: Any) -> None:
    """Kill -9 in the middle of writing: every note that was answered is there, in a whole file."""
    path = folder / "circuits" / "planted" / notes.NAME
    answered: list[str] = []
    enough = threading.Event()

    def write(server: Any) -> None:
        with server.client() as client:
            for i in range(100_000):
                try:
                    url = f"/api/circuits/circuits-planted/annotations/n{i}"
                    done = client.put(url, json={"on": "circuit", "text": "y" * 500})
                except httpx.HTTPError:
                    return
                assert 200 == done.status_code
                answered.append(f"n{i}")
                if i == 20:
                    enough.set()

    with start(folder) as server:
        writer = threading.Thread(target=write, args=(server,))
        writer.start()
        assert enough.wait(120)
        server.kill()
        writer.join(30)
    kept = [note["id"] for note in json.loads(path.read_text())["annotations"]]
    assert answered == kept[: len(answered)]
    assert len(kept) <= len(answered) + 1
    with here(folder) as server, server.client() as client:
        again = client.get("/api/circuits/circuits-planted/notes").json()["annotations"]
    assert kept == [note["id"] for note in again]
