"""Bridges as autoencoders of the dense model: what they say of it, as nodes that can be pruned.

At every site of the dense model that has a bridge, encoder and decoder together write what its
sublayer reads as a sum of few directions, one for each residual channel of the sparse model:

    stream   = value / dense gain x RMS of the dense stream
    latents  = AbsTopK(E stream + e) / RMS of the sparse stream
    value    = (D latents x RMS of the sparse stream + d) x dense gain / RMS of the dense stream

which is an autoencoder with AbsTopK, so `lacewing.sae` measures, saves and splices it like any
other: latent j of 1.mlp_in is node 1.mlp_in.j of the sparse model, without its gain, with the
direction that `directions` gives it. Bridges stand before the norms and sites after them, so RMS
are means over training text, as there. Position channels of the dense model have no latent; the
unembedding's bridge has no norm after it, and no RMS or gain counts there.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.bridges.directions import gain_of
from lacewing.bridges.folder import Coupling
from lacewing.bridges.maps import site_key
from lacewing.bridges.streams import own_network
from lacewing.model.sites import site_widths
from lacewing.sae.autoencoder import Autoencoder
from lacewing.sae.config import SaeConfig
from lacewing.sae.folder import Facts
from lacewing.sae.train import keep


def autoencoders(coupling: Coupling) -> list[Autoencoder]:
    """One autoencoder of the dense model for every bridge, from input to output.

    Args:
        coupling: Both models and their bridges.
    """
    return [_autoencoder(coupling, site) for site in range(coupling.facts.sizes.count)]


def as_latents(
    coupling: Coupling,
    output: str | Path,
    config: SaeConfig | None = None,
    corpus: str | None = None,
    *,
    quiet: bool = False,
) -> Facts:
    """Measure bridges as autoencoders of the dense model, and save them: `sae:OUTPUT` opens them.

    Args:
        coupling: Both models and their bridges.
        output: The folder; must not exist.
        config: How much held-out text, and its seed; the rest says nothing.
        corpus: Text; by default that of the bridges.
        quiet: Report no progress.

    Raises:
        ArtifactError: there is something at `output`.
        DataError: too little text, or what a bridge says is not finite.
    """
    saes, text = autoencoders(coupling), corpus or coupling.facts.corpus
    return keep(coupling.dense, saes, output, config or SaeConfig(), text, quiet=quiet)


def _autoencoder(coupling: Coupling, site: int) -> Autoencoder:
    sizes, bridge = coupling.facts.sizes, coupling.bridges.at(site)
    key = site_key(site, sizes.n_layer)
    more = site_widths(coupling.dense.network.config)[key] - sizes.d_dense
    in_, out, scale = torch.ones(sizes.d_dense), torch.ones(sizes.d_dense), 1.0
    if site < 2 * sizes.n_layer:
        there, here = coupling.norms[site].tolist()
        gain = gain_of(own_network(coupling.dense, "dense"), site)
        # A channel of gain 0 is always zero: nothing can be read from it.
        in_, out = torch.where(gain == 0, 0, there / gain), gain / there
        scale = here
    encoder, decoder = bridge.encoder, bridge.decoder
    bias = _wider(decoder.bias.detach() * out, more)
    return Autoencoder(
        site=key,
        reads=key,
        activation="abstopk",
        k=sizes.kept,
        encoder=_wider(encoder.weight.detach() * in_ / scale, more),
        encoder_bias=encoder.bias.detach() / scale,
        decoder=_wider(decoder.weight.detach().T * scale * out, more),
        decoder_bias=bias,
        input_bias=torch.zeros_like(bias),
    )


def _wider(values: Float[Tensor, "*row channel"], more: int) -> Float[Tensor, "*row _"]:
    """With position channels, which no bridge says anything of."""
    return torch.cat([values, values.new_zeros(*values.shape[:-1], more)], dim=-1).contiguous()
