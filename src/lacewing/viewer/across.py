"""Across a bridge: a node of a sparse circuit, and what the dense model answers to it.

What `lacewing steer --node` measures, on the first of the circuit's test pairs, strength by
strength in small background turns. Bridges are named by id, and both their models are those that
are served: no path that a folder names is followed.
"""

from typing import Any

from lacewing.bridges.steer import STRENGTHS, steer
from lacewing.bridges.transfer import crossing
from lacewing.errors import DataError
from lacewing.viewer.session import Session
from lacewing.viewer.state import MissingError, Viewer
from lacewing.viewer.things import Across, Found
from lacewing.viewer.turns import Work

PAIRS, RANDOMS = 16, 5
"""Test pairs, the first ones, and random directions."""
WAITING = 8
"""Curves that may wait to be measured."""


def listed(viewer: Viewer, id: str) -> dict[str, Any]:
    """The bridges from the circuit's model, the circuit's nodes that cross, and why others do not.

    Raises:
        MissingError: there is no such circuit.
    """
    found = viewer.found(id)
    rows = []
    for one in _of(viewer, found):
        row: dict[str, Any] = {"id": one.id, "name": one.name, "dense": None, "nodes": []}
        if one.dense is None:
            row["reason"] = "its dense model is not under the served folder"
        else:
            row |= {"dense": one.dense.name, "nodes": _crossing(viewer, id, one)}
        rows.append(row)
    return {"bridges": rows}


def steered(viewer: Viewer, id: str, bridge: str, node: str) -> dict[str, Any]:
    """The dense model's answer against strength, as far as it is measured.

    Raises:
        MissingError: there is no such circuit, or no such bridge from its model.
        DataError: the node is none of the circuit's that cross, or its prompts are too long.
        BusyError: too many curves wait.
    """
    session = viewer.session(id)
    one = next((b for b in _of(viewer, session.found) if b.id == bridge), None)
    if one is None or one.dense is None:
        raise MissingError("there is no such bridge from this circuit's model (any more)")
    nodes = _crossing(viewer, id, one)
    if node not in nodes:
        raise DataError(
            f"{node} is none of the circuit's nodes that cross this bridge"
            + (f"; one is {nodes[0]}" if nodes else ": none crosses")
        )
    key = ("across", id, session.found.core, one.id, one.stamp, node)
    work = viewer.asked.get(key, lambda work: _measure(viewer, session, one, node, work), WAITING)
    if work.problem is not None:
        raise work.problem
    told = work.value or {"node": node, "curve": []}
    progress = {"state": work.state, "done": work.done, "total": work.total}
    return progress | told | {"curve": list(told["curve"]), "dense": one.dense.name}


def _measure(
    viewer: Viewer, session: Session, one: Across, node: str, work: Work
) -> dict[str, Any]:
    work.total = len(STRENGTHS)
    with viewer.turns.background():
        coupling = viewer.coupling(one)
    prompts, context = session.prompts.first(PAIRS), coupling.dense.network.config.context
    if prompts.tokens.shape[1] > context:
        raise DataError(
            f"the circuit's prompts have up to {prompts.tokens.shape[1]} tokens, and the dense "
            f"model reads {context}"
        )
    found: dict[str, Any] = {}
    for strength in STRENGTHS:
        with viewer.turns.background():
            done = steer(coupling, node, prompts, [strength], randoms=RANDOMS, quiet=True).as_json()
        curve = [*found.get("curve", ()), *done["curve"]]
        found = done | {"curve": curve, "randoms": RANDOMS}
        work.value = found
        work.done += 1
    return found


def _of(viewer: Viewer, found: Found) -> list[Across]:
    """The bridges from a circuit's model."""
    if found.run is None:
        return []
    every = viewer.library.contents().bridges.values()
    return [one for one in every if one.sparse is not None and one.sparse.id == found.run.id]


def _crossing(viewer: Viewer, id: str, one: Across) -> list[str]:
    """The circuit's nodes that have a direction in the dense model."""
    session = viewer.session(id)
    try:
        return crossing(one.facts.sizes, session.circuit.nodes)
    except DataError:  # none crosses
        return []
