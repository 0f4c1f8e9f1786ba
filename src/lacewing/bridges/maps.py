"""The bridges of two models: at every sublayer's input a map each way, and at the unembedding's.

    encoder   dense -> sparse   AbsTopK(E x + e)
    decoder   sparse -> dense   D x + d

Bridge s stands before sublayer s, on the residual stream before the norm: 2i is attention of layer
i, 2i + 1 its MLP, and 2 n_layer is the unembedding (sparse_pretrain has that one too; the paper
names the sublayers alone). Source: paper section 3.3 and A.4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lacewing.errors import DataError
from lacewing.kernels.abs_topk import abs_topk
from lacewing.model.sites import FINAL_SITE, parse_node

READS = ("attn_in", "mlp_in")
"""The sites that read the residual stream, in the order of their sublayers."""


class Bridge(nn.Module):
    """Both maps at one place."""

    def __init__(self, d_dense: int, d_sparse: int, kept: int) -> None:
        super().__init__()
        self.kept = kept
        self.encoder = nn.Linear(d_dense, d_sparse)
        self.decoder = nn.Linear(d_sparse, d_dense)

    def encode(self, x: Float[Tensor, "*row channel"]) -> Float[Tensor, "*row _"]:
        """What the sparse model's residual stream would be."""
        return abs_topk(self.encoder(x).float(), self.kept)

    def decode(self, x: Float[Tensor, "*row channel"]) -> Float[Tensor, "*row _"]:
        """What the dense model's residual stream would be."""
        said: Tensor = self.decoder(x).float()
        return said


@dataclass(frozen=True)
class Sizes:
    """How large the bridges of two models are."""

    n_layer: int
    d_dense: int
    d_sparse: int
    kept: int
    """Channels that AbsTopK keeps."""

    @property
    def count(self) -> int:
        """Bridges: one for each sublayer, and the unembedding's."""
        return 2 * self.n_layer + 1

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of the bridges by name."""
        found: dict[str, tuple[int, ...]] = {}
        for number in range(self.count):
            found[f"sites.{number}.encoder.weight"] = (self.d_sparse, self.d_dense)
            found[f"sites.{number}.encoder.bias"] = (self.d_sparse,)
            found[f"sites.{number}.decoder.weight"] = (self.d_dense, self.d_sparse)
            found[f"sites.{number}.decoder.bias"] = (self.d_dense,)
        return found


class Bridges(nn.Module):
    """All bridges of two models."""

    def __init__(self, sizes: Sizes) -> None:
        """Draw them: weights of variance 1 / width, biases 0."""
        super().__init__()
        self.sizes = sizes
        self.sites = nn.ModuleList(
            Bridge(sizes.d_dense, sizes.d_sparse, sizes.kept) for _ in range(sizes.count)
        )
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, 0, parameter.shape[1] ** -0.5)

    def at(self, site: int) -> Bridge:
        """The bridge before a sublayer."""
        return cast("Bridge", self.sites[site])

    def tensors(self) -> dict[str, Tensor]:
        """Its numbers by name."""
        return {name: t.detach().cpu() for name, t in self.state_dict().items()}


class Coupled(nn.Module):
    """What is trained together: the bridges, and the sparse model where that learns."""

    def __init__(self, network: nn.Module | None, bridges: Bridges) -> None:
        super().__init__()
        self.network, self.bridges = network, bridges


def kept_of(fraction: float | int, width: int) -> int:
    """How many channels AbsTopK keeps of a width."""
    return max(1, int(fraction * width))


def site_key(site: int, n_layer: int) -> str:
    """The site of the model that reads the residual stream where a bridge stands.

    Example:
        >>> [site_key(s, 1) for s in range(3)]
        ['0.attn_in', '0.mlp_in', 'resid_final']
    """
    layer, part = divmod(site, 2)
    return FINAL_SITE if layer == n_layer else f"{layer}.{READS[part]}"


def site_of(key: str, n_layer: int) -> int:
    """The bridge where a site reads the residual stream.

    Raises:
        DataError: no bridge stands there.
    """
    known = [site_key(site, n_layer) for site in range(2 * n_layer + 1)]
    if key not in known:
        raise DataError(
            f"no bridge stands at {key}: bridges join the residual streams, at "
            f"{_listed(known)}; name a node there, such as {known[0]}.5"
        )
    return known.index(key)


def node_at(node: str, sizes: Sizes) -> tuple[int, int]:
    """The bridge and the residual channel of a node that the sparse model reads.

    Raises:
        DataError: it is no node, no bridge stands there, or the channel is no residual one.
    """
    key, channel = parse_node(node)
    site = site_of(key, sizes.n_layer)
    if channel >= sizes.d_sparse:
        raise DataError(
            f"{node} is none of the {sizes.d_sparse} residual channels of the sparse model: "
            "positions and channels beyond cross no bridge"
        )
    return site, channel


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words) if len(words) < 12 else f"{words[0]} to {words[-2]} and {words[-1]}"


def drawn(sizes: Sizes, seed: int) -> Bridges:
    """Bridges drawn from a seed, whatever was drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Bridges(sizes)
