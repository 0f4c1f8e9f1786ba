"""How large residual streams are: what norms divide by, at every bridge, in both models."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lacewing.bridges.streams import entering, streams
from lacewing.model.transformer import Transformer

TOGETHER = 16
"""Windows run at once."""


@torch.no_grad()
def norms_of(
    dense: Transformer, sparse: Transformer, windows: Int[Tensor, "sequence token"]
) -> Float[Tensor, "row 2"]:
    """The root mean square of the dense and the sparse stream, mean over the tokens of some text.

    Args:
        dense: One model.
        sparse: The other.
        windows: Text, token ids.
    """
    totals = torch.zeros(2 * dense.config.n_layer + 1, 2, dtype=torch.float64)
    for piece in torch.split(windows, TOGETHER):
        piece = piece.to(dense.embedding().device)
        for number, network in enumerate((dense, sparse)):
            for site, value in enumerate(streams(network, piece)[0]):
                size = entering(network, site, value).double().square().mean(-1).sqrt()
                totals[site, number] += size.sum().cpu()
    return (totals / windows.numel()).float()
