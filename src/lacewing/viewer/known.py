"""What the served circuits say of a model's nodes: what they mean, and which circuits hold them."""

from dataclasses import dataclass, field
from typing import Any

from lacewing.circuit.circuit import Circuit
from lacewing.errors import LacewingError
from lacewing.explain.labels import FILE
from lacewing.model.store import same_model
from lacewing.viewer.describe import beside
from lacewing.viewer.meanings import Meaning, meanings
from lacewing.viewer.state import Viewer
from lacewing.viewer.things import Found

LISTED = 20
"""Circuits named of one node."""


@dataclass
class Known:
    """Of the nodes of one model."""

    meanings: dict[str, Meaning] = field(default_factory=dict)
    """The first good one that a circuit has."""
    groups: list[dict[str, Any]] = field(default_factory=list)
    """Nodes explained alike."""
    circuits: dict[str, list[str]] = field(default_factory=dict)
    """Ids of the circuits that hold a node."""


def known(viewer: Viewer, model_id: str) -> Known:
    """What all circuits of a model say of its nodes.

    Args:
        viewer: The served folder.
        model_id: The model's.
    """
    contents, every = viewer.library.contents(), Known()
    for id, found in (contents.circuits | contents.shipped).items():
        if id in contents.copies or not same_model(str(found.facts.get("model_id")), model_id):
            continue
        one = viewer.rows.get(("known", id, found.stamp), lambda found=found: _of(found))
        for node, said in one["meanings"].items():
            if node not in every.meanings or (said.good and not every.meanings[node].good):
                every.meanings[node] = said
        every.groups += one["groups"]
        for node in one["nodes"]:
            if len(names := every.circuits.setdefault(node, [])) < LISTED:
                names.append(id)
    return every


def _of(found: Found) -> dict[str, Any]:
    """What one circuit says; nothing where it cannot be read."""
    try:
        nodes = Circuit.load(found.folder).node_names()
    except (LacewingError, OSError):
        nodes = []
    explained = beside(found, FILE)
    rows = explained.get("groups") if isinstance(explained, dict) else None
    groups = []
    for row in rows if isinstance(rows, list) else []:
        names = row.get("nodes") if isinstance(row, dict) else None
        if isinstance(names, list):
            members = [str(name)[:60] for name in names]
            groups.append({"name": str(row.get("explanation") or "")[:200], "members": members})
    return {"nodes": nodes, "meanings": meanings(explained), "groups": groups}
