"""Planted rules: nodes whose meaning is known, because they were made of it. An answer key.

A rule has one to three literals, or is an OR, a counter or a `since`; its node is 1 where the rule
holds, with every tenth firing dropped and a false one at every 2,000th token. A counter's node
grows with what it counts.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lacewing.explain.columns import Columns
from lacewing.explain.library import Library
from lacewing.explain.predicate import Atom, Literal, Predicate, Since, State, Token

DROPPED, FALSE = 0.1, 0.0005
SHAPES = ("one", "two", "three", "or", "counter", "since")
RARE, COMMON = 0.002, 0.4
"""Shares of tokens between which a rule has to hold, in every part of the text."""
TRIES = 2000


@dataclass(frozen=True)
class Planted:
    """A rule and the node made of it."""

    shape: str
    rule: Predicate
    activations: Float[np.ndarray, " token"]


def plant(library: Library, shape: str, seed: int) -> Planted:
    """A node of a shape, drawn by a seed.

    Raises:
        ValueError: no such shape, or no rule of it holds often enough in this text.
    """
    dice = np.random.default_rng([SHAPES.index(shape), seed])
    for _ in range(TRIES):
        rule = _drawn(library, shape, dice)
        truth = library.columns.truth(rule)
        shares = [truth[part].mean() for part in library.text.slices.values()]
        if min(shares) >= RARE and max(shares) <= COMMON and _needed(library.columns, rule):
            fires = truth & (dice.random(len(truth)) >= DROPPED)
            fires |= ~truth & (dice.random(len(truth)) < FALSE)
            size = np.ones(len(truth))
            counter = rule.clauses[0][0].atom
            if shape == "counter" and isinstance(counter, State):
                size = np.maximum(library.columns.number(counter.feature, counter.before), 1.0)
            noise = 1 + 0.1 * dice.standard_normal(len(truth))
            return Planted(shape, rule, np.where(fires, size * np.maximum(noise, 0.5), 0.0))
    raise ValueError(f"no {shape} rule of seed {seed} holds often enough in this text")


def _drawn(library: Library, shape: str, dice: np.random.Generator) -> Predicate:
    """One random rule."""
    since = [atom for atom in library.atoms if isinstance(atom, Since)]
    counters = [a for a in library.atoms if isinstance(a, State) and _is_counter(library, a)]
    others: list[Atom] = [a for a in library.atoms if not isinstance(a, Since)]
    if shape == "since":
        return Predicate(((Literal(since[int(dice.integers(len(since)))]),),))
    if shape == "counter":
        return Predicate(((Literal(counters[int(dice.integers(len(counters)))]),),))
    sizes = {"one": (1,), "two": (2,), "three": (3,), "or": (2, 2)}[shape]
    return Predicate(
        tuple(
            tuple(
                Literal(_one(library, others, dice), bool(at and dice.random() < 0.4))
                for at in range(size)
            )
            for size in sizes
        )
    )


def _is_counter(library: Library, atom: State) -> bool:
    return library.text.features[atom.feature][1].counts and atom.feature != "position"


def _one(library: Library, others: list[Atom], dice: np.random.Generator) -> Atom:
    """A token in three of ten draws, else any state or kind."""
    if dice.random() < 0.3:
        id = int(library.text.ids[int(dice.integers(len(library.text)))])
        if library.text.pieces[id]:
            return Token(int(dice.integers(3)), (library.text.pieces[id],))
    return others[int(dice.integers(len(others)))]


def _needed(columns: Columns, rule: Predicate) -> bool:
    """Whether each literal and clause does something: without it, a tenth of all changes."""
    truth = columns.truth(rule)
    for place, clause in enumerate(rule.clauses):
        rest = rule.clauses[:place] + rule.clauses[place + 1 :]
        less = [rest] if rest else []
        less += [
            (*rest, clause[:i] + clause[i + 1 :]) for i in range(len(clause)) if len(clause) > 1
        ]
        for clauses in less:
            if (columns.truth(Predicate(clauses)) ^ truth).sum() < 0.1 * truth.sum():
                return False
    return True
