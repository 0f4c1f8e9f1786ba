"""What a change of a weight, a bias or a node is expected to do to everything else.

To second order, a change d of the parameters moves the model's predictions by d F d / 2 nats, where
F is the Fisher information: the mean square gradient of the log-probability of answers drawn from
the model itself. It is measured once for a model, on text and on prompts of the tasks it has
learned, and says for every candidate of a repair what it would cost before any is tried.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lacewing.model.transformer import Transformer
from lacewing.tasks.batch import Prompts
from lacewing.trace.passes import SITES, Seen, maps_of, watched

PIECE = 16
"""Sequences of a backward pass."""


@dataclass
class OfMap:
    """Of one matrix: sums over what was read, and over squares of gradients."""

    weight: Float[Tensor, "row column"]
    bias: Float[Tensor, " row"]
    rows: Float[Tensor, " row"]
    """As the bias, each token by itself, for changes of rank one."""
    read: Float[Tensor, "column column"]
    """Second moment of what it reads, for changes of rank one."""


@dataclass
class OfSite:
    """Of one site: squared gradients, alone, times its values, and of these times each other."""

    plain: Float[Tensor, " channel"]
    value: Float[Tensor, " channel"]
    square: Float[Tensor, " channel"]

    def clamped(self, to: Float[Tensor, " channel"]) -> Float[Tensor, " channel"]:
        """Expected damage of clamping each node to a value, nats per prediction."""
        return (to * to * self.plain - 2 * to * self.value + self.square) / 2


@dataclass(frozen=True)
class Curvature:
    """The Fisher information of a network, diagonal but for what a matrix reads."""

    maps: dict[str, OfMap]
    sites: dict[str, OfSite]


def curvature(
    network: Transformer,
    text: Int[Tensor, "sequence token"],
    prompts: Iterable[Prompts],
    seed: int = 0,
) -> Curvature:
    """Measure it.

    Args:
        network: The model.
        text: Windows of text; each predicted token counts once.
        prompts: Of tasks the model has learned; all prompts together count as the text does.
        seed: Draws the answers.
    """
    dice = torch.Generator().manual_seed(seed)
    total = _empty(network)
    pieces = [piece[:, :-1] for piece in torch.split(text, PIECE)]
    for tokens in pieces:
        with watched(network) as seen:
            chances = network(tokens).flatten(0, 1).log_softmax(1)
            drawn = torch.multinomial(chances.detach().exp(), 1, generator=dice)
            chances.gather(1, drawn).sum().backward()
        _add(total, seen, 1 / text[:, 1:].numel())
    sets = list(prompts)
    count = sum(len(part.last) for part in sets)
    for part in sets:
        for start in range(0, len(part), PIECE // 2):
            piece = part.take(range(start, min(start + PIECE // 2, len(part))))
            with watched(network) as seen:
                logits = network(piece.tokens)[torch.arange(len(piece.last)), piece.last]
                both = torch.stack((piece.answer, piece.other), dim=1)
                chances = logits.gather(1, both).log_softmax(1)
                drawn = torch.multinomial(chances.detach().exp(), 1, generator=dice)
                chances.gather(1, drawn).sum().backward()
            _add(total, seen, 1 / count)
    return total


def _empty(network: Transformer) -> Curvature:
    maps = {
        name: OfMap(
            torch.zeros(part.weight.shape),
            torch.zeros(len(part.weight)),
            torch.zeros(len(part.weight)),
            torch.zeros(part.weight.shape[1], part.weight.shape[1]),
        )
        for name, part in maps_of(network).items()
    }
    widths = {"mlp_neuron": network.config.d_mlp}
    sites = {
        f"{layer}.{site}": OfSite(
            *(torch.zeros(widths.get(site, network.config.d_model)) for _ in range(3))
        )
        for layer in range(network.config.n_layer)
        for site in SITES
    }
    return Curvature(maps, sites)


def _add(total: Curvature, seen: Seen, share: float) -> None:
    """Add a pass, whose predictions count so much each."""
    for name, part in total.maps.items():
        grad = seen.at_maps[name].grad
        assert grad is not None
        # Of each sequence as a whole: what a weight does at several tokens adds up, and drawn
        # answers of different tokens have nothing to do with each other.
        part.weight += (grad.mT @ seen.inputs[name]).square().sum(0) * share
        part.bias += grad.sum(1).square().sum(0) * share
        part.rows += grad.square().sum((0, 1)) * share
        read = seen.inputs[name].flatten(0, 1)
        part.read += read.T @ read * share
    for key, site in total.sites.items():
        grad = seen.at_sites[key].grad
        assert grad is not None
        plain, times = grad.sum(1), (grad * seen.values[key]).sum(1)
        site.plain += plain.square().sum(0) * share
        site.value += (plain * times).sum(0) * share
        site.square += times.square().sum(0) * share
