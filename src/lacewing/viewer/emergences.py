"""What `lacewing emerge` left in the folder: a task's circuits over the states of a training."""

from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.errors import ArtifactError
from lacewing.viewer.folder import reason, shown
from lacewing.viewer.rows import EmergenceRow, StateRow
from lacewing.viewer.state import Viewer

MOST_STATES = 500


def emergences(viewer: Viewer) -> dict[str, Any]:
    """Every emergence under the served folder; files that cannot be read are under `broken`."""
    contents = viewer.library.contents()
    ids = {f.folder: contents.copies.get(f.id, f.id) for f in contents.circuits.values()}
    found, broken = [], []
    for id, path in contents.emergences.items():
        try:
            found.append(_read(id, path, ids).model_dump())
        except Exception as error:  # whatever is wrong with one file
            where = f"{shown(viewer.library.root, path.parent)}/{path.name}"
            broken.append({"folder": where, "error": reason(error)})
    return {"emergences": found, "broken": broken}


def _read(id: str, path: Path, ids: dict[Path, str]) -> EmergenceRow:
    data = artifacts.read_json(artifacts.own(path.parent, path.name))
    if not isinstance(data, dict) or not isinstance(data.get("states"), list):
        raise ArtifactError(f"{path} holds no states: damaged or foreign")
    states = [_state(row, path.parent, ids) for row in data["states"][:MOST_STATES]]
    return EmergenceRow.model_validate(
        {"id": id, "task": data.get("task"), "states": states, "target_loss": data["target_loss"]}
    )


def _state(row: Any, home: Path, ids: dict[Path, str]) -> StateRow:
    """A state, with the id of its circuit where that is under the served folder."""
    if not isinstance(row, dict):
        raise ArtifactError(f"{home} holds a state that is none: damaged or foreign")
    folder = row.get("folder")
    known = {name: row.get(name) for name in StateRow.model_fields if name != "circuit"}
    circuit = ids.get(home / folder) if isinstance(folder, str) else None
    return StateRow.model_validate(known | {"circuit": circuit})
