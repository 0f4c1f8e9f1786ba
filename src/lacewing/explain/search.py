"""The search for a predicate: beams of conjunctions, one clause after the other.

Each clause is grown literal by literal on fit text, for the F1 of all clauses together minus a
price per literal; half of the beam is kept for what is right about the rest alone. Further clauses
cover what is left; afterwards each is looked for again beside the others. What is chosen among all
that was met, and which literals are dropped, select text decides.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from lacewing.explain.bits import overlaps, packed
from lacewing.explain.library import Library, best_set
from lacewing.explain.predicate import Atom, Clause, Literal, Predicate, Token

BEAM, DEPTH, CLAUSES, SCREENED = 12, 3, 3, 320
PRICE = 0.004
"""F1 that a literal has to bring."""
GAIN = 0.01
"""F1 that a further clause has to bring."""
BETAS = (1.0, 0.5)
"""Clauses are looked for that are right often and complete, then again with right more often."""


@dataclass(frozen=True)
class Found:
    """A predicate with its F1 on select text."""

    predicate: Predicate
    f1: float

    @property
    def rank(self) -> tuple[float, float]:
        """Higher is better: F1 less a price, then fewer bits."""
        return (round(self.f1 - PRICE * self.predicate.literals, 4), -self.predicate.bits)


class _Pool:
    """Atoms of one search with their bits on fit text, in blocks: the library's, then tokens'."""

    def __init__(self, library: Library, fires: Bool[np.ndarray, " token"]) -> None:
        self.positive = packed(fires[None])[0]
        self.everywhere = packed(np.ones((1, len(fires)), dtype=bool))[0]
        self.count, self.tokens = int(fires.sum()), len(fires)
        self.atoms: list[Atom] = []
        self.place: dict[Atom, int] = {}
        self.blocks: list[UInt64[np.ndarray, "row column"]] = []
        self.hits = self.total = np.zeros(0, dtype=np.int64)
        self.add(library.atoms, library.bits)
        self.add(*library.tokens(fires))

    def add(self, atoms: Sequence[Atom], bits: UInt64[np.ndarray, "row column"]) -> None:
        """Add the atoms that are new; counts them over all fit text."""
        new = [i for i, atom in enumerate(atoms) if atom not in self.place]
        block = bits if len(new) == len(atoms) else bits[new]
        for i in new:
            self.place[atoms[i]] = len(self.atoms)
            self.atoms.append(atoms[i])
        hits, total = overlaps(self.everywhere[None], block, self.positive)
        self.hits, self.total = np.append(self.hits, hits), np.append(self.total, total)
        self.blocks.append(block)

    def rows(self, order: Sequence[int]) -> UInt64[np.ndarray, "row column"]:
        """The bits of some atoms, their numbers in order."""
        found, first, wanted = [], 0, np.array(order, dtype=np.int64)
        for block in self.blocks:
            here = (wanted >= first) & (wanted < first + len(block))
            found.append(block[wanted[here] - first])
            first += len(block)
        return np.concatenate(found)

    def clause(self, clause: Clause) -> UInt64[np.ndarray, " column"]:
        """Where a clause of these atoms holds."""
        found = self.everywhere
        for literal in clause:
            row = self.rows([self.place[literal.atom]])[0]
            found = found & (~row if literal.negated else row)
        return found

    def left(
        self, covered: UInt64[np.ndarray, " column"]
    ) -> tuple[Int64[np.ndarray, " row"], Int64[np.ndarray, " row"]]:
        """The positive tokens, and all tokens, at which each atom holds outside some others."""
        if not covered.any():
            return self.hits, self.total
        found = [overlaps(covered[None], block, self.positive) for block in self.blocks]
        hits, total = (np.concatenate([each[i][0] for each in found]) for i in (0, 1))
        return self.hits - hits, self.total - total


def search(
    library: Library,
    fires: Bool[np.ndarray, " token"],
    proposals: Iterable[Predicate] = (),
    keep: int = 5,
    betas: Sequence[float] = BETAS,
) -> list[Found]:
    """The best predicates for where a node fires, the best first.

    Args:
        library: Atoms of the text.
        fires: Whether the node fires, at every token of the text; only fit and select are read.
        proposals: Predicates from elsewhere that compete on select text.
        keep: How many are returned at most.
        betas: See BETAS; fewer take less time.

    Returns:
        At least one; `never` where the node does not fire on fit text.
    """
    fit, select = library.fit, library.text.slices["select"]
    met: dict[Predicate, None] = dict.fromkeys(proposals)
    if fires[fit].any():
        pool = _Pool(library, fires[fit])
        for beta in betas:
            met |= dict.fromkeys(_clauses(pool, library, fires[fit], beta))
    columns, truth = library.columns, fires[select]
    found = [Found(p, f1(columns.truth(p)[select], truth)) for p in met]
    found = sorted(found, key=lambda f: f.rank, reverse=True)[:keep]
    found = [_simplified(library, f, fires) for f in found]
    unique = {f.predicate: f for f in found}
    ranked = sorted(unique.values(), key=lambda f: f.rank, reverse=True)
    return ranked or [Found(Predicate(), 0.0)]


def f1(guess: Bool[np.ndarray, " token"], truth: Bool[np.ndarray, " token"]) -> float:
    """F1 of a guess; 0 where nothing is true or guessed."""
    total = int(guess.sum()) + int(truth.sum())
    return 2 * int((guess & truth).sum()) / total if total else 0.0


def _clauses(
    pool: _Pool, library: Library, fires: Bool[np.ndarray, " token"], beta: float
) -> list[Predicate]:
    """Predicates of one clause and more, each the last with one clause added or found again."""
    met: list[Predicate] = []
    clauses: list[Clause] = []
    best = 0.0
    for _ in range(CLAUSES):
        if met:
            covered = library.columns.truth(met[-1])[library.fit]
            pool.add(*library.tokens(fires & ~covered))
        grown = _grow(pool, clauses, beta)
        if not clauses:
            met += [Predicate((clause,)) for _, clause in grown[:BEAM]]
        if not grown or grown[0][0] < best + (GAIN if clauses else 0):
            break
        best = grown[0][0]
        clauses.append(grown[0][1])
        met.append(Predicate(tuple(clauses)))
    for place in range(len(clauses) if len(clauses) > 1 else 0):
        others = clauses[:place] + clauses[place + 1 :]
        again = _grow(pool, others, 1.0)
        if again and again[0][0] > best:
            best, clauses[place] = again[0][0], again[0][1]
            met.append(Predicate(tuple(clauses)))
    return met


def _grow(pool: _Pool, others: Sequence[Clause], beta: float) -> list[tuple[float, Clause]]:
    """Clauses beside some others, with the score of all together, the best first."""
    covered = np.zeros_like(pool.everywhere)
    for clause in others:
        covered |= pool.clause(clause)
    had = _counts(pool, covered)
    literals, left = sum(map(len, others)), pool.count - had[0]
    beams, clauses = (pool.everywhere & ~covered)[None], [()]
    whole_hits, whole = np.array([[left]]), np.array([[pool.tokens - had[1]]])
    order = _telling(pool, covered, left, pool.tokens - had[1])
    atoms, bits = [pool.atoms[i] for i in order], pool.rows(order)
    met: list[tuple[float, Clause]] = []
    for depth in range(1, DEPTH + 1):
        hits, total = overlaps(beams, bits, pool.positive)
        hits = np.concatenate([hits, whole_hits - hits], axis=1)
        total = np.concatenate([total, whole - total], axis=1)
        square = beta**2
        score = (1 + square) * (had[0] + hits) / (square * pool.count + had[1] + total)
        score = np.where(hits > 0, score - PRICE * (literals + depth), -1.0)
        # What is right about the rest alone may grow into a clause that helps the whole.
        promise = np.where(hits > 0, 2 * hits / np.maximum(left + total, 1), -1.0)
        chosen = _distinct((score, promise), hits, total, clauses, atoms)
        met += [(value, clause) for value, clause, _ in chosen]
        if not chosen or depth == DEPTH:
            break
        rows = [
            beams[b] & (bits[m] if m < len(atoms) else ~bits[m - len(atoms)])
            for _, _, (b, m) in chosen
        ]
        beams, clauses = np.stack(rows), [clause for _, clause, _ in chosen]
        places = tuple(np.array([place for _, _, place in chosen]).T)
        whole_hits, whole = hits[places][:, None], total[places][:, None]
    return sorted(met, key=lambda found: (-found[0], len(found[1])))


def _telling(pool: _Pool, covered: UInt64[np.ndarray, " column"], count: int, n: int) -> list[int]:
    """The atoms that tell most about where the node fires, at the n tokens that are not covered.

    At `count` of these it fires.
    """
    hits, total = pool.left(covered)
    spread = np.sqrt(np.maximum(total * (n - total), 1).astype(float))
    telling = np.abs(hits * float(n) - total * float(count)) / spread
    return sorted(np.argsort(-telling, kind="stable")[:SCREENED].tolist())


def _distinct(
    rankings: tuple[np.ndarray, np.ndarray],
    hits: np.ndarray,
    total: np.ndarray,
    clauses: Sequence[Clause],
    atoms: Sequence[Atom],
) -> list[tuple[float, Clause, tuple[int, int]]]:
    """The best extensions by each ranking that differ in where they hold, as far as counts tell.

    Their score is that of the first ranking.
    """
    chosen: list[tuple[float, Clause, tuple[int, int]]] = []
    seen: set[tuple[int, int]] = set()
    known = [{literal.atom for literal in clause} for clause in clauses]
    first = rankings[0].ravel()
    for number, ranking in enumerate(rankings, start=1):
        flat = ranking.ravel()
        few = min(16 * BEAM, len(flat) - 1)
        best = np.argpartition(-flat, few)[: few + 1]
        best = best[np.argsort(-flat[best], kind="stable")]
        best = best[flat[best] > -1]
        keys = zip(hits.ravel()[best].tolist(), total.ravel()[best].tolist(), strict=True)
        for place, key in zip(best.tolist(), keys, strict=True):
            if len(chosen) >= number * BEAM:
                break
            b, m = divmod(place, hits.shape[1])
            atom = atoms[m % len(atoms)]
            if key not in seen and atom not in known[b]:
                seen.add(key)
                literal = Literal(atom, m >= len(atoms))
                chosen.append((float(first[place]), (*clauses[b], literal), (b, m)))
    return chosen


def _counts(pool: _Pool, bits: UInt64[np.ndarray, " column"]) -> tuple[int, int]:
    """Positive tokens among some, and how many they are."""
    hits, total = overlaps(bits[None], pool.everywhere[None], pool.positive)
    return int(hits[0, 0]), int(total[0, 0])


def _simplified(library: Library, found: Found, fires: Bool[np.ndarray, " token"]) -> Found:
    """Token sets chosen again beside the rest of their clause; literals dropped that do nothing."""
    select = library.text.slices["select"]
    truth = fires[select]
    best = found
    for predicate in _with_sets(library, found.predicate, fires):
        now = Found(predicate, f1(library.columns.truth(predicate)[select], truth))
        best = now if now.rank > best.rank else best
    while True:
        shorter = [
            Found(p, f1(library.columns.truth(p)[select], truth)) for p in _shorter(best.predicate)
        ]
        better = max(shorter, key=lambda f: f.rank, default=best)
        if better.rank <= best.rank:
            return best
        best = better


def _shorter(predicate: Predicate) -> list[Predicate]:
    """The predicate without each of its literals, and without each of its clauses."""
    found = []
    for place, clause in enumerate(predicate.clauses):
        rest = predicate.clauses[:place] + predicate.clauses[place + 1 :]
        if rest:
            found.append(Predicate(rest))
        for at in range(len(clause) if len(clause) > 1 else 0):
            less = clause[:at] + clause[at + 1 :]
            found.append(
                Predicate((*predicate.clauses[:place], less, *predicate.clauses[place + 1 :]))
            )
    return found


def _with_sets(
    library: Library, predicate: Predicate, fires: Bool[np.ndarray, " token"]
) -> list[Predicate]:
    """The predicate with each token literal's set chosen for where the rest of its clause holds."""
    found, fit, columns = [], library.fit, library.columns
    vocab = len(library.text.pieces)
    for place, clause in enumerate(predicate.clauses):
        for at, literal in enumerate(clause):
            if not isinstance(literal.atom, Token) or literal.negated:
                continue
            if literal.atom.back >= len(library.ids):
                continue
            rest = columns.clause(clause[:at] + clause[at + 1 :])[fit]
            others = predicate.clauses[:place] + predicate.clauses[place + 1 :]
            rest = rest & ~columns.truth(Predicate(others))[fit]
            here = library.ids[literal.atom.back, fit]
            rest &= here >= 0
            every = np.bincount(here[rest], minlength=vocab)
            hits = np.bincount(here[rest & fires[fit]], minlength=vocab)
            for beta in BETAS:
                ids = best_set(hits, every, int(fires[fit].sum()), beta)
                names = tuple(dict.fromkeys(library.text.pieces[i] for i in ids))
                if names:
                    atom = Literal(Token(literal.atom.back, names))
                    new = (*clause[:at], atom, *clause[at + 1 :])
                    clauses = (*predicate.clauses[:place], new, *predicate.clauses[place + 1 :])
                    found.append(Predicate(clauses))
    return found
