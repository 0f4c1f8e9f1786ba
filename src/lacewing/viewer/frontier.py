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
    """Every sweep and comparison under the served folder; what cannot be read is left out."""
    contents = viewer.library.contents()
    ids = {found.folder: found.id for found in contents.circuits.values()}
    sweeps = []
    for id, path in contents.sweeps.items():
        try:
            if path.stat().st_size > LARGEST:
                continue
            data = json.loads(path.read_text(encoding="utf-8"))
            points = _comparison(path, data, ids) if "rows" in data else _sweep(path, data, ids)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
        if points:
            x = "target_loss" if "rows" in data else "validation_loss"
            sweep = {"id": id, "name": path.parent.name, "x": x, "y": "edges"}
            sweeps.append(sweep | {"points": points[:MOST_POINTS]})
    return {"sweeps": sweeps}


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
                "series": row["side"],
                "target_loss": _number(data.get("target_loss")),
                "seed": row["seed"],
            }
        )
    return [p for p in points if p["x"] is not None and p["y"] is not None]


def _sweep(path: Path, data: Any, ids: dict[Path, str]) -> list[dict[str, Any]]:
    """The points of a frontier as the sweep wrote them."""
    points = []
    for row in data.get("points", []):
        under = [i for f, i in ids.items() if _of(path, row, f)]
        points.append(
            {
                "label": str(row.get("label") or row.get("name") or ""),
                "x": _number(row.get("validation_loss")),
                "y": _number(row.get("edges")),
                "x_interval": row.get("validation_loss_interval"),
                "y_interval": row.get("edges_interval") or row.get("interval"),
                "model": row.get("model"),
                "circuits": under,
                "series": str(row.get("series") or row.get("side") or "sweep"),
                "target_loss": _number(row.get("target_loss")),
                "seed": row.get("seed"),
            }
        )
    return [p for p in points if p["x"] is not None and p["y"] is not None]


def _of(path: Path, row: dict[str, Any], folder: Path) -> bool:
    """Whether a circuit lies under the folder that a point names."""
    return isinstance(row.get("folder"), str) and folder.is_relative_to(path.parent / row["folder"])


def _number(value: object) -> float | None:
    fine = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if fine else None  # type: ignore[arg-type]
