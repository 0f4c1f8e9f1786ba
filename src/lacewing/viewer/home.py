"""The first page: models, tasks with losses, circuits with sizes and verdicts; and comparisons.

What a folder holds becomes a row of a known type, or is told as what cannot be read and why.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lacewing import __version__
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import kept_at
from lacewing.circuit.shipped import is_shipped, name_of
from lacewing.data.corpus import renamed
from lacewing.model.registry import SPLICED
from lacewing.model.shipped import BUILTIN
from lacewing.model.sites import site_widths
from lacewing.model.store import same_model
from lacewing.progress import printable
from lacewing.tasks.registry import PAPER
from lacewing.verification.verify import saved_verification
from lacewing.viewer import emergences, frontier
from lacewing.viewer.describe import beside, described, told
from lacewing.viewer.edits import edge_name
from lacewing.viewer.folder import reason, shown
from lacewing.viewer.rows import CircuitRow, ModelRow
from lacewing.viewer.state import Viewer, no_model, open_source
from lacewing.viewer.things import Contents, Found, Run


def home(viewer: Viewer) -> dict[str, Any]:
    """Everything the first page shows."""
    contents = viewer.library.contents()
    listed = [found for id, found in contents.circuits.items() if id not in contents.copies]
    broken = dict(contents.broken)

    def tried(source: str | Path, row: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
        try:
            return [row()]
        except Exception as error:  # whatever is wrong with one folder
            broken[_place(viewer, source)] = reason(error)
            return []

    models, rows = [], []
    for run in contents.runs.values():
        models += tried(run.source, partial(_model, viewer, run, contents))
    for found in listed:
        row = tried(found.folder, partial(circuit_row, viewer, found))
        rows += [one | {"copies": _also(contents, found)} for one in row]
    shipped = [
        row
        for found in contents.shipped.values()
        for row in tried(found.folder, partial(circuit_row, viewer, found))
    ]
    points = frontier.frontier(viewer)
    states = emergences.emergences(viewer)
    return {
        "version": __version__,
        "folder": shown(viewer.library.root, viewer.library.root),
        "writable": True,
        "models": models,
        "circuits": rows,
        "shipped": shipped,
        "broken": [{"folder": f, "error": e} for f, e in broken.items()]
        + points["broken"]
        + states["broken"],
        "sweeps": [{"id": sweep["id"], "name": sweep["name"]} for sweep in points["sweeps"]],
        "jobs": [job.model_dump() for job in viewer.jobs.all()],
    }


def _place(viewer: Viewer, source: str | Path) -> str:
    """Where a model or a circuit is, as people see it."""
    builtin = str(source).startswith(BUILTIN)
    if isinstance(source, Path) and is_shipped(source):
        return name_of(source)
    return str(source) if builtin else shown(viewer.library.root, Path(source))


def _also(contents: Contents, found: Found) -> list[str]:
    """Ids of the other folders that hold the same circuit."""
    return sorted(id for id, listed in contents.copies.items() if listed == found.id)


def circuit_row(viewer: Viewer, found: Found) -> dict[str, Any]:
    """A circuit in a list."""
    opens = found.run is None and open_source(viewer, found) is not None
    key = ("row", found.id, found.stamp, found.run is None, opens)
    return viewer.rows.get(key, lambda: _row(viewer, found, opens))


def _row(viewer: Viewer, found: Found, opens: bool) -> dict[str, Any]:
    facts = found.facts
    error = None if found.run or opens else printable(no_model(viewer, found))
    nodes = edges = None
    try:
        circuit = Circuit.load(found.folder)
        nodes = circuit.n_nodes
        edges = None if circuit.model_source.startswith(SPLICED) else circuit.n_edges
    except Exception as problem:  # a damaged file is one bad row of the table
        error = reason(problem)
    losses, config = facts.get("losses") or {}, facts.get("config") or {}
    notes = beside(found, "annotations.json")
    verification = saved_verification(found.folder)
    tests = verification.tests if verification and verification.whole else None
    row = {
        "id": found.id,
        "task": str(facts.get("task")),
        "description": described(str(facts.get("task"))),
        "model": found.run.id if found.run else None,
        "model_name": found.run.name if found.run else str(facts.get("model_source")),
        "nodes": nodes,
        "edges": edges,
        "target_loss": config.get("target_loss"),
        "loss": losses.get("circuit"),
        "full_loss": losses.get("full"),
        "ablation": facts.get("ablation"),
        "seed": config.get("seed"),
        "verdict": told(nodes, verification),
        "tests": None if tests is None else len(tests),
        "certificate": os.path.isfile(found.folder / "certificate.json"),
        "explained": os.path.isfile(found.folder / "explanations.json"),
        "notes": len(notes.get("annotations") or ()) if isinstance(notes, dict) else 0,
        "changed": found.stamp / 1e9,
        "error": error,
        "grouped": opens,
    }
    return CircuitRow.model_validate(row).model_dump()


def _model(viewer: Viewer, run: Run, contents: Contents) -> dict[str, Any]:
    config = run.config["model"]
    density = run.config.get("training", {}).get("density")
    measured = viewer.measured.get(run.id) or run.tasks
    row = {
        "id": run.id,
        "name": run.name,
        "model_id": run.model_id,
        "kind": "dense" if density in (None, 1, 1.0) else "sparse",
        "layers": config["n_layer"],
        "channels": config["d_model"],
        "heads": config["d_model"] // config["d_head"],
        "neurons": config["d_mlp"],
        "vocab": config["vocab_size"],
        "context": config["context"],
        "density": density,
        "nonzero": run.summary.get("nonzero"),
        "validation_loss": run.summary.get("validation_loss"),
        "corpus": renamed(str(run.config.get("corpus") or "")) or None,
        "tasks": _tasks(run, contents, measured),
        "tasks_measured": measured is not None,
    }
    return ModelRow.model_validate(row).model_dump()


def _tasks(
    run: Run, contents: Contents, measured: list[dict[str, Any]] | None
) -> list[dict[str, Any]]:
    """The paper's tasks with what is known of the model on them."""
    known = {str(row.get("name")): row for row in measured or ()}
    of_circuits = {
        str(c.facts.get("task")): (c.facts.get("losses") or {}).get("full")
        for c in (contents.circuits | contents.shipped).values()
        if c.run is not None and c.run.id == run.id
    }
    rows = []
    for task in PAPER:
        row = known.get(task.name, {})
        rows.append(
            {
                "name": task.name,
                "description": task.description,
                "origin": task.origin,
                "loss": row.get("loss", of_circuits.get(task.name)),
                **{k: row.get(k) for k in ("accuracy", "interval", "pairs", "learned", "error")},
            }
        )
    return rows


def compare(viewer: Viewer, left: str, right: str) -> dict[str, Any]:
    """Two circuits: which nodes and edges they share."""
    pair = [viewer.session(id) for id in (left, right)]
    a, b = (session.circuit for session in pair)
    same = same_model(a.model_id, b.model_id)
    nodes = _split(set(a.node_names()), set(b.node_names())) if same else None
    edges = _split(_edges(a), _edges(b)) if same else None
    keys = list(dict.fromkeys([*_widths(pair[0]), *_widths(pair[1])]))
    return {
        "left": circuit_row(viewer, pair[0].found),
        "right": circuit_row(viewer, pair[1].found),
        "same_model": same,
        "nodes": nodes,
        "edges": edges,
        "jaccard": {"nodes": _jaccard(nodes), "edges": _jaccard(edges)}
        if nodes and edges
        else None,
        "sites": [
            {
                "key": key,
                "left": len(a.nodes.get(key, ())),
                "right": len(b.nodes.get(key, ())),
                "shared": _shared(a, b, key) if same else None,
            }
            for key in keys
        ],
    }


def _shared(a: Circuit, b: Circuit, key: str) -> int:
    return len(np.intersect1d(kept_at(a.nodes, key), kept_at(b.nodes, key)))


def _widths(session: Any) -> dict[str, int]:
    return site_widths(session.model.network.config)


def _edges(circuit: Circuit) -> set[str]:
    return {edge_name(f, s, d) for f, pairs in circuit.edges.items() for s, d in pairs.tolist()}


def _split(a: set[str], b: set[str]) -> dict[str, list[str]]:
    return {"shared": sorted(a & b), "left": sorted(a - b), "right": sorted(b - a)}


def _jaccard(split: dict[str, list[str]] | None) -> float | None:
    if split is None or not any(split.values()):
        return None
    return round(len(split["shared"]) / sum(map(len, split.values())), 5)
