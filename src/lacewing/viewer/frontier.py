"""Points of frontiers, from what `lacewing sweep` and `lacewing compare` left in the folder."""

import math
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.errors import ArtifactError
from lacewing.viewer.folder import each
from lacewing.viewer.rows import PointRow
from lacewing.viewer.state import Viewer

MOST_POINTS = 5000
MOST = 1e300
"""Of a number that is drawn."""


def frontier(viewer: Viewer) -> dict[str, Any]:
    """Every sweep and comparison under the served folder.

    A point without both numbers cannot be drawn and is told with its reason; so is a file that
    cannot be read, under `broken`.
    """
    places = viewer.library.contents().sweeps
    files = {id: path for id, path in places.items() if not _summary(path)}
    sweeps, broken = each(viewer.library, files, _drawn)
    return {"sweeps": sweeps, "broken": broken}


def _drawn(id: str, path: Path, ids: dict[Path, str]) -> dict[str, Any] | None:
    """One sweep or comparison to draw; None where it has no points."""
    data = artifacts.read_json(artifacts.own(path.parent, path.name))
    if not isinstance(data, dict):
        raise ArtifactError(f"{path} holds no points: damaged or foreign")
    rows = _comparison(path, data, ids) if "rows" in data else _sweep(path, data, ids)
    points = [PointRow.model_validate(row).model_dump() for row in rows]
    if not points:
        return None
    drawn = [p for p in points if p["x"] is not None and p["y"] is not None]
    missing = [{"label": p["label"], "reason": p["reason"]} for p in points if p not in drawn]
    return {
        "id": id,
        "name": path.parent.name.encode("utf-8", "backslashreplace").decode(),
        "x": "loss" if "rows" in data else "validation_loss",
        "y": "edges",
        "points": drawn[:MOST_POINTS],
        "tasks": [str(task)[:200] for task in data.get("tasks") or []][:MOST_POINTS],
        "missing": missing[:MOST_POINTS],
    }


def _summary(path: Path) -> bool:
    """Whether this is the second copy of a frontier that a sweep leaves beside its figures."""
    above = path.parent.parent / path.name
    return path.parent.name == "summary" and above.is_file()


def _comparison(path: Path, data: Any, ids: dict[Path, str]) -> list[dict[str, Any]]:
    """One point per circuit of a comparison: its test loss against its edges."""
    points = []
    for row in data["rows"]:
        folder = path.parent / row["folder"] if row.get("folder") else None
        points.append(
            {
                "label": f"{row['task']}, seed {row['seed']}",
                "x": _number(row["losses"].get("circuit")),
                "y": _number(row["edges"]),
                "x_interval": None,
                "y_interval": None,
                "model": data.get(row["side"]),
                "circuits": [ids[folder]] if folder in ids else [],
                "tasks": [str(row["task"])] if folder in ids else [],
                "series": row["side"],
                "target_loss": _number(data.get("target_loss")),
                "seed": row["seed"],
                "reason": None,
            }
        )
    return points


def _sweep(path: Path, data: Any, ids: dict[Path, str]) -> list[dict[str, Any]]:
    """One point per model, as `lacewing sweep` writes them (docs/sweep.md)."""
    points = []
    for row in data["points"]:
        folders = [path.parent / name for name in row["circuits"]]
        opened = [
            (ids[folder], task)
            for folder, task in zip(folders, row["reached"], strict=True)
            if folder in ids
        ]
        low, high = _number(row["low"]), _number(row["high"])
        points.append(
            {
                "label": str(row["label"]),
                "x": _number(row["validation_loss"]),
                "y": _number(row["edges"]),
                "x_interval": None,
                "y_interval": None if low is None or high is None else [low, high],
                "model": str(row["model"]),
                "circuits": [id for id, _ in opened],
                "tasks": [task for _, task in opened],
                "series": str(row["side"]),
                "target_loss": _number(data["target_loss"]),
                "seed": row["seed"],
                "reason": row["reason"],
            }
        )
    return points


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > MOST:
        return None
    return float(value) if math.isfinite(value) else None
