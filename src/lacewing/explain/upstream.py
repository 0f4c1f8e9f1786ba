"""Predicates from the weights: what the nodes before a node mean, composed along its edges.

In a sparse model few edges enter a node, so its meaning can be read off theirs: one of them, two
with an AND or an OR, or what happened before for an attention output. A node that reads the
residual stream is also offered the tokens whose embedding is large there. All are only proposals:
select text decides.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from lacewing.explain import calls
from lacewing.explain.firing import Firing, otsu
from lacewing.explain.library import Library
from lacewing.explain.predicate import Kind, Literal, Predicate, Since, Token
from lacewing.model.sites import parse_node
from lacewing.model.store import Model

SOURCES = 4
"""Edges whose sources are composed."""
TOKENS = 24
LONGEST = 3
"""Clauses and literals of a composition."""

Known = Mapping[str, tuple[int, Predicate]]
"""Nodes explained so far: the sign of their side, and where it fires."""


def from_weights(
    model: Model,
    library: Library,
    node: str,
    known: Known,
    values: Float[np.ndarray, " token"],
    firing: Firing,
) -> list[Predicate]:
    """Compositions for one side of a node; `values` have its sign applied."""
    key, channel = parse_node(node)
    found = []
    table = calls.embedding(model, key, channel)
    if table is not None:
        found += _tokens(library, firing.sign * table.numpy())
    sources: list[Predicate] = []
    for source, weight in calls.incoming(model, key, channel):
        if source in known and len(sources) < SOURCES:
            sign, predicate = known[source]
            if predicate.clauses and sign * weight * firing.sign > 0:
                sources.append(predicate)
    found += sources
    for i, first in enumerate(sources):
        for second in sources[i + 1 :]:
            found += [p for p in (_either(first, second), _both(first, second)) if p]
    if key.endswith("attn_out"):
        found += [made for predicate in sources for made in _happened(predicate)]
    return list(dict.fromkeys(found))


def _tokens(library: Library, table: Float[np.ndarray, " vocab"]) -> list[Predicate]:
    """The tokens whose embedding is large, of those that the text has."""
    counts = np.bincount(library.text.ids[library.fit], minlength=len(table))
    there = np.flatnonzero(counts)
    order = there[np.argsort(-table[there], kind="stable")]
    large = order[table[order] > max(otsu(table[there]), 0.0)][:TOKENS]
    found = []
    for size in sorted({1, len(large) // 2, len(large)} - {0}):
        names = tuple(dict.fromkeys(library.text.pieces[i] for i in large[:size]))
        if all(names) and names:
            found.append(Predicate(((Literal(Token(0, names)),),)))
    return found


def _either(first: Predicate, second: Predicate) -> Predicate | None:
    clauses = tuple(dict.fromkeys((*first.clauses, *second.clauses)))
    return Predicate(clauses) if len(clauses) <= LONGEST else None


def _both(first: Predicate, second: Predicate) -> Predicate | None:
    """The AND of two predicates of one clause each."""
    if len(first.clauses) != 1 or len(second.clauses) != 1:
        return None
    literals = tuple(dict.fromkeys((*first.clauses[0], *second.clauses[0])))
    return Predicate((literals,)) if len(literals) <= LONGEST else None


def _happened(predicate: Predicate) -> list[Predicate]:
    """What attention can carry on: that something held before, until a line or bracket ends."""
    literals = [clause[0] for clause in predicate.clauses if len(clause) == 1]
    return [
        Predicate(((Literal(Since(literal.atom, Kind(0, closed))),),))
        for literal in literals
        if not literal.negated and not isinstance(literal.atom, Since)
        for closed in ("newline", "closes", "quoted")
    ]
