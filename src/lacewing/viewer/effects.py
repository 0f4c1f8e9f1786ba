"""What each node and edge is worth: the circuit's loss without it, measured one by one."""

from collections.abc import Mapping
from typing import Any

from lacewing.ablation.attribution import guessed_changes
from lacewing.ablation.prefixes import unique_prefixes
from lacewing.ablation.values import ablation_values_of
from lacewing.circuit.components import Component
from lacewing.statistics import bootstrap, pair_means
from lacewing.viewer.answers import Edit, Effect
from lacewing.viewer.edits import name_of
from lacewing.viewer.session import Session
from lacewing.viewer.turns import Work

PAIRS = 64
"""Test pairs, the first ones, on which all effects are measured."""
GUESSED_ON, MOST = 16, 500
"""Pairs for the guess of what matters; nodes and edges measured, where a dense circuit has many
more than anybody looks at."""


def effect(session: Session, node: str) -> Effect | None:
    """The circuit without one node, on all its test prompts; None for a node it has not."""
    if node not in session.circuit.node_names():
        return None
    with session.turns.person():
        base = pair_means(session.unedited())
        without = pair_means(session.losses([Edit(off=node)], session.prompts, session.pieces))
    low, high = bootstrap(without - base, resamples=400)
    return Effect(
        loss_without=float(without.mean()),
        change=float((without - base).mean()),
        pairs=len(base),
        interval=(low, high),
    )


def measure(session: Session, work: Work) -> dict[str, Any]:
    """All effects, in small background turns; `work.value` holds those that are done."""
    prompts = session.prompts.first(PAIRS)
    circuit = session.circuit
    ablation_values = ablation_values_of(session.model, circuit.ablation)
    with session.turns.background():
        few = prompts.first(GUESSED_ON)
        every = _best_first(guessed_changes(session.model, circuit, few, ablation_values))
        pieces = unique_prefixes(session.model.network, prompts)
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


def _best_first(guessed: Mapping[Component, float]) -> list[tuple[str, Edit]]:
    """Nodes and edges worth measuring, as edits, those guessed to matter most first."""
    named = {name_of(component): change for component, change in guessed.items()}
    return [
        ("edges", Edit(cut=name)) if "->" in name else ("nodes", Edit(off=name))
        for name in sorted(named, key=lambda name: -named[name])[:MOST]
    ]
