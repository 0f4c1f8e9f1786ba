"""Random circuits, the control that most tests have."""

import numpy as np

from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes
from lacewing.model.sites import site_widths
from lacewing.model.store import Model

RANDOM_CIRCUITS = 20
"""Random circuits that the short test compares with."""
CONTROL_PAIRS = 96
"""Test pairs, the first ones, that random circuits are measured on and compared with."""


def random_nodes(model: Model, circuit: Circuit, seed: int, count: int) -> list[Nodes]:
    """The nodes of random circuits with as many nodes at every site as a circuit, all other ones.

    Where a circuit has more than half of a site, its controls have all of the rest.
    """
    generator = np.random.default_rng(seed)
    others = {
        key: np.setdiff1d(np.arange(width), circuit.nodes[key])
        for key, width in site_widths(model.network.config).items()
    }

    def drawn(key: str, wanted: int) -> np.ndarray:
        kept = generator.choice(others[key], min(wanted, len(others[key])), replace=False)
        return np.sort(kept).astype(np.int32)

    return [
        {key: drawn(key, len(kept)) for key, kept in circuit.nodes.items()} for _ in range(count)
    ]


CONTROLS = 8
"""Random circuits that a test is repeated on."""
