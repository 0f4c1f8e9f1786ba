"""The atoms a search chooses from: those of the language, packed once per text, and tokens.

Tokens are proposed for each node anew: the ones it fires on most tellingly at each place, alone and
as a set. All else stands in the library of a text.
"""

import re
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from lacewing.explain.bits import packed, packed_sets
from lacewing.explain.columns import Columns
from lacewing.explain.language import Feature
from lacewing.explain.predicate import KINDS, Atom, Kind, Since, State, Token
from lacewing.explain.text import Text

BACK = 4
"""Places, this token's and those before, where tokens are proposed."""
KIND_BACK = 3
SINGLE = 16
"""Single tokens proposed per place."""
RAREST = 8
"""Fit tokens at which an atom must hold, and at which it must not."""
NUMBERS = (0, 1, 2, 3, 4, 5, 6)
LONG_NUMBERS = (1, 2, 4, 8, 16, 32)
LATEST, ENDINGS = 3, ("newline", "quoted")
OPENERS, CLOSERS = 40, 10
"""Tokens among the events that `since` is built of."""
EVENT = re.compile(r"\s*([A-Za-z]{2,}|[^\w\s]{1,2}\s*)")


class Library:
    """Atoms over one text."""

    def __init__(self, text: Text) -> None:
        self.text, self.columns = text, Columns(text)
        self.fit = text.slices["fit"]
        self.atoms: list[Atom] = []
        rows, seen = [], set()
        for atom in self._proposed():
            truth = self.columns.computed(atom)[self.fit]
            bits = packed(truth[None])[0]
            key = hash(bits.tobytes())
            if RAREST <= truth.sum() <= len(truth) - RAREST and key not in seen:
                seen.add(key)
                self.atoms.append(atom)
                rows.append(bits)
        self._names = set(self.atoms)
        self.bits: UInt64[np.ndarray, "row column"] = np.stack(rows)

    @cached_property
    def ids(self) -> Int64[np.ndarray, "row token"]:
        """Token ids at each place back, over the whole text; -1 before a window's beginning."""
        found = np.full((BACK, len(self.text)), -1, dtype=np.int64)
        for back in range(BACK):
            end = len(self.text) - back
            same = self.text.window[back:] == self.text.window[:end]
            found[back, back:] = np.where(same, self.text.ids[:end], -1)
        return found

    @cached_property
    def keys(self) -> tuple[Int64[np.ndarray, " token"], Int64[np.ndarray, " token"]]:
        """A number for every token, and for every two in a row, over the whole text."""
        pairs = self.ids[0] * (len(self.text.pieces) + 1) + self.ids[1] + 1
        return self.ids[0], np.unique(pairs, return_inverse=True)[1].astype(np.int64)

    def tokens(
        self, fires: Bool[np.ndarray, " token"]
    ) -> tuple[list[Atom], UInt64[np.ndarray, "row column"]]:
        """Token atoms for a node, from where it fires on fit text."""
        atoms: list[Atom] = []
        blocks = [np.zeros((0, self.bits.shape[1]), dtype=np.uint64)]
        for back in range(BACK):
            here, sets = self.ids[back, self.fit], []
            for ids in self._sets(back, fires):
                names = tuple(dict.fromkeys(self.text.pieces[i] for i in ids))
                if names and (atom := Token(back, names)) not in atoms:
                    atoms.append(atom)
                    sets.append(self.columns.ids_of(names))
            blocks.append(packed_sets(here, sets, len(self.text.pieces)))
        lately = self._lately(atoms)
        blocks += [packed(self.columns.computed(since)[None, self.fit]) for since in lately]
        return [*atoms, *lately], np.concatenate(blocks)

    def _lately(self, atoms: list[Atom]) -> list[Since]:
        """That one of the most telling tokens was read, and no line end or closing sign since."""
        single = [a for a in atoms if isinstance(a, Token) and len(a.tokens) == 1]
        opened = [a for back in (0, 1) for a in [s for s in single if s.back == back][:LATEST]]
        found = [Since(Token(0, a.tokens), Kind(0, closed)) for a in opened for closed in ENDINGS]
        return [atom for atom in dict.fromkeys(found) if atom not in self._names]

    @cached_property
    def _every(self) -> Int64[np.ndarray, "row vocab"]:
        """How often each token stands at each place back, in fit text."""
        vocab = len(self.text.pieces)
        return np.stack(
            [np.bincount(ids[ids >= 0], minlength=vocab) for ids in self.ids[:, self.fit]]
        )

    def _sets(self, back: int, fires: Bool[np.ndarray, " token"]) -> Iterator[list[int]]:
        """The most telling tokens, each alone; then those that are together the best guess."""
        every, here = self._every[back], self.ids[back, self.fit][fires]
        hits = np.bincount(here[here >= 0], minlength=len(every))
        expected = every * fires.mean()
        telling = (hits - expected) / np.sqrt(expected + 1)
        order = np.argsort(-telling, kind="stable")[:SINGLE]
        for id in order:
            if hits[id] >= 3 and self.text.pieces[id]:
                yield [int(id)]
        for beta in (1.0, 0.3):
            chosen = best_set(hits, every, int(fires.sum()), beta)
            if len(chosen) > 1:
                yield chosen

    def _proposed(self) -> Iterator[Atom]:
        for _, feature in self.text.features.values():
            for before in (False, True):
                yield from _states(feature, before)
        for back in range(KIND_BACK):
            for kind in KINDS:
                yield Kind(back, kind)
        yield from self._since()

    def _since(self) -> Iterator[Since]:
        counts = np.bincount(self.text.ids[self.fit], minlength=len(self.text.pieces))
        events = [
            Token(0, (piece,))
            for piece, count in sorted(
                zip(self.text.pieces, counts, strict=True), key=lambda x: -x[1]
            )
            if count >= RAREST and EVENT.fullmatch(piece)
        ]
        signs = [event for event in events if not event.tokens[0].strip().isalpha()]
        line, close = Kind(0, "newline"), Kind(0, "closes")
        opening: list[Token | Kind] = [line, Kind(0, "opens"), Kind(0, "quoted")]
        closing: list[Token | Kind] = [line, close, *signs[:CLOSERS]]
        for opened in [*opening, *events[:OPENERS]]:
            for closed in closing:
                if opened != closed:
                    yield Since(opened, closed)


def best_set(
    hits: Int64[np.ndarray, " vocab"],
    every: Int64[np.ndarray, " vocab"],
    positives: int,
    beta: float,
    most: int = 24,
) -> list[int]:
    """The tokens that together guess best by F-beta: those above some share of hits.

    Sorted by their share of hits, the best set is a beginning of the list.
    """
    share = hits / np.maximum(every, 1)
    order = np.lexsort((-hits, -share))
    order = order[hits[order] > 0][:most]
    found, total = np.cumsum(hits[order]), np.cumsum(every[order])
    score = (1 + beta**2) * found / (beta**2 * positives + total) if len(order) else found
    return order[: int(np.argmax(score)) + 1].tolist() if len(order) else []


def _states(feature: Feature, before: bool) -> Iterator[State]:
    if feature.truth:
        yield State(feature.name, before=before)
    for value in feature.values:
        yield State(feature.name, "==", value, before)
    if feature.counts:
        for number in NUMBERS:
            yield State(feature.name, "==", str(number), before)
        for number in sorted({*NUMBERS[1:], *LONG_NUMBERS}):
            yield State(feature.name, ">=", str(number), before)
