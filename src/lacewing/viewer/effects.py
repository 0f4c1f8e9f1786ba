"""What each node and edge is worth: the circuit's loss without it, measured one by one."""

from typing import Any

from lacewing.circuits.statistics import pair_means
from lacewing.tasks.scoring import bootstrap
from lacewing.viewer.answers import Edit, Effect
from lacewing.viewer.edits import base_fills
from lacewing.viewer.estimate import estimates
from lacewing.viewer.session import Session
from lacewing.viewer.turns import Work

PAIRS = 64
"""Test pairs, the first ones, on which all effects are measured."""
MOST_EDGES = 1000
"""Edges measured, those guessed to matter most; a dense circuit has tens of thousands."""


def effect(session: Session, node: str) -> Effect | None:
    """The circuit without one node, on all its test prompts; None for a node it has not."""
    if node not in session.circuit.node_names():
        return None
    with session.turns.person():
        base = pair_means(session.losses([], session.prompts))
        without = pair_means(session.losses([Edit(off=node)], session.prompts))
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
    fills = base_fills(session.model, circuit.ablation)
    with session.turns.background():
        worth = estimates(session.model, circuit, prompts.take(range(min(16, len(prompts)))), fills)
        base = float(session.losses([], prompts).mean())
    best = sorted(worth, key=lambda name: -worth[name])
    nodes = set(circuit.node_names())
    edges = [name for name in best if name not in nodes][:MOST_EDGES]
    measured = nodes.union(edges)
    every = [
        ("nodes", Edit(off=name)) if name in nodes else ("edges", Edit(cut=name))
        for name in best
        if name in measured
    ]
    work.total = len(every)
    found: dict[str, Any] = {"loss": base, "pairs": len(prompts), "nodes": {}, "edges": {}}
    work.value = found
    for kind, edit in every:
        with session.turns.background():
            loss = float(session.losses([edit], prompts).mean())
        found[kind][edit.off or edit.cut] = round(loss - base, 6)
        work.done += 1
    return found
