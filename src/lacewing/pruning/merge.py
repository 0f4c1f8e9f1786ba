"""Merge circuits of one task: prune the union of two, often smaller than either.

    1 the smallest of the circuits found so far, and of those it was not merged with yet the one
      that adds most to it
    2 all their components are one circuit, from which single ones go until none can
    3 again, until several in a row gave none that is smaller

Where pruning ends depends on what went first. Two circuits that do a task by different paths leave
a choice between them at every node, which neither search had; combining good solutions and
improving what comes of it is known as path relinking (Glover, Laguna and Marti 2000).
"""

from collections.abc import Callable, Iterable
from itertools import combinations

from lacewing.circuit.circuit import Circuit
from lacewing.circuit.components import Component, component_name, components_of
from lacewing.model.store import Model
from lacewing.pruning.elimination import eliminated
from lacewing.pruning.reachability import circuit_of_components
from lacewing.pruning.state import State
from lacewing.tasks.batch import Prompts

POOL = 8
"""Circuits that are remembered, those with fewest edges."""
FRUITLESS = 4
"""Merges in a row that give none smaller, after which it ends."""


def merged(
    model: Model,
    circuits: Iterable[Circuit],
    prompts: Prompts,
    say: Callable[[str], None] = lambda words: None,
    state: State | None = None,
) -> Circuit:
    """The smallest of some circuits and of what comes of merging them.

    Args:
        model: Their model.
        circuits: Of one task and target, which they reach on these prompts.
        prompts: What decides.
        say: Called before every merge.
        state: Where it goes on after an interruption.
    """
    pool, tried, fruitless = _smallest({components_of(one): one for one in circuits}), set(), 0

    def worth(pair: tuple[frozenset[Component], frozenset[Component]]) -> tuple[int, int]:
        smaller, larger = pair
        return -pool[smaller].n_edges, len(larger - smaller)

    while fruitless < FRUITLESS:
        pairs = (pair for pair in combinations(pool, 2) if frozenset(pair) not in tried)
        pair = max(pairs, key=worth, default=None)
        if pair is None:
            break
        tried.add(frozenset(pair))
        best = next(iter(pool.values()))
        say(f"{best.n_edges} edges at least; merges without a smaller circuit: {fruitless}")
        fruitless += 1
        found = eliminated(
            model,
            circuit_of_components(model.network, best, frozenset().union(*pair)),
            prompts,
            state,
            f"merge.{len(tried)}",
        )
        if found is not None:
            pool = _smallest(pool | {components_of(found): found})
            fruitless = 0 if found.n_edges < best.n_edges else fruitless
    return next(iter(pool.values()))


def _smallest(pool: dict[frozenset[Component], Circuit]) -> dict[frozenset[Component], Circuit]:
    """Those with the fewest edges, then nodes, in this order."""

    def size(item: tuple[frozenset[Component], Circuit]) -> tuple[int, int, list[str]]:
        return item[1].n_edges, item[1].n_nodes, sorted(map(component_name, item[0]))

    return dict(sorted(pool.items(), key=size)[:POOL])
