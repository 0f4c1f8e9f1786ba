"""What bridges are worth, on held-out text.

    explained    variance of one model's residual stream that a bridge tells from the other's, both
                 ways, and what AbsTopK alone would leave of the sparse model's own stream
    paths        for each bridge and way, the loss of the model that crosses there, above the dense
                 model's, and the divergence of its answer from the dense model's
    control      the same where the stream is its own mean instead, so that nothing crosses

Windows of text are the units that intervals resample.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from lacewing.bridges.maps import Bridges, site_key
from lacewing.bridges.streams import entering, onward, streams
from lacewing.errors import DataError
from lacewing.kernels.abs_topk import abs_topk
from lacewing.model.layers import sparse_products
from lacewing.model.transformer import Transformer
from lacewing.progress import progress
from lacewing.sae.figures import Figure
from lacewing.statistics import bootstrap, ratio

TOGETHER = 16
"""Windows run at once."""
WAYS = ("to_sparse", "to_dense")


@dataclass(frozen=True)
class Way:
    """A bridge crossed in one direction."""

    explained: Figure
    """Variance of what it says that it gets right, of 1."""
    above: Figure
    """Nats per token that the path loses more than the dense model; negative where less."""
    divergence: Figure
    """Of the dense model's answer from the path's, nats per token."""
    nothing: Figure
    """The same divergence where the stream is its mean."""


@dataclass(frozen=True)
class SiteFigures:
    """One bridge."""

    site: str
    to_sparse: Way
    to_dense: Way
    ceiling: Figure
    """Variance of the sparse model's stream that AbsTopK leaves of it: no encoder gets more."""


@dataclass(frozen=True)
class Figures:
    """All bridges of two models."""

    sites: list[SiteFigures]
    dense: Figure
    """Nats per token of the dense model."""
    sparse: Figure
    """Of the sparse one."""
    above: Figure
    """What the sparse one loses more than the dense one."""
    tokens: int
    windows: int
    seed: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"means": self.means()}

    def means(self) -> dict[str, float]:
        """Means over the bridges."""
        found = {}
        for way in WAYS:
            for name in ("explained", "above", "divergence", "nothing"):
                values = [getattr(getattr(one, way), name).value for one in self.sites]
                found[f"{way}.{name}"] = float(np.mean(values))
        return found


@torch.no_grad()
def measured(
    dense: Transformer,
    sparse: Transformer,
    bridges: Bridges,
    windows: Int[Tensor, "sequence token"],
    seed: int = 0,
    *,
    quiet: bool = False,
) -> Figures:
    """The figures of all bridges.

    Args:
        dense: One model.
        sparse: The other.
        bridges: Between them.
        windows: Held-out text, with one token more than a window has.
        seed: Of the intervals.
        quiet: Report no progress.

    Raises:
        DataError: what a bridge says is not finite.
    """
    pieces = torch.split(windows, TOGETHER)
    sums: dict[str, list[Tensor]] = {}
    with (
        sparse_products(sparse),
        sparse_products(dense),
        progress("measure", 2 * len(pieces), "passes", not quiet) as bar,
    ):
        means = _means(dense, sparse, pieces)
        for done, piece in enumerate(pieces):
            for name, values in _parts(dense, sparse, bridges, piece, means).items():
                sums.setdefault(name, []).append(values.cpu().double())
            bar.update(len(pieces) + done + 1)
    whole = {name: torch.cat(parts).numpy() for name, parts in sums.items()}
    if odd := [name for name, values in whole.items() if not np.isfinite(values).all()]:
        raise DataError(
            f"what a bridge says of this text is not finite ({odd[0]}): its weights are damaged, "
            "or its training diverged; take a smaller --bridge-learning-rate"
        )
    return _figures(whole, bridges, windows, seed)


def _means(
    dense: Transformer, sparse: Transformer, pieces: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """The mean of either stream at every bridge."""
    sums: list[list[Tensor]] = [[], []]
    for piece in pieces:
        for number, network in enumerate((dense, sparse)):
            tokens = piece[:, :-1].to(network.embedding().device)
            for site, value in enumerate(streams(network, tokens)[0]):
                total = entering(network, site, value).double().sum((0, 1))
                if len(sums[number]) <= site:
                    sums[number].append(total)
                else:
                    sums[number][site] += total
    count = sum(piece[:, 1:].numel() for piece in pieces)
    there, here = ([(total / count).float() for total in group] for group in sums)
    return there, here


def _parts(
    dense: Transformer,
    sparse: Transformer,
    bridges: Bridges,
    piece: Tensor,
    means: tuple[list[Tensor], list[Tensor]],
) -> dict[str, Tensor]:
    """Everything measured of some windows, by name, one number a window."""
    piece = piece.to(dense.embedding().device)
    tokens, targets = piece[:, :-1], piece[:, 1:]
    there, logits = streams(dense, tokens)
    teacher = logits.float().log_softmax(-1)
    here, own = streams(sparse, tokens)
    found = {
        "dense": _loss(teacher, targets),
        "sparse": _loss(own.float().log_softmax(-1), targets),
    }
    for site in range(bridges.sizes.count):
        bridge, stream = bridges.at(site), entering(sparse, site, here[site])
        said = {"to_sparse": bridge.encode(there[site]), "to_dense": bridge.decode(here[site])}
        true = {"to_sparse": stream, "to_dense": there[site]}
        for number, way in enumerate(("to_dense", "to_sparse")):
            network, mean = (dense, sparse)[number], means[number][site]
            start = f"{site}.{way}."
            found[start + "missed"] = _squares(true[way] - said[way])
            found[start + "spread"] = _squares(true[way] - mean)
            nothing = mean.expand_as(true[way])
            for name, value in (("", said[way]), ("nothing.", nothing)):
                answer = onward(network, site, value, tokens).float().log_softmax(-1)
                found[f"{start}{name}kl"] = _divergence(teacher, answer)
                found[f"{start}{name}loss"] = _loss(answer, targets)
        left = stream - abs_topk(stream, bridges.sizes.kept)
        found[f"{site}.left"] = _squares(left)
    return found


def _squares(x: Tensor) -> Tensor:
    return x.double().square().sum((1, 2))


def _loss(said: Tensor, targets: Tensor) -> Tensor:
    return F.nll_loss(said.transpose(1, 2), targets, reduction="none").mean(1)


def _divergence(teacher: Tensor, said: Tensor) -> Tensor:
    return F.kl_div(said, teacher, reduction="none", log_target=True).sum(2).mean(1)


def _figures(whole: dict[str, np.ndarray], bridges: Bridges, windows: Tensor, seed: int) -> Figures:
    def mean(values: np.ndarray) -> Figure:
        return Figure(float(values.mean()), bootstrap(values, seed=seed))

    def explained(missed: np.ndarray, spread: np.ndarray) -> Figure:
        value, (low, high) = ratio(missed, spread, seed=seed)
        return Figure(1 - value, (1 - high, 1 - low))

    def way(site: int, name: str) -> Way:
        start = f"{site}.{name}."
        return Way(
            explained(whole[start + "missed"], whole[start + "spread"]),
            mean(whole[start + "loss"] - whole["dense"]),
            mean(whole[start + "kl"]),
            mean(whole[start + "nothing.kl"]),
        )

    sites = [
        SiteFigures(
            site_key(site, bridges.sizes.n_layer),
            way(site, "to_sparse"),
            way(site, "to_dense"),
            explained(whole[f"{site}.left"], whole[f"{site}.to_sparse.spread"]),
        )
        for site in range(bridges.sizes.count)
    ]
    return Figures(
        sites,
        mean(whole["dense"]),
        mean(whole["sparse"]),
        mean(whole["sparse"] - whole["dense"]),
        windows[:, 1:].numel(),
        len(windows),
        seed,
    )
