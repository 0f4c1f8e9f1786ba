"""Other circuits: how many that hardly overlap reach the target too?

*All Circuits Lead to Rome* and *Many Circuits, One Mechanism* (2026): a task mostly has several
faithful circuits. The search is run again with every node of the circuit forbidden that is inside
a block, its queries, keys, values and neurons; then with those of what that found forbidden too.
The reads and writes stay free, as all circuits of a model share its residual stream. One that is
found says that this circuit is a mechanism of the task, not the one.
"""

import dataclasses

import numpy as np

from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes, kept_at
from lacewing.circuit.parts import INSIDE
from lacewing.errors import DataError
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.pruning.node_search import Search, Wanted
from lacewing.verification.evidence import Evidence
from lacewing.verification.finding import Finding, LeftOut, judge
from lacewing.verification.searches import Found, searched

ROUNDS = 2
"""Searches, each without what the earlier ones found."""


def run(model: Model, circuit: Circuit, prompts: Evidence, quiet: bool) -> list[Finding | LeftOut]:
    """How many circuits reach the target without the inner nodes of those before.

    A search that cannot begin, such as where the full model misses the target, found nothing out.
    """
    config = dataclasses.replace(circuit.config.nodes_alone(), robust=False)
    every = site_widths(model.network.config)
    forbidden, sizes = inner_nodes({key: kept_at(circuit.nodes, key) for key in every}), []
    for _ in range(ROUNDS):
        wanted = Wanted(prompts.task, config, prompts.sets, forbidden=forbidden)
        if isinstance(reason := Search.begin(model, 0, wanted), DataError):
            return [LeftOut("alternatives", f"no search could begin: {reason}")]
        (found,) = searched(model, [wanted], prompts.searches, quiet=quiet)
        if not isinstance(found, Found):
            break
        sizes.append(found.n_nodes)
        more = inner_nodes(found.nodes)
        forbidden = {key: np.union1d(kept, more[key]) for key, kept in forbidden.items()}
    said = f", of {' and '.join(map(str, sizes))} nodes" if sizes else ""
    return [
        judge(
            "alternatives",
            float(len(sizes)),
            0.0,
            at_most=True,
            unit="circuits",
            n=ROUNDS,
            control=float(circuit.n_nodes),
            control_name="nodes of this circuit",
            meaning=(
                f"other circuits that reach the target and share no query, key, value or neuron "
                f"with this one or each other{said}"
            ),
        )
    ]


def inner_nodes(nodes: Nodes) -> dict[str, np.ndarray]:
    """The nodes inside blocks; none at the sites of the residual stream."""
    none = np.zeros(0, dtype=np.int32)
    return {key: kept if key.endswith(INSIDE) else none for key, kept in nodes.items()}
