"""A training with states, and what `lacewing emerge` leaves of one."""

import json
import shutil
from pathlib import Path
from typing import Any

from hostile.reseal import reseal

STATE: dict[str, Any] = {
    "step": 3,
    "tokens": 192,
    "validation_loss": 1.5,
    "full": 0.1,
    "loss": 0.1,
    "nodes": 15,
    "edges": 8,
    "shared": 15,
    "by_chance": 0.5,
    "reason": None,
    "folder": "run/circuits/one",
}


def grown(root: Path, place: Path) -> None:
    """A run with two states of its training, which are that same run."""
    part = place.with_name(f".{place.name}")
    shutil.copytree(root / "run", part)
    for step in (1, 2):
        state = part / "snapshots" / str(step)
        shutil.copytree(root / "run", state)
        summary = json.loads((state / "summary.json").read_text())
        (state / "summary.json").write_text(json.dumps(summary | {"steps": step}))
        reseal(state / "summary.json")
    part.rename(place)
