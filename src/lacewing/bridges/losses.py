"""One step's losses and their gradients, with one path in memory at a time.

    NMSE     of f(h_dense) against h_sparse, and of g(h_sparse) against h_dense, at every bridge
    KL d->s  of the dense model's answer from that of the sparse model run on from f(h_dense)
    KL s->d  of the same from that of the dense model run on from g(h_sparse)

NMSE is the squared error over the squared distance from the batch's mean, so 1 - NMSE is the
variance explained. That distance gets no gradient; the errors do, on both sides.

Each path is run, and its gradient taken back to the bridge, before the next begins. What reaches
the sparse model's stream is added up there, and goes back through that model once for all paths: so
the backward passes grow with the paths, not with their square, and memory holds the sparse model's
own pass and one path. (The dense model learns nothing and keeps nothing.)
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lacewing.bridges.config import BridgeConfig
from lacewing.bridges.maps import Bridges
from lacewing.bridges.streams import entering, onward, streams
from lacewing.kernels.cross_entropy import cross_entropy
from lacewing.model.transformer import Transformer


@dataclass(frozen=True)
class Losses:
    """What one batch gave, by bridge."""

    language: float
    """Nats per token of the sparse model."""
    nmse_sparse: list[float]
    """Of the encoders."""
    nmse_dense: list[float]
    """Of the decoders."""
    kl_sparse: list[float]
    """Of the paths that end sparse, nats per token."""
    kl_dense: list[float]
    """Of the paths that end dense."""

    @property
    def paths(self) -> float:
        """The mean divergence over all paths."""
        return sum(self.kl_sparse + self.kl_dense) / (2 * len(self.kl_sparse))


def divergence(teacher: Tensor, logits: Tensor) -> Tensor:
    """KL of log-probabilities from logits, mean over tokens, in nats."""
    said = logits.float().log_softmax(-1).flatten(0, -2)
    return F.kl_div(said, teacher.flatten(0, -2), reduction="batchmean", log_target=True)


def nmse(said: Tensor, there: Tensor) -> Tensor:
    """Squared error over the squared distance from the mean of all tokens."""
    spread = there.detach() - there.detach().flatten(0, -2).mean(0)
    return (said - there).float().square().sum() / spread.float().square().sum().clamp_min(1e-12)


def backward(
    dense: Transformer,
    sparse: Transformer,
    bridges: Bridges,
    windows: Tensor,
    config: BridgeConfig,
    *,
    learns: bool,
) -> Losses:
    """Add the gradients of one batch to the parameters of the bridges and of the sparse model.

    Args:
        dense: The dense model, without gradients.
        sparse: The sparse one.
        bridges: Between them.
        windows: Token ids, [batch token + 1].
        config: The weights of the losses.
        learns: Whether the sparse model learns too.
    """
    inputs, targets = windows[:, :-1], windows[:, 1:]
    with torch.no_grad():
        there, logits = streams(dense, inputs)
        teacher = logits.float().log_softmax(-1)
    with torch.set_grad_enabled(learns):
        here, logits = streams(sparse, inputs)
        language = cross_entropy(logits.flatten(0, 1), targets.flatten())
    leaves = [value.detach().requires_grad_(learns) for value in here]
    found: list[tuple[float, ...]] = []
    for site in range(bridges.sizes.count):
        bridge = bridges.at(site)
        read, written = bridge.encode(there[site]), bridge.decode(leaves[site])
        errors = (
            nmse(read, entering(sparse, site, leaves[site])),
            nmse(written, there[site]),
        )
        ended = [
            _path(sparse, site, read, inputs, teacher, config.kl_to_sparse),
            _path(dense, site, written, inputs, teacher, config.kl_to_dense),
        ]
        torch.autograd.backward(
            [config.nmse * (errors[0] + errors[1]), read, written],
            [None, *(gradient for _, gradient in ended)],
        )
        found.append((*(float(e.detach()) for e in errors), *(kl for kl, _ in ended)))
    if learns:
        whole = language
        if config.kl_direct:
            whole = whole + config.kl_direct * divergence(teacher, logits)
        reached = [value for value, leaf in zip(here, leaves, strict=True) if leaf.grad is not None]
        gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
        torch.autograd.backward([whole, *reached], [None, *gradients])
    columns = [list(column) for column in zip(*found, strict=True)]
    return Losses(float(language.detach()), *columns)


def _path(
    network: Transformer, site: int, x: Tensor, inputs: Tensor, teacher: Tensor, weight: float
) -> tuple[float, Tensor]:
    """The divergence of a path, and its weighted gradient where the path crossed the bridge."""
    begun = x.detach().requires_grad_(weight > 0)
    with torch.set_grad_enabled(weight > 0):
        kl = divergence(teacher, onward(network, site, begun, inputs))
    if not weight:
        return float(kl), torch.zeros_like(x)
    torch.autograd.backward([weight * kl])
    assert begun.grad is not None
    return float(kl.detach()), begun.grad
