"""How unusual what was measured is, beside a reference: between 0 (usual) and 1 (never seen).

Of a measurement, the share of the reference's that are at least as far out is its tail rank p, as
conformal tests take it; its score is -log p over the largest that this can be. So a score says the
same of a logit, a head and a node, and one place far out counts more than many a little off.

Signals of a circuit, each a number at every place, and its mean over the places of a look:

    agrees     1 where the circuit alone gives another of the two answers than the whole model
    carried    how far its logit difference is from the whole model's
    head       how far what a kept head looks at is from its usual, for every kept head
    node       how far a kept node's value is from the nearest usual ones, for every kept node
    jointly    how far those of all kept nodes together are from their middle, by their covariance
    places     how far the number of places in a look is from its usual, either way
    text       how far the tokens of a window are from the usual ones; asks the text alone
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.watch.measure import Measured

SHRINKAGE = 0.1
"""Of the correlation of nodes towards none."""
STEADY = 1e-6
"""A spread below which a value counts as constant."""
NEIGHBOURS, NEAR = 8, 512
"""A node's value is as odd as its 8th nearest among at most 512 usual ones is far: many nodes have
two values, and nothing between."""
ROUNDED = 1e-3
"""Spreads that a value may be off for rounding, on another processor say."""


@dataclass(frozen=True)
class Usual:
    """What one circuit's places are like: centres and spreads, and how far the others are out."""

    head_centre: Float[Tensor, "head 5"]
    head_spread: Float[Tensor, "head 5"]
    node_centre: Float[Tensor, " channel"]
    node_spread: Float[Tensor, " channel"]
    precision: Float[Tensor, "channel channel"]
    """Inverse of the shrunk correlation of nodes."""
    near: Float[Tensor, "channel column"]
    """Usual values of every node, sorted, in spreads from its centre."""
    carried: Float[Tensor, " sample"]
    """Sorted, as all below."""
    heads: Float[Tensor, "head sample"]
    nodes: Float[Tensor, "channel sample"]
    jointly: Float[Tensor, " sample"]
    rates: Float[Tensor, " unit"]
    """Places in a look."""

    @classmethod
    def of(cls, first: Measured, second: Measured, rates: Tensor) -> "Usual":
        """Centres and spreads from some places, distances from others.

        Args:
            first: Places that say where the middle is.
            second: Places of other text, that say how far out one is usually.
            rates: Places in the looks of the second.
        """
        attention, nodes = first.attention.double(), first.nodes.double()
        head_centre, node_centre = attention.mean(0), nodes.mean(0)
        spreads = (v.std(0, correction=0).clamp(min=STEADY) for v in (attention, nodes))
        head_spread, node_spread = spreads
        z = (nodes - node_centre) / node_spread
        correlation = z.T @ z / len(z)
        shrunk = (1 - SHRINKAGE) * correlation + SHRINKAGE * torch.eye(len(correlation))
        precision = torch.linalg.inv(shrunk)
        chosen = torch.arange(min(len(z), NEAR)) * len(z) // min(len(z), NEAR)
        near = z[chosen].T.sort(1).values
        nothing = torch.zeros(0)
        centred = cls(
            head_centre=head_centre.float(),
            head_spread=head_spread.float(),
            node_centre=node_centre.float(),
            node_spread=node_spread.float(),
            precision=precision.float(),
            near=near.float(),
            carried=nothing,
            heads=nothing.expand(attention.shape[1], 0),
            nodes=nothing.expand(nodes.shape[1], 0),
            jointly=nothing,
            rates=rates.float().sort().values,
        )
        out = centred.distances(second)
        return dataclasses.replace(
            centred,
            carried=out.carried.sort().values,
            heads=out.heads.T.sort(1).values,
            nodes=out.nodes.T.sort(1).values,
            jointly=out.jointly.sort().values,
        )

    def distances(self, seen: Measured) -> "Distances":
        """How far out every place is."""
        looks = (seen.attention - self.head_centre) / self.head_spread
        z = (seen.nodes - self.node_centre) / self.node_spread
        return Distances(
            agrees=((seen.alone > 0) != (seen.places.difference > 0)).float(),
            carried=(seen.alone - seen.places.difference).abs(),
            heads=looks.square().sum(2),
            nodes=apart(z, self.near),
            jointly=((z @ self.precision) * z).sum(1),
        )

    def scores(self, seen: Measured, out: "Distances") -> "Distances":
        """The score of every place."""
        return Distances(
            agrees=out.agrees,
            carried=scored(out.carried[None], self.carried[None])[0],
            heads=scored(out.heads.T, self.heads).T,
            nodes=scored(out.nodes.T, self.nodes).T,
            jointly=scored(out.jointly[None], self.jointly[None])[0],
        )

    def look(self, seen: Measured) -> tuple[Float[np.ndarray, " unit"], "Distances"]:
        """The signals of one look, in the order of `names`, and the scores of its places."""
        scores = self.scores(seen, self.distances(seen))
        rate = two_sided(torch.tensor([float(seen.found)]), self.rates)
        if not len(seen.places):
            nothing = torch.full((len(self.heads) + len(self.nodes) + 3,), torch.nan)
            return torch.cat([nothing, rate]).double().numpy(), scores
        means = [
            scores.agrees.mean()[None],
            scores.carried.mean()[None],
            scores.jointly.mean()[None],
        ]
        means += [scores.heads.mean(0), scores.nodes.mean(0), rate]
        return torch.cat(means).double().numpy(), scores


@dataclass(frozen=True)
class Distances:
    """Of every place how far out each signal is, or its score."""

    agrees: Float[Tensor, " sample"]
    carried: Float[Tensor, " sample"]
    heads: Float[Tensor, "sample head"]
    nodes: Float[Tensor, "sample channel"]
    jointly: Float[Tensor, " sample"]


def apart(
    value: Float[Tensor, "sample channel"], near: Float[Tensor, "channel column"]
) -> Float[Tensor, "sample channel"]:
    """How far the nearest few of some sorted values are, channel by channel, beyond rounding.

    >>> apart(torch.tensor([[0.0], [1.0]]), torch.tensor([[-1.0] * 8 + [1.0] * 8]))
    tensor([[0.9990],
            [0.0000]])
    """
    value, near = value.T.contiguous(), near.contiguous()
    few, at = min(NEIGHBOURS, near.shape[1]), torch.searchsorted(near, value)
    # Of the runs of that many neighbours that could hold the value, the one that is nearest.
    first = (at[..., None] - torch.arange(few + 1)).clamp(0, near.shape[1] - few)
    ends = (near.gather(1, (first + far).flatten(1)).view(first.shape) for far in (0, few - 1))
    low, high = ((value[..., None] - end).abs() for end in ends)
    return (torch.maximum(low, high).amin(-1).T - ROUNDED).clamp(min=0)


def scored(value: Float[Tensor, "row sample"], known: Float[Tensor, "row unit"]) -> Tensor:
    """Scores of values beside sorted ones, row by row.

    >>> scored(torch.tensor([[0.5, 9.0]]), torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[0., 1.]])
    """
    count = known.shape[1]
    below = torch.searchsorted(known.contiguous(), value.contiguous())
    rank = (1 + count - below) / (1 + count)
    return (1 / rank).log() / np.log(1 + count)


def two_sided(value: Float[Tensor, " sample"], known: Float[Tensor, " unit"]) -> Tensor:
    """Scores of values beside sorted ones, where too small is as odd as too large."""
    count = len(known)
    above = 1 + count - torch.searchsorted(known, value)
    below = 1 + torch.searchsorted(known, value, right=True)
    rank = (2 * torch.minimum(above, below) / (1 + count)).clamp(max=1)
    return (1 / rank).log() / np.log((1 + count) / 2)
