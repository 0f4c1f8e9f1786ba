"""What circuits say of a model's nodes: what they mean, and which circuits hold them.

    known(contents, model_id)      of every node that a circuit's explanations.json tells of
    named(trace, known, hints)     the nodes of a trace with their labels, and grouped

`lacewing trace` and the page ask the same two, so a node is called the same in both.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lacewing.circuit.circuit import Circuit
from lacewing.errors import LacewingError
from lacewing.explain.labels import FILE
from lacewing.model.store import same_model
from lacewing.trace.hints import grouped
from lacewing.viewer.describe import beside
from lacewing.viewer.meanings import Meaning, meanings
from lacewing.viewer.things import Contents, Found

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


Once = Callable[[Any, Callable[[], dict[str, Any]]], dict[str, Any]]
"""Gives what was kept under a key, or makes it."""


def explained(contents: Contents) -> Contents:
    """Only the circuits beside which an explanation lies."""
    kept = [
        {id: f for id, f in part.items() if os.path.isfile(f.folder / FILE)}
        for part in (contents.circuits, contents.shipped)
    ]
    return Contents(circuits=kept[0], shipped=kept[1])


def known(contents: Contents, model_id: str, once: Once = lambda key, make: make()) -> Known:
    """What all circuits of a model say of its nodes.

    Args:
        contents: Of a folder, see `folder.read`.
        model_id: The model's.
        once: Keeps what was read of a circuit.
    """
    every = Known()
    for id, found in (contents.circuits | contents.shipped).items():
        if id in contents.copies or not same_model(str(found.facts.get("model_id")), model_id):
            continue
        one = once(("known", id, found.stamp), lambda found=found: _of(found))
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


def named(
    plain: Mapping[str, Any], known: Known, hints: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """What a trace's nodes are called, and which of them say the same.

    A good explanation goes first; where there is none, a hint of the trace itself stands in, and
    `label_by` says which of the two a label is.

    Args:
        plain: A trace, as plain values.
        known: What circuits say.
        hints: What the trace says, by node and token.

    Returns:
        The rows of its nodes with their labels, the meanings and circuits of these, and groups.
    """
    rows = []
    for node in plain["nodes"]:
        said = known.meanings.get(node["node"])
        hint = hints.get(f"{node['node']}@{node['token']}")
        if said is not None and said.good:
            rows.append({**node, "label": said.label, "label_by": "explanation"})
        elif hint is not None:
            rows.append({**node, "label": hint["label"], "label_by": "hint"})
        else:
            rows.append(dict(node))
    names = {node["node"] for node in rows}
    return {
        "nodes": rows,
        "meanings": {n: said.model_dump() for n, said in known.meanings.items() if n in names},
        "circuits": {n: ids for n, ids in known.circuits.items() if n in names},
        "hints": dict(hints),
        "groups": grouped(rows, known.groups, hints),
    }
