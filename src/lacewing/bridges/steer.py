"""Steer a dense model by a node of the sparse one.

    delta     the node's value on the partner prompt less its value on the prompt, at every token;
              tokens of the two correspond that are as far from the end (see `from_partner`)
    strength  how much of it is added, as the node's direction, to what the dense model reads

and the answer is the probability that the dense model then gives the partner's answer. Beside it
stand random directions of the same length with the same delta, what the whole site does when it is
exchanged for the partner's, and what the node does in the sparse model itself. Source: paper A.4
and Fig. 9.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.bridges.directions import Direction, direction, random_rows
from lacewing.bridges.folder import Coupling
from lacewing.model.hooks import edit, record
from lacewing.model.layers import sparse_products
from lacewing.model.protocol import SiteHook
from lacewing.model.store import Model
from lacewing.model.transformer import pick
from lacewing.progress import Progress, progress
from lacewing.sae.figures import Figure
from lacewing.statistics import bootstrap, pair_means
from lacewing.tasks.batch import Prompts

STRENGTHS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
RANDOMS = 10


@dataclass(frozen=True)
class Point:
    """The dense model's answer at one strength."""

    strength: float
    partner: Figure
    """Probability of the partner's answer, mean over pairs."""
    median: float
    """The same, median over pairs."""
    spread: tuple[float, float]
    """Its quartiles."""
    share: Figure
    """Of the two answers, how much of their probability is the partner's."""
    right: Figure
    """Probability of the prompt's own answer."""
    random: Figure
    """`partner` under random directions, mean over them."""
    draws: tuple[float, float]
    """The lowest and the highest of the random directions."""
    more: Figure
    """How much more the node moves the answer than the random directions."""


@dataclass(frozen=True)
class Steering:
    """A node's curve in the dense model."""

    node: str
    length: float
    """Of the direction, for one unit of the node."""
    curve: list[Point]
    whole: Figure
    """`partner` where the whole site is the partner's."""
    sparse_before: Figure
    """`partner` in the sparse model as it is."""
    sparse_after: Figure
    """The same with the node alone exchanged there."""
    pairs: int
    unlike: int
    """Pairs whose two prompts have different lengths."""
    seed: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@torch.inference_mode()
def steer(
    coupling: Coupling,
    node: str,
    prompts: Prompts,
    strengths: Sequence[float] = STRENGTHS,
    *,
    randoms: int = RANDOMS,
    seed: int = 0,
    quiet: bool = False,
) -> Steering:
    """The dense model's answer against the strength of a node of the sparse model.

    Args:
        coupling: Both models and their bridges.
        node: Such as 1.attn_in.37.
        prompts: Pairs.
        strengths: 0 is nothing, 1 is what the node itself changes.
        randoms: Random directions, at least one.
        seed: Of those and of the intervals.
        quiet: Report no progress.

    Raises:
        DataError: no bridge stands at the node.
    """
    found = direction(coupling, node)
    rows = random_rows(found.row, randoms, seed)
    sparse, dense = coupling.sparse, coupling.dense
    total = len(strengths) * (1 + randoms)
    with (
        sparse_products(sparse.network),
        progress(f"steer {node}", total, "passes", not quiet) as bar,
    ):
        delta = deltas(coupling, found, prompts)
        curve = []
        for number, strength in enumerate(strengths):
            curve.append(_point(dense, found, rows, delta, prompts, strength, seed, bar))
            bar.update((number + 1) * (1 + randoms))
        unit = torch.zeros(sparse.network.config.d_model)
        unit[found.channel] = 1
        before = answers(sparse, prompts)
        after = answers(sparse, prompts, {found.key: adding(unit, delta, 1.0, prompts)})
        whole = answers(dense, prompts, {found.key: _exchanged(dense, found.key, prompts)})
    return Steering(
        node=node,
        length=float(found.row.norm()),
        curve=curve,
        whole=_figure(whole.partner, seed),
        sparse_before=_figure(before.partner, seed),
        sparse_after=_figure(after.partner, seed),
        pairs=len(prompts),
        unlike=unlike(prompts),
        seed=seed,
    )


def _point(
    dense: Model,
    found: Direction,
    rows: Sequence[Tensor],
    delta: Tensor,
    prompts: Prompts,
    strength: float,
    seed: int,
    bar: Progress,
) -> Point:
    def answered(row: Tensor) -> "Answers":
        return answers(dense, prompts, {found.key: adding(row, delta, strength, prompts)})

    mine = answered(found.row)
    drawn = np.stack([answered(row).partner for row in rows])
    low, middle, high = np.percentile(mine.partner, [25, 50, 75])
    return Point(
        strength=float(strength),
        partner=_figure(mine.partner, seed),
        median=float(middle),
        spread=(float(low), float(high)),
        share=_figure(mine.share, seed),
        right=_figure(mine.right, seed),
        random=_figure(drawn.mean(0), seed),
        draws=(float(drawn.mean(1).min()), float(drawn.mean(1).max())),
        more=_figure(mine.partner - drawn.mean(0), seed),
    )


@dataclass(frozen=True)
class Answers:
    """Probabilities at the last token, mean over both members of every pair."""

    partner: Float[np.ndarray, " pair"]
    right: Float[np.ndarray, " pair"]
    share: Float[np.ndarray, " pair"]
    """Of the two answers alone."""


def answers(model: Model, prompts: Prompts, edits: dict[str, SiteHook] | None = None) -> Answers:
    """What a model answers with some sites changed."""
    with edit(model.network, edits or {}):
        logits = model.network(prompts.tokens, at=prompts.last).float()
    asked = torch.stack((prompts.other, prompts.answer), dim=1)
    both = logits.softmax(-1).gather(1, asked)
    share = logits.gather(1, asked).softmax(-1)[:, 0]
    return Answers(pair_means(both[:, 0]), pair_means(both[:, 1]), pair_means(share))


def deltas(
    coupling: Coupling, found: Direction, prompts: Prompts
) -> Float[Tensor, "sequence token"]:
    """A node's value on the partner of every prompt, less its value there."""
    network = coupling.sparse.network
    with record(network, [found.key]) as seen:
        network(prompts.tokens)
    values = seen[found.key][..., found.channel]
    return from_partner(values, prompts) - values


def from_partner(
    values: Float[Tensor, "sequence token *channel"], prompts: Prompts
) -> Float[Tensor, "sequence token *channel"]:
    """At every token, what the partner has as many tokens before its last one.

    A token without a partner, as the longer of two prompts begins with some, keeps its value.

    Args:
        values: Of both members of every pair, sequence 2i and 2i + 1.
        prompts: The pairs.

    Example:
        >>> last = torch.tensor([2, 1])  # three tokens, and two
        >>> pair = Prompts(torch.zeros(2, 3).long(), last, last, last, ())
        >>> from_partner(torch.tensor([[1.0, 2, 3], [5, 6, 0]]), pair).tolist()
        [[1.0, 5.0, 6.0], [2.0, 3.0, 0.0]]
    """
    rows, last = partners(len(values)), prompts.last
    ends = last[rows][:, None]
    at = torch.arange(values.shape[1]) + ends - last[:, None]
    there = (at >= 0) & (at <= ends)
    found = values[rows[:, None], at.clamp(0, values.shape[1] - 1)]
    return torch.where(there.view(*there.shape, *[1] * (values.ndim - 2)), found, values)


def unlike(prompts: Prompts) -> int:
    """How many pairs have two prompts of different lengths."""
    one, other = prompts.last.view(-1, 2).T
    return int((one != other).sum())


def partners(count: int) -> Tensor:
    """The row of every prompt's partner."""
    return torch.arange(count).view(-1, 2).flip(1).flatten()


def adding(row: Tensor, delta: Tensor, strength: float, prompts: Prompts) -> SiteHook:
    """An edit that adds so much of a direction to the residual channels of a site."""

    def hook(value: Tensor) -> Tensor:
        much = at_tokens(delta[..., None], value, prompts) * (strength * row)
        return torch.cat([value[..., : len(row)] + much, value[..., len(row) :]], dim=-1)

    return hook


def at_tokens(values: Tensor, like: Tensor, prompts: Prompts) -> Tensor:
    """Values of all tokens, or of the last alone where a site has no others."""
    return values if like.shape[1] == values.shape[1] else pick(values, prompts.last)


def _exchanged(model: Model, key: str, prompts: Prompts) -> SiteHook:
    """An edit that puts the partner's value at a whole site."""
    with record(model.network, [key]) as seen:
        model.network(prompts.tokens)
    there = from_partner(seen[key], prompts)
    return lambda value: at_tokens(there, value, prompts)


def _figure(values: np.ndarray, seed: int) -> Figure:
    return Figure(float(values.mean()), bootstrap(values, seed=seed))
