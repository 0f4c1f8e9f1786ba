"""One autoencoder on its way: its weights, its optimizer, and one step on some activations.

    loss = |y - decode(topk(encode(x)))|^2 / |y - mean|^2  +  revival |rest - what the dead say|^2

Values are scaled so that their mean square is one per channel, and given back in the model's own
scale. Decoder rows have length one: after each step they are brought back to it, and the gradient
along them is left out. A latent that nothing used for some time is dead; the dead together
learn to say what the others leave over (Gao et al., arXiv 2406.04093, appendix A).
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lacewing import artifacts
from lacewing.errors import ArtifactError
from lacewing.kernels.sparse_rows import decode, encode
from lacewing.sae.autoencoder import Autoencoder
from lacewing.sae.config import SaeConfig

PARAMETERS = ("encoder", "encoder_bias", "decoder", "decoder_bias")
FIXED = ("shift", "scales", "unused")
BETAS, EPSILON = (0.9, 0.999), 1e-8
DECAY = 0.8
"""Share of the steps after which the learning rate falls to zero."""
LARGEST_NORM = 1.0
"""Longest gradient."""


class Learner:
    """What learns at one site."""

    def __init__(
        self, site: str, reads: str, widths: Mapping[str, int], config: SaeConfig, number: int
    ) -> None:
        """Draw the weights.

        Args:
            site: Site key of what is said.
            reads: Site key of what is read.
            widths: Channels of the model's sites.
            config: The training.
            number: Place among the sites, part of the seed.
        """
        self.site, self.reads, self.config = site, reads, config
        d_in, d_out = widths[reads], widths[site]
        latents = config.expansion * d_in
        generator = torch.Generator().manual_seed(1_000_003 * number + config.seed)
        rows = torch.randn(latents, d_out, generator=generator)
        decoder = F.normalize(rows, dim=1)
        if site == reads:
            encoder = decoder.clone()
        else:
            encoder = F.normalize(torch.randn(latents, d_in, generator=generator), dim=1)
        self.encoder = encoder.requires_grad_()
        self.encoder_bias = torch.zeros(latents, requires_grad=True)
        self.decoder = decoder.requires_grad_()
        self.decoder_bias = torch.zeros(d_out, requires_grad=True)
        self.shift = torch.zeros(d_in)
        """Taken from what a transcoder reads: its mean."""
        self.rate = config.learning_rate / math.sqrt(d_out)
        self.scales = torch.zeros(2)
        """What is read, and what is said, times these has mean square one; 0 until known."""
        self.unused = torch.zeros(latents, dtype=torch.int64)
        """Tokens since each latent was not zero."""
        self.optimizer = self._adam()

    def to(self, device: torch.device) -> "Learner":
        """Move it, before its first step."""
        for name in PARAMETERS:
            setattr(self, name, getattr(self, name).detach().to(device).requires_grad_())
        for name in FIXED:
            setattr(self, name, getattr(self, name).to(device))
        self.optimizer = self._adam()
        return self

    @property
    def _parameters(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in PARAMETERS}

    def _adam(self) -> torch.optim.Adam:
        parameters = [*self._parameters.values()]
        return torch.optim.Adam(parameters, lr=self.rate, betas=BETAS, eps=EPSILON, fused=True)

    @property
    def dead(self) -> Tensor:
        """Which latents are dead."""
        return self.unused >= self.config.patience

    def step(
        self, x: Float[Tensor, "token channel"], y: Float[Tensor, "token wanted"], done: float
    ) -> float:
        """Learn from the activations of some tokens.

        Args:
            x: What is read.
            y: What is to be said; the same, but for a transcoder.
            done: Share of the training that is finished.

        Returns:
            The unexplained share of the variance of these tokens, before the step.
        """
        if not self.scales.any():
            self._measure(x, y)
        x, y = (x - self.shift) * self.scales[0], y * self.scales[1]
        config, absolute = self.config, self.config.kind == "abstopk"
        bias = self.encoder_bias
        if self.site == self.reads:
            bias = bias - self.encoder @ self.decoder_bias
        index, value = encode(x, self.encoder, bias, config.k, absolute)
        rest = y - decode(index, value, self.decoder) - self.decoder_bias
        spread = (y - y.mean(0)).square().sum()
        missed = rest.square().sum() / spread
        self._count(index, value.detach())
        loss = missed
        if config.revival and bool((dead := self.dead).any()):
            loss = loss + config.revival * self._revival(x, bias, rest.detach(), dead, absolute)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._follow(done)
        return float(missed.detach())

    def _measure(self, x: Tensor, y: Tensor) -> None:
        """Find shift, scales and the first decoder bias: the mean."""
        if self.site != self.reads:
            self.shift.copy_(x.mean(0))
        for place, values in enumerate((x, y)):
            spread = (values - values.mean(0)).square().mean()
            self.scales[place] = spread.clamp(min=1e-12).rsqrt()
        with torch.no_grad():
            self.decoder_bias.copy_(y.mean(0) * self.scales[1])

    def _count(self, index: Tensor, value: Tensor) -> None:
        """Note which latents were used."""
        self.unused += len(index)
        self.unused[index[value != 0]] = 0

    def _revival(
        self, x: Tensor, bias: Tensor, rest: Tensor, dead: Tensor, absolute: bool
    ) -> Tensor:
        """How far the dead latents are from saying what the others leave over."""
        (places,) = dead.nonzero(as_tuple=True)
        k = min(max(1, x.shape[1] // 2), len(places))
        index, value = encode(x, self.encoder[places], bias[places], k, absolute)
        said = decode(index, value, self.decoder[places])
        return (rest - said).square().sum() / rest.square().sum().clamp(min=1e-12)

    def _follow(self, done: float) -> None:
        """One step along the gradient, with decoder rows of length one."""
        rate = self.rate * min(1.0, (1 - done) / (1 - DECAY))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.no_grad():
            along = self.decoder.grad
            assert along is not None
            along -= (along * self.decoder).sum(1, keepdim=True) * self.decoder
        torch.nn.utils.clip_grad_norm_([getattr(self, n) for n in PARAMETERS], LARGEST_NORM)
        self.optimizer.step()
        with torch.no_grad():
            self.decoder.copy_(F.normalize(self.decoder, dim=1))

    def result(self) -> Autoencoder:
        """What was learned, in the model's own scale, decoder rows still of length one."""
        read, said = (float(scale) for scale in self.scales)
        given = {name: getattr(self, name).detach().float().cpu() for name in PARAMETERS}
        out = given["decoder_bias"] / said
        return Autoencoder(
            site=self.site,
            reads=self.reads,
            activation=self.config.kind,
            k=min(self.config.k, len(self.encoder)),
            encoder=given["encoder"] * (read / said),
            encoder_bias=given["encoder_bias"] / said,
            decoder=given["decoder"],
            decoder_bias=out,
            input_bias=out if self.site == self.reads else self.shift.float().cpu(),
        )

    def tensors(self) -> dict[str, Tensor]:
        """All that the next step depends on."""
        found = {name: getattr(self, name).detach() for name in (*PARAMETERS, *FIXED)}
        return found | artifacts.moments(self.optimizer, self._parameters)

    def restore(self, tensors: Mapping[str, Tensor], where: Path) -> None:
        """Put back what `tensors` gave.

        Args:
            tensors: That.
            where: The file it was read from, for the error.

        Raises:
            ArtifactError: it is damaged, or of another autoencoder.
        """
        for name in (*PARAMETERS, *FIXED):
            found, shape = tensors.get(name), getattr(self, name).shape
            if found is None or found.shape != shape:
                raise ArtifactError(f"{where}: {name} of {self.site} is missing or damaged")
            kind = torch.int64 if name == "unused" else torch.float32
            artifacts.check_values(found, where, name, (kind,))
        moments = artifacts.checked_moments(tensors, self._parameters, where, needed=True)
        for name in (*PARAMETERS, *FIXED):
            with torch.no_grad():
                getattr(self, name).copy_(tensors[name])
        for name, parameter in self._parameters.items():
            self.optimizer.state[parameter] = moments[name]
