"""Random circuits, the control that most tests have."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float

from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes
from lacewing.circuit.parts import nodes_of_parts, random_parts
from lacewing.model.hooks import record
from lacewing.model.sites import has_latents, site_widths
from lacewing.model.store import Model
from lacewing.statistics import bootstrap
from lacewing.tasks.batch import encode
from lacewing.verification.finding import reaches

RANDOM_CIRCUITS = 20
"""Random circuits that the short test compares with."""
CONTROL_PAIRS = 96
"""Test pairs, the first ones, that random circuits are measured on and compared with."""
CONTROLS = 8
"""Random circuits that other tests are repeated on."""
HEARD, AT_ONCE = 32, 4
"""Test pairs, the first ones, on which latents of a random circuit have to speak; pairs at once."""

ROUNDING = 1e-5
"""Nats: by less than this, float32 losses of one and the same thing may differ."""


def random_nodes(model: Model, circuit: Circuit, seed: int, count: int) -> list[Nodes]:
    """The nodes of random circuits with as many nodes at every site as a circuit, all other ones.

    Where a circuit has more than half of a site, its controls have all of the rest. Of a circuit of
    heads and MLPs they have as many other heads and MLPs (see `circuit.parts`). Most latents are
    silent on a task's prompts, and nothing is lost without them: of these, controls have only those
    that speak there, and others where there are too few.
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

    heard = _heard(model, circuit) if has_latents(model.network.config) else {}

    def drawn(key: str, wanted: int) -> np.ndarray:
        there = others[key]
        first = there[heard[key][there]] if key in heard else there
        kept = generator.choice(first, min(wanted, len(first)), replace=False)
        if len(kept) < min(wanted, len(there)):
            silent = np.setdiff1d(there, first)
            more = min(wanted, len(there)) - len(kept)
            kept = np.concatenate([kept, generator.choice(silent, more, replace=False)])
        return np.sort(kept).astype(np.int32)

    return [
        {key: drawn(key, len(kept)) for key, kept in circuit.nodes.items()} for _ in range(count)
    ]


def _heard(model: Model, circuit: Circuit) -> dict[str, Bool[np.ndarray, " channel"]]:
    """Which nodes of each site speak anywhere in a circuit's first test pairs."""
    network, pairs = model.network, circuit.pairs[:HEARD]
    widths = site_widths(network.config)
    heard = {key: np.zeros(width, dtype=bool) for key, width in widths.items() if width}
    for start in range(0, len(pairs), AT_ONCE):
        prompts = encode(pairs[start : start + AT_ONCE], model.tokenizer, network.config.context)
        there = torch.arange(prompts.tokens.shape[1]) <= prompts.last[:, None]
        with torch.no_grad(), record(network, heard) as seen:
            network(prompts.tokens)  # at every token: what only ends need is not all that speaks
        for key in heard:
            heard[key] |= (seen[key][there] != 0).any(0).numpy()
    return heard


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
