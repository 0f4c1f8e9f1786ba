"""Minimal pairs: one change that flips a predicate; beside it, changes that leave it.

They are generated from the predicate: in windows of select text a token at or shortly before the
place is replaced by one of the predicate's own or a common one, the window is read again, and what
the predicate says of the place decides which kind of pair it is.

No replaced token moves a position. Where the predicate speaks of it, half of the changes take the
beginning off instead, up to where a window may begin, or, as their control, put other tokens in its
place: a node that only reads the beginning follows both.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from lacewing.explain import calls
from lacewing.explain.amplitude import Amplitude
from lacewing.explain.columns import Columns
from lacewing.explain.firing import Firing
from lacewing.explain.library import Library
from lacewing.explain.predicate import Kind, Predicate, Since, State, Token
from lacewing.explain.text import lexed, padded
from lacewing.model.sites import parse_node
from lacewing.model.store import Model

CONTEXTS, TRIED, POOL = 48, 16, 48
"""Places looked at, changes tried at each, and common tokens to change to."""
NEAR = 6
"""How far before the place half of the changes lie; the others lie anywhere before."""


@dataclass(frozen=True)
class Pairs:
    """Windows up to a place, before and after a change."""

    original: list[list[int]]
    edited: list[list[int]]
    holds: Bool[np.ndarray, " pair"]
    """Whether the predicate holds at the end of the original."""
    flips: Bool[np.ndarray, " pair"]
    """Whether it does not any more, or does now, at the end of the edited one."""


def minimal_pairs(library: Library, predicate: Predicate, seed: int) -> Pairs:
    """At most one flip and one control for every place."""
    dice = np.random.default_rng(seed)
    text = library.text
    rows = _places(library, predicate, dice)
    pool = _pool(library, predicate)
    of_position = _speaks_of(predicate, "position")
    original, edited, owner = [], [], []
    for number, (begin, at) in enumerate(rows):
        row = text.ids[begin : at + 1].tolist()
        begins = _begins(library, row) if of_position else []
        for attempt in range(TRIED):
            if begins and attempt % 4 in (1, 2):
                cut = begins[int(dice.integers(len(begins)))]
                other = dice.choice(pool, size=cut).tolist() if attempt % 4 == 2 else []
                changed = [*other, *row[cut:]]
            else:
                changed = _replaced(row, pool, attempt % 2 == 1, dice)
            if changed != row:
                original.append(row)
                edited.append(changed)
                owner.append(number)
    if not edited:
        return Pairs([], [], np.zeros(0, dtype=bool), np.zeros(0, dtype=bool))
    before, after = (_at_end(library, predicate, some) for some in (original, edited))
    chosen, met = [], set()
    for i, number in enumerate(owner):
        key = number, bool(before[i] != after[i])
        if key not in met:
            met.add(key)
            chosen.append(i)
    return Pairs(
        [original[i] for i in chosen],
        [edited[i] for i in chosen],
        before[chosen],
        before[chosen] != after[chosen],
    )


def moves(model: Model, node: str, firing: Firing, pairs: Pairs) -> Float[np.ndarray, " pair"]:
    """How far each change moves the node, its side's sign applied."""
    key, channel = parse_node(node)
    ends = []
    for rows in (pairs.original, pairs.edited):
        tokens, last = padded(rows)
        seen = calls.activations(model, [key], tokens)[key]
        value = seen[torch.arange(len(rows)), last, channel].double().numpy()
        ends.append(firing.sign * value)
    return np.asarray(ends[1] - ends[0])


def expected_moves(
    library: Library, both: Predicate, amplitude: Amplitude, pairs: Pairs
) -> Float[np.ndarray, " pair"]:
    """How far the explanation says that each change moves the node."""
    ends = []
    for rows in (pairs.original, pairs.edited):
        text = lexed(rows, library.text.pieces, library.text.language)
        at = np.cumsum([len(row) for row in rows]) - 1
        ends.append(amplitude.predict(Columns(text), both)[at])
    return np.asarray(ends[1] - ends[0]) if pairs.original else np.zeros(0)


def _places(
    library: Library, predicate: Predicate, dice: np.random.Generator
) -> list[tuple[int, int]]:
    """Beginnings of windows and places in them, half of them where the predicate holds."""
    select, text = library.text.slices["select"], library.text
    truth = library.columns.truth(predicate)
    found = []
    for wanted in (True, False):
        at = select.start + np.flatnonzero(truth[select] == wanted)
        chosen = dice.permutation(at)[: CONTEXTS // 2].tolist()
        found += [(int(text.start[place]), place) for place in chosen]
    return found


def _pool(library: Library, predicate: Predicate) -> list[int]:
    """The predicate's own tokens, as often as all others together, and common ones."""
    counts = np.bincount(library.text.ids[library.fit], minlength=len(library.text.pieces))
    common = np.argsort(-counts, kind="stable")[:POOL].tolist()
    own: list[int] = []
    for clause in predicate.clauses:
        for literal in clause:
            atom = literal.atom
            parts = (atom.opened, atom.closed) if isinstance(atom, Since) else (atom,)
            for part in parts:
                if isinstance(part, Token):
                    own += library.columns.ids_of(part.tokens[:POOL])
    return common + own * max(1, len(common) // max(len(own), 1)) if own else common


def _replaced(row: list[int], pool: list[int], near: bool, dice: np.random.Generator) -> list[int]:
    """A window with one token replaced: at most `NEAR` before its end, or anywhere."""
    place = len(row) - 1 - int(dice.integers(min(len(row), NEAR) if near else len(row)))
    new = int(pool[int(dice.integers(len(pool)))])
    return [*row[:place], new, *row[place + 1 :]]


def _begins(library: Library, row: list[int]) -> list[int]:
    """The tokens of a window, but its first, at which another may begin."""
    pieces = [library.text.pieces[i] for i in row]
    allowed = {*library.text.language.starts("".join(pieces))}
    ends = np.cumsum([len(piece) for piece in pieces])
    return [n for n, end in enumerate(ends[:-1].tolist(), start=1) if end in allowed]


def _speaks_of(predicate: Predicate, feature: str) -> bool:
    """Whether an atom of a predicate reads a feature of the state."""
    atoms = list[Token | Kind | State]()
    for literal in (literal for clause in predicate.clauses for literal in clause):
        atom = literal.atom
        atoms += (atom.opened, atom.closed) if isinstance(atom, Since) else (atom,)
    return any(isinstance(atom, State) and atom.feature == feature for atom in atoms)


def _at_end(
    library: Library, predicate: Predicate, rows: list[list[int]]
) -> Bool[np.ndarray, " pair"]:
    """What a predicate says of the last token of some windows."""
    text = lexed(rows, library.text.pieces, library.text.language)
    ends = np.cumsum([len(row) for row in rows]) - 1
    return Columns(text).truth(predicate)[ends]
