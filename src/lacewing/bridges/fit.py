"""Bridges to begin with: both maps of every bridge by least squares over some text.

Ridge regression in float64, from sums over the tokens alone, so that text of any length takes the
memory of a few square matrices. AbsTopK is left out of it.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lacewing.bridges.maps import Bridges
from lacewing.bridges.streams import entering, streams
from lacewing.model.transformer import Transformer

RIDGE = 1e-3
"""Added to the diagonal, relative to its mean."""
TOGETHER = 16
"""Windows run at once."""


class Sums:
    """Sums of products of what is read, with itself and with what is to be said."""

    def __init__(self, reads: int, says: int) -> None:
        self.own = torch.zeros(reads + 1, reads + 1, dtype=torch.float64)
        self.cross = torch.zeros(reads + 1, says, dtype=torch.float64)

    def add(self, x: Float[Tensor, "row channel"], y: Float[Tensor, "row _"]) -> None:
        """Take some tokens in."""
        whole = torch.cat([x.double().cpu(), torch.ones(len(x), 1, dtype=torch.float64)], 1)
        self.own += whole.T @ whole
        self.cross += whole.T @ y.double().cpu()

    def solved(self) -> tuple[Float[Tensor, "row column"], Float[Tensor, " row"]]:
        """Weight [said, read] and bias."""
        size = len(self.own) - 1
        ridge = RIDGE * self.own.diagonal()[:-1].mean().clamp_min(1e-12)
        penalty = torch.zeros_like(self.own)
        penalty.diagonal()[:size] = ridge
        solution = torch.linalg.solve(self.own + penalty, self.cross)
        return solution[:-1].T.float(), solution[-1].float()


@torch.no_grad()
def fit(
    dense: Transformer,
    sparse: Transformer,
    bridges: Bridges,
    windows: Int[Tensor, "sequence token"],
) -> None:
    """Set the maps to what fits the residual streams best.

    Args:
        dense: One model.
        sparse: The other.
        bridges: What is set.
        windows: Text, token ids.
    """
    sizes = bridges.sizes
    up = [Sums(sizes.d_sparse, sizes.d_dense) for _ in range(sizes.count)]
    down = [Sums(sizes.d_dense, sizes.d_sparse) for _ in range(sizes.count)]
    device = dense.embedding().device
    for piece in torch.split(windows, TOGETHER):
        piece = piece.to(device)
        there, _ = streams(dense, piece)
        here, _ = streams(sparse, piece)
        for site in range(sizes.count):
            x, y = there[site].flatten(0, 1), here[site].flatten(0, 1)
            up[site].add(y, x)
            down[site].add(x, entering(sparse, site, here[site]).flatten(0, 1))
    for site in range(sizes.count):
        bridge = bridges.at(site)
        for linear, sums in ((bridge.encoder, down[site]), (bridge.decoder, up[site])):
            weight, bias = sums.solved()
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
