"""What people add to a circuit: remarks and groups, in annotations.json beside it.

Every change reads the file, changes one entry and replaces the file in one step, under a lock that
other servers of the same folder, and whoever replaces the circuit, respect; it returns once it is
on the disk. Killing the server at any moment leaves the old file or the new one.
"""

import json
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from lacewing import artifacts
from lacewing.circuit.folder import NOTES
from lacewing.errors import ArtifactError
from lacewing.viewer.answers import Annotation, Notes, Supernode

NAME = NOTES
MOST = 5000
"""Entries of one circuit."""


def read(folder: Path) -> Notes:
    """The notes of a circuit; empty where nobody wrote any.

    Raises:
        ArtifactError: the file is damaged, or a link out of the folder; nothing is written over it.
    """
    file = artifacts.own(folder, NAME)
    if not file.exists():
        return Notes()
    found = artifacts.read_json(file)
    try:
        return Notes.model_validate(found)
    except ValidationError as error:
        raise ArtifactError(
            f"{folder / NAME} holds no annotations ({error.error_count()} faults): move it away, "
            "or mend it by hand"
        ) from error


def put(folder: Path, kind: Literal["annotations", "supernodes"], id: str, value: Any) -> Any:
    """Add or replace one entry, and return it.

    Raises:
        ArtifactError: the file is damaged, full, or cannot be written.
    """
    with artifacts.alone(folder):
        notes = read(folder)
        whole = value | {"id": id, "changed": round(time.time(), 3)}
        entry: Annotation | Supernode
        if kind == "annotations":
            entry = Annotation(**whole)
            notes.annotations = [a for a in notes.annotations if a.id != id] + [entry]
        else:
            entry = Supernode(**whole)
            notes.supernodes = [s for s in notes.supernodes if s.id != id] + [entry]
        if len(notes.annotations) + len(notes.supernodes) > MOST:
            raise ArtifactError(f"a circuit takes at most {MOST} annotations: delete some first")
        _write(folder, notes)
        return entry


def drop(folder: Path, kind: Literal["annotations", "supernodes"], id: str) -> bool:
    """Take one entry away; whether it was there."""
    with artifacts.alone(folder):
        notes = read(folder)
        before = len(notes.annotations) + len(notes.supernodes)
        if kind == "annotations":
            notes.annotations = [a for a in notes.annotations if a.id != id]
        else:
            notes.supernodes = [s for s in notes.supernodes if s.id != id]
        _write(folder, notes)
        return len(notes.annotations) + len(notes.supernodes) < before


def _write(folder: Path, notes: Notes) -> None:
    artifacts.write_json(folder / NAME, json.loads(notes.model_dump_json()))
