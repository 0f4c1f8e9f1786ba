"""Random circuits, the control that most tests have."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes
from lacewing.circuit.parts import nodes_of_parts, random_parts
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.statistics import bootstrap
from lacewing.verification.finding import reaches

RANDOM_CIRCUITS = 20
"""Random circuits that the short test compares with."""
CONTROL_PAIRS = 96
"""Test pairs, the first ones, that random circuits are measured on and compared with."""
CONTROLS = 8
"""Random circuits that other tests are repeated on."""

ROUNDING = 1e-5
"""Nats: by less than this, float32 losses of one and the same thing may differ."""


def random_nodes(model: Model, circuit: Circuit, seed: int, count: int) -> list[Nodes]:
    """The nodes of random circuits with as many nodes at every site as a circuit, all other ones.

    Where a circuit has more than half of a site, its controls have all of the rest. Of a circuit of
    heads and MLPs they have as many other heads and MLPs (see `circuit.parts`).
    """
    generator = np.random.default_rng(seed)
    if circuit.parts is not None:
        config, parts = model.network.config, circuit.parts
        drawn_parts = (random_parts(parts, config, generator) for _ in range(count))
        return [nodes_of_parts(drawn, config) for drawn in drawn_parts]
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


def margin(
    own: Float[np.ndarray, " pair"],
    random: Sequence[Float[np.ndarray, " pair"]],
    *,
    less: bool,
    seed: int,
) -> tuple[float, float]:
    """How much better a circuit does than random circuits, in nats: a 95 % interval over pairs.

    Of all random circuits, that of the one that comes nearest: with the lowest lower end.

    Args:
        own: The circuit's loss of every pair.
        random: Those of each random circuit, on the same pairs.
        less: Whether less loss is better.
        seed: Of the bootstrap.
    """
    better = [(other - own) if less else (own - other) for other in random]
    return min(bootstrap(differences, seed=seed) for differences in better)


def beats(interval: tuple[float, float]) -> bool | None:
    """Whether a margin lies above zero, the whole of it; none where it straddles zero."""
    low, high = interval
    return reaches(low, low, high, ROUNDING, at_most=False)
