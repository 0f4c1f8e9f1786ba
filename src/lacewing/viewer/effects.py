"""What each node and edge is worth: the circuit's loss without it, measured one by one."""

from typing import Any

import torch

from lacewing.circuits.statistics import pair_means
from lacewing.tasks.scoring import bootstrap
from lacewing.viewer.answers import Edit, Effect
from lacewing.viewer.edits import edge_name
from lacewing.viewer.prefixes import prefixes
from lacewing.viewer.session import Session
from lacewing.viewer.turns import Work

PAIRS = 64
"""Test pairs, the first ones, on which all effects are measured."""
MOST_EDGES = 1000
"""Edges measured, the heaviest; a dense circuit has tens of thousands."""


def effect(session: Session, node: str) -> Effect | None:
    """The circuit without one node, on all its test prompts; None for a node it has not."""
    if node not in session.circuit.node_names():
        return None
    with session.turns.person():
        all_of_them = session.prompts, session.pieces
        base = pair_means(session.losses([], *all_of_them))
        without = pair_means(session.losses([Edit(off=node)], *all_of_them))
    low, high = bootstrap(without - base, resamples=400)
    return Effect(
        loss_without=float(without.mean()),
        change=float((without - base).mean()),
        pairs=len(base),
        interval=(low, high),
    )


def measure(session: Session, work: Work) -> dict[str, Any]:
    """All effects, in small background turns; `work.value` holds those that are done."""
    prompts = session.prompts.take(range(min(PAIRS, len(session.prompts))))
    circuit = session.circuit
    edges = []
    for family, pairs in circuit.edges.items():
        weight = _weights(session, family)
        edges += [(abs(float(weight[d, s])), edge_name(family, s, d)) for s, d in pairs.tolist()]
    edges.sort(key=lambda edge: -edge[0])
    every = [("nodes", Edit(off=name)) for name in circuit.node_names()]
    every += [("edges", Edit(cut=name)) for _, name in edges[:MOST_EDGES]]
    with session.turns.background():
        pieces = prefixes(session.model.network, prompts)
        base = float(session.losses([], prompts, pieces).mean())
    work.total = len(every)
    found: dict[str, Any] = {"loss": base, "pairs": len(prompts), "nodes": {}, "edges": {}}
    work.value = found
    for kind, edit in every:
        with session.turns.background():
            loss = float(session.losses([edit], prompts, pieces).mean())
        found[kind][edit.off or edit.cut] = round(loss - base, 6)
        work.done += 1
    return found


def _weights(session: Session, family: str) -> torch.Tensor:
    from lacewing.circuits.edges import FAMILIES, writers

    layer, _, sites = family.partition(".")
    weight: torch.Tensor = writers(session.model.network.blocks[int(layer)])[FAMILIES[sites]][0]  # type: ignore[arg-type]
    return weight
