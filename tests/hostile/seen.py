"""What the viewer shows of a folder in which something is bad: all else must stay as it was."""

import json
import sys
from pathlib import Path
from typing import Any

from hostile.figures import steady


def say(line: str) -> int:
    """Refuse as a verb does."""
    print(f"lacewing: {line}", file=sys.stderr)
    return 2


def viewed(work: Path) -> Any:
    """What the viewer shows of a folder with one bad circuit: the other one whole."""
    shown = _shown()
    whole = VIEWED.setdefault("others", shown["others"])
    if "a link, which is not followed" in shown["told"]:  # nor are circuits and copies below it
        ids = {row["id"] for row in whole} | {id for row in whole for id in row["copies"]}
        assert {row["id"] for row in shown["others"]} <= ids, "a row came from nowhere"
    else:
        assert shown["others"] == whole, "another row changed"
    if shown["told"]:
        raise SystemExit(say(shown["told"]))
    return shown


def served(work: Path) -> Any:
    """What the viewer shows of a folder with a bad run: the shipped models, and the reason."""
    shown = _shown()
    assert shown["models"] == VIEWED.setdefault("models", shown["models"]), "other models changed"
    if shown["told"]:
        raise SystemExit(say(shown["told"]))
    return shown


VIEWED: dict[str, Any] = {}
"""What the viewer showed of the untouched, in the process that warmed it up."""


def _node(viewer: Any, id: str) -> bytes:
    from lacewing.viewer import replies

    return replies.node_json(viewer, id, "0.attn_in.3")


def _shown() -> dict[str, Any]:
    from lacewing.errors import LacewingError
    from lacewing.viewer import replies
    from lacewing.viewer.state import Viewer

    asked = (replies.notes_json, replies.circuit_json, _node)
    viewer = Viewer(Path("site"))
    home = steady(json.loads(replies.home_json(viewer)))
    frontier = json.loads(replies.frontier_json(viewer))
    rows = {row["id"]: row for row in home["circuits"]}
    one = next((row for id, row in rows.items() if id.endswith("-one")), None)
    told = [broken["error"] for broken in home["broken"]]
    told += [row["error"] for row in rows.values() if row["error"]]
    drawn = []
    for answer in asked:
        try:
            drawn.append(json.loads(answer(viewer, one["id"])) if one else None)
        except LacewingError as error:
            told.append(str(error))
    viewer.close()
    return {
        "one": one,
        "others": [row for row in rows.values() if row is not one],
        "models": [model for model in home["models"] if model["id"].startswith("builtin")],
        "runs": [model for model in home["models"] if not model["id"].startswith("builtin")],
        "told": " ".join(" ".join(told).split()),
        "frontier": frontier,
        "drawn": steady(drawn),
    }
