"""Predicates from forward passes: which tokens before a firing does the node need?

As Neuron2Graph and OpenAI's rewrite of it: in the contexts where the node is largest, each token is
replaced by a filler; one without which less than half is left is needed. Contexts that need the
same places make a trie read from right to left; each of its shapes becomes a conjunction of sets.
"""

import numpy as np
import torch
from jaxtyping import Float

from lacewing.explain import calls
from lacewing.explain.firing import Firing
from lacewing.explain.library import Library
from lacewing.explain.predicate import Clause, Literal, Predicate, Token
from lacewing.model.sites import parse_node
from lacewing.model.store import Model

CONTEXTS, BACK = 10, 5
NEEDED = 0.5
"""Share of the value that may be left without a token that counts as needed."""
LITERALS = 3


def from_saliency(
    model: Model,
    library: Library,
    node: str,
    values: Float[np.ndarray, " token"],
    firing: Firing,
) -> list[Predicate]:
    """Conjunctions of token sets for one side of a node; `values` have its sign applied."""
    text, fit = library.text, library.fit
    order = np.argsort(-values[fit], kind="stable")
    places = [int(at) for at in order[: 20 * CONTEXTS] if values[at] > firing.threshold]
    # One context a window, else the same text counts several times.
    places = [places[i] for i in np.unique(text.window[places], return_index=True)[1]][:CONTEXTS]
    if not places:
        return []
    counts = np.bincount(text.ids[fit], minlength=len(text.pieces))
    filler = int(np.argsort(-counts, kind="stable")[0])
    rows, meant = [], []
    for at in places:
        begin = int(text.start[at])
        own = torch.from_numpy(text.ids[begin : at + 1].astype(np.int64))
        for back in range(min(BACK, at - begin + 1)):
            changed = own.clone()
            changed[len(own) - 1 - back] = filler
            rows.append(changed)
            meant.append((at, back))
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    key, channel = parse_node(node)
    seen = calls.activations(model, [key], batch)[key]
    last = torch.tensor([len(row) - 1 for row in rows])
    left = firing.sign * seen[torch.arange(len(rows)), last, channel].numpy()
    needed: dict[int, list[int]] = {at: [] for at in places}
    rest = float(np.median(values[fit]))
    for (at, back), value in zip(meant, left, strict=True):
        if value - rest < NEEDED * (values[at] - rest):
            needed[at].append(back)
    return _tries(library, needed)


def _tries(library: Library, needed: dict[int, list[int]]) -> list[Predicate]:
    """One clause for each set of needed places, its tokens joined; then all of them as an OR."""
    text = library.text
    shapes: dict[tuple[int, ...], list[int]] = {}
    for at, backs in needed.items():
        if backs:
            shapes.setdefault(tuple(sorted(backs)[:LITERALS]), []).append(at)
    clauses: list[Clause] = []
    for shape, where in sorted(shapes.items(), key=lambda item: -len(item[1])):
        literals = []
        for back in shape:
            names = dict.fromkeys(text.pieces[text.ids[at - back]] for at in where)
            literals.append(Literal(Token(back, tuple(name for name in names if name))))
        if all(literal.atom.tokens for literal in literals if isinstance(literal.atom, Token)):
            clauses.append(tuple(literals))
    found = [Predicate((clause,)) for clause in clauses]
    return found + ([Predicate(tuple(clauses[:LITERALS]))] if len(clauses) > 1 else [])
