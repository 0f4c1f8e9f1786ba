"""A sparse autoencoder or transcoder: a frozen value, at one site of one model.

    latents = keep(W_enc (x - b_in) + b_enc)          x: what the site `reads` has
    output  = W_dec latents + b_dec                   what it says the site `site` has

An autoencoder reads the site that it writes; a transcoder reads what an MLP reads and writes what
the MLP writes. `keep` is topk, abstopk, or in those of others a threshold (jumprelu, standard).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.kernels.abs_topk import abs_topk

Activation = Literal["topk", "abstopk", "jumprelu", "standard"]


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """One dictionary of latents."""

    site: str
    """Site key of what it says."""
    reads: str
    """Site key of what it reads."""
    activation: Activation
    k: int
    """Latents kept by topk and abstopk; 0 for the others."""
    encoder: Float[Tensor, "latent channel"]
    encoder_bias: Float[Tensor, " latent"]
    decoder: Float[Tensor, "latent channel"]
    decoder_bias: Float[Tensor, " channel"]
    input_bias: Float[Tensor, " channel"]
    """Taken from what is read first; mostly the decoder's bias."""
    threshold: Float[Tensor, " latent"] | None = None
    """Of jumprelu: what is not above it is zero."""

    @property
    def latents(self) -> int:
        """How many there are."""
        return len(self.encoder)

    @property
    def is_transcoder(self) -> bool:
        """Whether it reads another site than it says."""
        return self.site != self.reads

    def encode(self, x: Float[Tensor, "*row channel"]) -> Float[Tensor, "*row latent"]:
        """The latents of some values of the site it reads, zeros included."""
        before = (x - self.input_bias) @ self.encoder.T + self.encoder_bias
        if self.activation == "abstopk":
            return abs_topk(before, self.k)
        if self.threshold is not None:
            return torch.where(before > self.threshold, before.relu(), 0)
        rising = before.relu()
        return abs_topk(rising, self.k) if self.activation == "topk" else rising

    def decode(self, latents: Float[Tensor, "*row latent"]) -> Float[Tensor, "*row channel"]:
        """What it says the site has, given its latents."""
        return latents @ self.decoder + self.decoder_bias

    def tensors(self) -> dict[str, Tensor]:
        """Its numbers by name."""
        found = {
            "encoder": self.encoder,
            "encoder_bias": self.encoder_bias,
            "decoder": self.decoder,
            "decoder_bias": self.decoder_bias,
            "input_bias": self.input_bias,
        }
        return found if self.threshold is None else found | {"threshold": self.threshold}
