"""Nodes of the sparse model as directions in the dense one.

A node is a channel that a sublayer of the sparse model reads, after its norm. The bridge stands
before the norms, so a unit of the node is worth

    decoder column x (RMS of the sparse stream / RMS of the dense stream) x dense gain / sparse gain

of what the dense model's sublayer reads (paper A.4; the paper folds the gains into the next matrix
first, which is the same). The RMS are means over training text. The unembedding's bridge has no
norm after it, and its column counts as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.bridges.folder import Coupling
from lacewing.bridges.maps import node_at, site_key
from lacewing.bridges.streams import own_network
from lacewing.errors import DataError
from lacewing.model.transformer import Block, Transformer


@dataclass(frozen=True)
class Direction:
    """What one unit of a node is in the dense model."""

    node: str
    key: str
    """The site that reads, the same in both models."""
    channel: int
    """Of the sparse model's site."""
    row: Float[Tensor, " channel"]
    """In the residual channels of the dense model's site."""


def direction(coupling: Coupling, node: str) -> Direction:
    """A node's direction.

    Args:
        coupling: Both models and their bridges.
        node: Such as 1.attn_in.37, of the sparse model.

    Raises:
        DataError: no bridge stands there, or the node is always zero.
    """
    sizes = coupling.facts.sizes
    site, channel = node_at(node, sizes)
    row = coupling.bridges.at(site).decoder.weight[:, channel].detach()
    if site < 2 * sizes.n_layer:
        dense, sparse = (
            gain_of(own_network(m, "dense"), site) for m in (coupling.dense, coupling.sparse)
        )
        if not float(sparse[channel]):
            raise DataError(f"{node} has gain 0 in {coupling.sparse.source}: it is always zero")
        there, here = coupling.norms[site].tolist()
        row = row * (here / there) * dense / sparse[channel]
    return Direction(node, site_key(site, sizes.n_layer), channel, row.clone())


def gain_of(network: Transformer, site: int) -> Float[Tensor, " channel"]:
    """The gains of the norm that stands behind a bridge."""
    layer, part = divmod(site, 2)
    block = cast("Block", network.blocks[layer])
    return (block.ln_2 if part else block.ln_1).weight.detach()


def random_rows(row: Tensor, count: int, seed: int) -> list[Tensor]:
    """Directions drawn at random, as long as one that is given."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(count, len(row), generator=generator)
    return list(drawn * (row.norm() / drawn.norm(dim=1, keepdim=True)))


def basis(rows: Sequence[Tensor]) -> Float[Tensor, "channel _"]:
    """An orthonormal basis of what some directions span; columns are none where none are given."""
    stacked = torch.stack(list(rows)).double()
    _, sizes, right = torch.linalg.svd(stacked, full_matrices=False)
    rank = int((sizes > 1e-6 * sizes.max().clamp_min(1e-30)).sum())
    return right[:rank].T.float()
