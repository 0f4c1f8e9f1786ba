"""Where predicates hold: one column of truth per atom over a text, kept once computed."""

import re
from functools import reduce

import numpy as np
from jaxtyping import Bool, Int16

from lacewing.explain.predicate import (
    KINDS,
    Atom,
    Clause,
    Kind,
    Literal,
    Predicate,
    Since,
    State,
    Token,
)
from lacewing.explain.text import Text
from lacewing.kernels.jit import jitted

KEPT = 1200
"""Columns kept at most: 0.2 MB each at 200,000 tokens."""


class Columns:
    """Truth of atoms, clauses and predicates at every token of a text."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self._known: dict[Atom, Bool[np.ndarray, " token"]] = {}
        self._kinds: dict[str, Bool[np.ndarray, " vocab"]] = {}
        self._before: Int16[np.ndarray, "token column"] | None = None
        self._ids: dict[str, list[int]] = {}
        for id, piece in enumerate(text.pieces):
            self._ids.setdefault(piece, []).append(id)

    def atom(self, atom: Atom) -> Bool[np.ndarray, " token"]:
        """Where an atom holds; the array is shared, so do not write to it."""
        if atom not in self._known:
            if len(self._known) >= KEPT:  # the oldest goes
                del self._known[next(iter(self._known))]
            self._known[atom] = self.computed(atom)
        return self._known[atom]

    def literal(self, literal: Literal) -> Bool[np.ndarray, " token"]:
        """Where a literal holds."""
        found = self.atom(literal.atom)
        return ~found if literal.negated else found

    def clause(self, clause: Clause) -> Bool[np.ndarray, " token"]:
        """Where all literals of a clause hold."""
        everywhere = np.ones(len(self.text), dtype=bool)
        return reduce(np.logical_and, map(self.literal, clause), everywhere)

    def truth(self, predicate: Predicate) -> Bool[np.ndarray, " token"]:
        """Where a predicate holds."""
        nowhere = np.zeros(len(self.text), dtype=bool)
        return reduce(np.logical_or, map(self.clause, predicate.clauses), nowhere)

    def which(self, predicate: Predicate) -> np.ndarray:
        """For every token the number of the first clause that holds, from 1; 0 for none."""
        found = np.zeros(len(self.text), dtype=np.int64)
        for number, clause in reversed(list(enumerate(predicate.clauses, start=1))):
            found[self.clause(clause)] = number
        return found

    def number(self, feature: str, before: bool = False) -> Int16[np.ndarray, " token"]:
        """The values of a feature."""
        column = self.text.features[feature][0]
        return (self._state_before() if before else self.text.state)[:, column]

    def ids_of(self, tokens: tuple[str, ...]) -> list[int]:
        """Ids of some tokens; a text that several ids have stands for all of them."""
        return [id for token in tokens for id in self._ids.get(token, ())]

    def computed(self, atom: Atom) -> Bool[np.ndarray, " token"]:
        """The same without keeping it."""
        if isinstance(atom, Token):
            wanted = np.zeros(len(self.text.pieces), dtype=bool)
            wanted[self.ids_of(atom.tokens)] = True
            return self._back(wanted[self.text.ids], atom.back)
        if isinstance(atom, Kind):
            return self._back(self._of_kind(atom.kind)[self.text.ids], atom.back)
        if isinstance(atom, Since):
            return self._since(self.atom(atom.opened), self.atom(atom.closed))
        return self._state(atom)

    def _state(self, atom: State) -> Bool[np.ndarray, " token"]:
        values = self.number(atom.feature, atom.before)
        feature = self.text.features[atom.feature][1]
        if not atom.compare:
            return values != 0
        value = int(atom.value) if feature.counts else feature.values.index(atom.value)
        return values >= value if atom.compare == ">=" else values == value

    def _back(self, here: Bool[np.ndarray, " token"], back: int) -> Bool[np.ndarray, " token"]:
        """What held so many tokens before, inside the same window."""
        if not back:
            return here
        found = np.zeros_like(here)
        same = self.text.window[back:] == self.text.window[:-back]
        found[back:] = here[:-back] & same
        return found

    def _since(
        self, opened: Bool[np.ndarray, " token"], closed: Bool[np.ndarray, " token"]
    ) -> Bool[np.ndarray, " token"]:
        found = np.empty(len(self.text), dtype=bool)
        jitted(_since, parallel=False)(opened, closed, self.text.start, found)
        return found

    def _of_kind(self, kind: str) -> Bool[np.ndarray, " vocab"]:
        if kind not in self._kinds:
            whole = re.compile(KINDS[kind])
            matches = [bool(whole.fullmatch(piece)) for piece in self.text.pieces]
            self._kinds[kind] = np.array(matches)
        return self._kinds[kind]

    def _state_before(self) -> Int16[np.ndarray, "token column"]:
        """The state before every token: that after the one before, or a window's beginning."""
        if self._before is None:
            before = np.zeros_like(self.text.state)
            before[1:] = self.text.state[:-1]
            before[self.text.first] = self._beginning()
            self._before = before
        return self._before

    def _beginning(self) -> Int16[np.ndarray, " column"]:
        """The state before anything was read."""
        codes, one = np.zeros(0, dtype=np.uint32), np.ones(1, dtype=np.int64)
        first = self.text.language.states(codes, np.zeros(1, dtype=np.int64), one)[0]
        found = np.zeros(self.text.state.shape[1], dtype=self.text.state.dtype)
        found[: len(first)] = first
        return found


def _since(opened: np.ndarray, closed: np.ndarray, start: np.ndarray, found: np.ndarray) -> None:
    opening = closing = -1
    for i in range(len(found)):
        if opened[i]:
            opening = i
        if closed[i]:
            closing = i
        found[i] = opening >= start[i] and closing <= opening
