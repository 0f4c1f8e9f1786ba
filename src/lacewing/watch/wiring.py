"""The weights that write a circuit's nodes, kept beside a reference: which of them have changed.

What a monitor sees of a changed model are values. Which weight is behind them the weights say, and
a monitor has them at hand. A change is as large as what it moves at its destination: the difference
of the weight times the usual size of the node it reads.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from lacewing.circuit.circuit import Circuit
from lacewing.model.families import WRITERS
from lacewing.model.sites import FINAL_SITE
from lacewing.model.transformer import Transformer
from lacewing.model.weights import writer

ANSWERS = "answers"
"""What stands for the site of the answer tokens, which the unembedding writes."""
LEAST = 1e-4
"""A change that moves its destination by less is none: rounding of the weights, say."""

Wiring = Mapping[str, Tensor]
"""By site key, [node source + 1]: the weights that write each kept node, and its bias."""


def wiring(network: Transformer, circuit: Circuit) -> dict[str, Tensor]:
    """The weights that write a circuit's nodes now."""
    found = {}
    for key, channels in circuit.nodes.items():
        if key.partition(".")[2] in WRITERS and len(channels):
            rows = torch.from_numpy(channels.astype("int64"))
            weight, bias = writer(network, key)
            found[key] = torch.cat([weight[rows], bias[rows, None]], dim=1).clone()
    head = network.lm_head.weight[list(circuit.answers)]
    found[ANSWERS] = torch.cat([head, torch.zeros(len(head), 1)], dim=1).clone()
    return found


def shapes(network: Transformer, circuit: Circuit) -> dict[str, tuple[int, ...]]:
    """The shapes of a circuit's wiring."""
    return {key: tuple(part.shape) for key, part in wiring(network, circuit).items()}


def changes(
    before: Wiring, after: Wiring, circuit: Circuit, sizes: Mapping[str, Tensor], names: list[str]
) -> list[tuple[str, float]]:
    """Weights that have changed, the one first that moves its destination most.

    Args:
        before: The reference's.
        after: The same weights now.
        circuit: The circuit.
        sizes: Usual size of every node by site key: the root of the mean of its square.
        names: What the answer tokens are called.

    Returns:
        An edge (`0.attn_v.3 -> 0.attn_out.7`) or the bias of a node, and how far it is moved.
    """
    found = []
    for key, was in before.items():
        source = source_of(key) or key
        size = torch.cat([sizes[source], torch.ones(1)])
        moved = (after[key] - was).abs() * size
        for row, column in (moved > LEAST).nonzero().tolist():
            end = names[row] if key == ANSWERS else f"{key}.{circuit.nodes[key][row]}"
            start = "bias" if column == len(size) - 1 else f"{source}.{column}"
            found.append((f"{start} -> {end}", float(moved[row, column])))
    return sorted(found, key=lambda one: -one[1])


def source_of(key: str) -> str | None:
    """The site that the matrix behind a site reads; none where no matrix writes it.

    >>> source_of("0.attn_out"), source_of("answers"), source_of("0.attn_in")
    ('0.attn_v', 'resid_final', None)
    """
    if key in (ANSWERS, FINAL_SITE):
        return FINAL_SITE
    layer, _, site = key.partition(".")
    return f"{layer}.{WRITERS[site].reads}" if site in WRITERS else None
