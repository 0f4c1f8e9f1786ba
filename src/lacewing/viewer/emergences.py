"""What `lacewing emerge` left in the folder: a task's circuits over the states of a training."""

from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.errors import ArtifactError
from lacewing.viewer.folder import each
from lacewing.viewer.rows import EmergenceRow, StateRow
from lacewing.viewer.state import Viewer

MOST_STATES = 500


def emergences(viewer: Viewer) -> dict[str, Any]:
    """Every emergence under the served folder; files that cannot be read are under `broken`."""
    found, broken = each(viewer.library, viewer.library.contents().emergences, _read)
    return {"emergences": found, "broken": broken}


def _read(id: str, path: Path, ids: dict[Path, str]) -> dict[str, Any]:
    data = artifacts.read_json(artifacts.own(path.parent, path.name))
    if not isinstance(data, dict) or not isinstance(data.get("states"), list):
        raise ArtifactError(f"{path} holds no states: damaged or foreign")
    states = [_state(row, path.parent, ids) for row in data["states"][:MOST_STATES]]
    row = {"id": id, "task": data.get("task"), "states": states, "target_loss": data["target_loss"]}
    return EmergenceRow.model_validate(row).model_dump()


def _state(row: Any, home: Path, ids: dict[Path, str]) -> StateRow:
    """A state, with the id of its circuit where that is under the served folder."""
    if not isinstance(row, dict):
        raise ArtifactError(f"{home} holds a state that is none: damaged or foreign")
    folder = row.get("folder")
    known = {name: row.get(name) for name in StateRow.model_fields if name != "circuit"}
    circuit = ids.get(home / folder) if isinstance(folder, str) else None
    return StateRow.model_validate(known | {"circuit": circuit})
