"""The four standard figures of an autoencoder, on held-out text.

    loss recovered      how much of the loss that ablating the site costs is got back when the
                        site has what the autoencoder says instead: 1 is all of it
    L0                  latents that are not zero at a token
    dead share          latents that are zero at every token of this text
    explained variance  1 - |y - what it says|^2 / |y - mean|^2

Windows of text are the units that intervals resample. Tokens that a model spares are never touched.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from lacewing import artifacts
from lacewing.errors import DataError
from lacewing.model.hooks import ablate
from lacewing.model.layers import sparse_products
from lacewing.model.protocol import SiteHook
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.sae.activations import activations
from lacewing.sae.autoencoder import Autoencoder
from lacewing.sae.text import begun
from lacewing.statistics import bootstrap, ratio, wilson

TOGETHER = 8
"""Windows run at once."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Figure:
    """A number with its interval of 95 %."""

    __pydantic_config__ = artifacts.EXACT

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Figures:
    """What was measured of one autoencoder."""

    site: str
    latents: int
    loss_recovered: Figure
    """Against the site at zero, as the field counts it."""
    recovered_from_mean: Figure
    """Against the site at its mean, which is harder."""
    l0: Figure
    dead_share: Figure
    explained_variance: Figure
    losses: dict[str, Figure]
    """Nats per token: `full`; `spliced`, with what the autoencoder says; the controls `zero` and
    `mean`, with the site ablated."""
    tokens: int
    windows: int
    seed: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def measured(
    model: Model,
    saes: Sequence[Autoencoder],
    windows: Int[Tensor, "sequence token"],
    seed: int = 0,
    *,
    quiet: bool = False,
) -> list[Figures]:
    """The figures of autoencoders of one model.

    Args:
        model: The model as it is.
        saes: The autoencoders; each is measured alone.
        windows: Held-out text, with one token more than a window has.
        seed: Seeds the intervals.
        quiet: Report no progress.

    Raises:
        DataError: what one says is not finite.
    """
    pieces = torch.split(windows, TOGETHER)
    total = len(pieces) * (1 + 4 * len(saes))
    with progress("measure", total, "passes", not quiet) as bar, sparse_products(model.network):
        full = []
        for piece in pieces:
            full.append(_losses(model, piece, {}))
            bar.update(len(full))
        found = []
        for number, sae in enumerate(saes):
            before = len(pieces) * (1 + 4 * number)
            parts = [_parts(model, sae, piece) for piece in pieces]
            edits: dict[str, dict[str, SiteHook]] = {
                "spliced": _spliced(sae),
                "zero": {sae.site: torch.zeros_like},
                "mean": {sae.site: _constant(model.means[sae.site])},
            }
            losses = {"full": torch.cat(full)}
            for place, (name, hooks) in enumerate(edits.items()):
                losses[name] = torch.cat([_losses(model, piece, hooks) for piece in pieces])
                bar.update(before + len(pieces) * (place + 2))
            figures = _figures(model, sae, parts, losses, windows, seed)
            if not math.isfinite(figures.explained_variance.value + figures.loss_recovered.value):
                raise DataError(
                    f"what the autoencoder of {sae.site} says of this text is not finite: its "
                    "weights are damaged, or of another model"
                )
            found.append(figures)
            bar.update(before + 4 * len(pieces))
    return found


@dataclass(frozen=True)
class _Parts:
    """Sums over the tokens of some windows."""

    missed: Float[Tensor, " sequence"]
    spread: Float[Tensor, " sequence"]
    kept: Float[Tensor, " sequence"]
    used: Tensor
    """Which latents were not zero at some token."""


@torch.no_grad()
def _parts(model: Model, sae: Autoencoder, piece: Tensor) -> _Parts:
    seen = activations(model, {sae.site, sae.reads}, piece[:, :-1])
    latents = sae.encode(seen[sae.reads].cpu())
    y, count = seen[sae.site].cpu(), len(piece)
    missed = (y - sae.decode(latents)).square().sum(1)
    spread = (y - model.means[sae.site]).square().sum(1)
    on = latents != 0

    def by_window(values: Tensor) -> Tensor:
        return values.double().view(count, -1).sum(1)

    return _Parts(by_window(missed), by_window(spread), by_window(on.sum(1)), on.any(0))


def _figures(
    model: Model,
    sae: Autoencoder,
    parts: Sequence[_Parts],
    losses: dict[str, Tensor],
    windows: Tensor,
    seed: int,
) -> Figures:
    whole = {name: value.double().numpy() for name, value in losses.items()}
    missed, spread, kept = (
        torch.cat([getattr(p, n) for p in parts]).numpy() for n in ("missed", "spread", "kept")
    )
    size = windows.shape[1] - 1
    used = torch.stack([part.used for part in parts]).any(0)
    dead = int((~used).sum())
    explained = _ratio(missed, spread, seed)
    return Figures(
        site=sae.site,
        latents=sae.latents,
        loss_recovered=_recovered(whole, "zero", seed),
        recovered_from_mean=_recovered(whole, "mean", seed),
        l0=_mean(kept / size, seed),
        dead_share=Figure(dead / sae.latents, wilson(dead, sae.latents)),
        explained_variance=Figure(
            1 - explained.value, (1 - explained.interval[1], 1 - explained.interval[0])
        ),
        losses={name: _mean(value, seed) for name, value in whole.items()},
        tokens=size * len(windows),
        windows=len(windows),
        seed=seed,
    )


def _recovered(losses: dict[str, np.ndarray], ablated: str, seed: int) -> Figure:
    worst = losses[ablated]
    return _ratio(worst - losses["spliced"], worst - losses["full"], seed)


def _mean(values: np.ndarray, seed: int) -> Figure:
    return Figure(float(values.mean()), bootstrap(values, RESAMPLES, seed))


def _ratio(above: np.ndarray, below: np.ndarray, seed: int) -> Figure:
    """A ratio of two means over the same windows."""
    return Figure(*ratio(above, below, RESAMPLES, seed))


@torch.no_grad()
def _losses(model: Model, piece: Tensor, edits: dict[str, SiteHook]) -> Float[Tensor, " sequence"]:
    """Nats per token of every window, with a site changed."""
    network, device = model.network, model.network.embedding().device
    with ablate(network, edits):
        logits = network(begun(model, piece[:, :-1]).to(device))[:, network.spared :]
    targets = piece[:, 1:].to(device)
    losses = F.cross_entropy(logits.float().transpose(1, 2), targets, reduction="none")
    return losses.mean(1).cpu()


def _spliced(sae: Autoencoder) -> dict[str, SiteHook]:
    """Edits that put what an autoencoder says where the site was."""
    seen: list[Tensor] = []

    def look(value: Tensor) -> Tensor:
        seen[:] = [value]
        return value

    def say(value: Tensor) -> Tensor:
        read = seen[0] if sae.is_transcoder else value
        return sae.decode(sae.encode(read.cpu().float())).to(value)

    return {sae.reads: look, sae.site: say} if sae.is_transcoder else {sae.site: say}


def _constant(mean: Tensor) -> SiteHook:
    return lambda value: mean.to(value).expand_as(value)
