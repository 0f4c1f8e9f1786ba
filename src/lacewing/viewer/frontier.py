"""Points of frontiers, from what `lacewing sweep` and `lacewing compare` left in the folder."""

import json
import math
from pathlib import Path
from typing import Any

from lacewing.viewer.state import Viewer

MOST_POINTS = 5000
LARGEST = 32 * 2**20
"""Bytes of a file of points."""


def frontier(viewer: Viewer) -> dict[str, Any]:
    """Every sweep and comparison under the served folder; what cannot be read is left out.

    A point without both numbers cannot be drawn and is told with its reason.
    """
    contents = viewer.library.contents()
    ids = {f.folder: contents.copies.get(f.id, f.id) for f in contents.circuits.values()}
    sweeps = []
    for id, path in contents.sweeps.items():
        if _summary(path):
            continue
        try:
            if path.stat().st_size > LARGEST:
                continue
            data = json.loads(path.read_text(encoding="utf-8"))
            points = _comparison(path, data, ids) if "rows" in data else _sweep(path, data, ids)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
        drawn = [p for p in points if p["x"] is not None and p["y"] is not None]
        if points:
            x = "loss" if "rows" in data else "validation_loss"
            sweep: dict[str, Any] = {"id": id, "name": path.parent.name, "x": x, "y": "edges"}
            sweep |= {"points": drawn[:MOST_POINTS], "tasks": data.get("tasks") or []}
            missing = [
                {"label": p["label"], "reason": p["reason"]} for p in points if p not in drawn
            ]
            sweeps.append(sweep | {"missing": missing[:MOST_POINTS]})
    return {"sweeps": sweeps}


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
    fine = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if fine else None  # type: ignore[arg-type]
