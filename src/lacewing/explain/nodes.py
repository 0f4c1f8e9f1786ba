"""Explaining many nodes of a model: recorded site by site, from input to output.

The order matters: what is known of earlier nodes proposes predicates for later ones.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from lacewing.explain import calls
from lacewing.explain.library import Library
from lacewing.explain.node import Explanation, Proposer, explain_values
from lacewing.explain.predicate import Predicate
from lacewing.explain.records import Values, collect
from lacewing.explain.saliency import from_saliency
from lacewing.explain.upstream import from_weights
from lacewing.model.store import Model
from lacewing.progress import progress


def explain_nodes(
    model: Model,
    library: Library,
    nodes: Sequence[str],
    seed: int = 0,
    quiet: bool = True,
    random: bool = True,
) -> Iterator[tuple[Explanation, Values]]:
    """Explain nodes, in the order of the model's sites.

    Args:
        model: The model.
        library: Atoms of the text.
        nodes: Names.
        seed: Draws documents, labels and the random weights of the control.
        quiet: Whether to show no progress.
        random: Whether the same nodes with shuffled weights are a control; they cost a second pass.

    Yields:
        Each node's explanation and its values over the text.
    """
    known: dict[str, tuple[int, Predicate]] = {}
    other = calls.randomised(model, seed) if random else None
    done = 0
    models = [model, other] if other else [model]
    with (
        calls.quickly(*models),
        progress(f"explain {model.source}", len(nodes), "nodes", not quiet) as bar,
    ):
        twins = iter(collect(other, library.text, nodes)) if other else None
        for _, values in collect(model, library.text, nodes):
            controls = next(twins)[1] if twins else {}
            for node, level in values.items():
                proposers: list[Proposer] = [
                    partial(from_weights, model, library, node, known),
                    partial(from_saliency, model, library, node),
                ]
                found = explain_values(library, node, level, controls.get(node), proposers, seed)
                if found.firing is not None and found.card and found.card.scores["f1"] >= 0.5:
                    known[node] = found.firing.sign, found.predicate
                done += 1
                bar.update(done)
                yield found, {node: level}
