"""Latents as nodes, as the page shows them: what each is, and where it reads and writes.

A node of a model whose nodes are latents (`lacewing.sae.splice`) is a latent, or a channel of what
the autoencoder misses, its error. A latent reads along a row of the encoder and writes along a row
of the decoder; a channel, of an error or of a model as it is, along itself.
"""

from typing import Literal

from torch import Tensor

from lacewing.model.store import Model
from lacewing.model.transformer import Transformer, own
from lacewing.sae.autoencoder import Autoencoder
from lacewing.sae.splice import SplicedNetwork
from lacewing.viewer.answers import Along, ChannelWeight, Latent

Part = Literal["channel", "latent", "error"]
Direction = int | Tensor
"""One channel, or weights over all channels of a site."""
SHOWN = 8
"""Channels told of an encoder's or a decoder's row, the largest."""


def under(model: Model) -> Transformer:
    """The network of lacewing's own that runs, under latents or as it is.

    Raises:
        ConfigError: it is another's.
    """
    network = model.network
    return own(network.inner if isinstance(network, SplicedNetwork) else network, "this")


def counts(model: Model) -> dict[str, int] | None:
    """Latents of every site that has some; none where nodes are channels."""
    return model.network.counts if isinstance(model.network, SplicedNetwork) else None


def part_of(model: Model, key: str, channel: int) -> tuple[Part, int]:
    """What a node is, and its number among those of its kind at its site.

    Example:
        >>> part_of(load("builtin:taught-tiny"), "0.mlp_out", 3)
        ('channel', 3)
    """
    sae = _sae(model, key)
    if sae is None:
        return "channel", channel
    return ("latent", channel) if channel < sae.latents else ("error", channel - sae.latents)


def reading(model: Model, key: str, channel: int) -> tuple[str, Direction]:
    """The site that a node reads, and along what: for what is no latent, itself."""
    sae, (part, number) = _sae(model, key), part_of(model, key, channel)
    return (sae.reads, sae.encoder[channel]) if sae and part == "latent" else (key, number)


def writing(model: Model, key: str, channel: int) -> Direction:
    """Along what a node writes at its site."""
    sae, (part, number) = _sae(model, key), part_of(model, key, channel)
    return sae.decoder[channel] if sae and part == "latent" else number


def along(matrix: Tensor, direction: Direction) -> Tensor:
    """A matrix [row, channel] along a direction, [row]; channels beyond it count nothing."""
    if isinstance(direction, int):
        return matrix[:, direction]
    return matrix @ direction[: matrix.shape[1]]


def across(matrix: Tensor, direction: Direction) -> Tensor:
    """A matrix [channel, column] seen from a direction over its rows, [column]."""
    return matrix[direction] if isinstance(direction, int) else direction @ matrix


def bias(model: Model, key: str, channel: int) -> float | None:
    """The bias of a latent's encoder; none where the node is no latent."""
    sae = _sae(model, key)
    if sae is None or channel >= sae.latents:
        return None
    return float(sae.encoder_bias[channel])


def told(model: Model, key: str, channel: int) -> Latent | None:
    """What a panel says of a latent or an error channel; none of other nodes."""
    sae = _sae(model, key)
    if sae is None:
        return None
    encoder = decoder = None
    if channel < sae.latents:
        encoder = Along(site=sae.reads, channels=_largest(sae.encoder[channel]))
        decoder = Along(site=sae.site, channels=_largest(sae.decoder[channel]))
    return Latent(latents=sae.latents, kind=sae.activation, encoder=encoder, decoder=decoder)


def _sae(model: Model, key: str) -> Autoencoder | None:
    return model.network.saes.get(key) if isinstance(model.network, SplicedNetwork) else None


def _largest(row: Tensor) -> list[ChannelWeight]:
    order = row.abs().topk(min(SHOWN, len(row))).indices.tolist()
    return [ChannelWeight(channel=c, weight=round(float(row[c]), 5)) for c in order if row[c] != 0]
