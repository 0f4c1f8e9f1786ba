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


def watched(root: Path, place: Path) -> None:
    """What a monitor compares with, fitted on lines of the task."""
    from lacewing.circuit.circuit import Circuit
    from lacewing.model.store import load
    from lacewing.watch.fit import fit
    from watch.live_text import LINES, pieces

    model, circuit = load(str(root / "run")), Circuit.load(root / "circuit")
    fit(model, [circuit], pieces(LINES, 1), told="lines", quiet=True).save(place)


def read_text(root: Path, place: Path) -> None:
    """The text that is read with it."""
    from watch.live_text import lines

    place.write_text("\n".join(lines(200, 3)))


ASKED: dict[str, Any] = {
    "model": "run",
    "prompt": ["Xkfmabc=", "Yvap="],
    "max_tokens": 6,
    "temperature": 0.7,
    "top_p": 0.95,
    "n": 2,
    "seed": 7,
    "stop": ["zz", "\n"],
    "logprobs": 2,
    "echo": True,
    "stream": False,
}


def asked(root: Path, place: Path) -> None:
    """A request to a served model that says all that one may say."""
    place.write_text(json.dumps(ASKED))
