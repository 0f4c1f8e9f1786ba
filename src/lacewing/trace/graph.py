"""The nodes that carried an answer, and what each gave to each.

A node here is a channel of a site at one token. Its effect is its value times what one unit of it
adds to the logit difference (`held`). An edge's weight is the part of the target's effect that came
from the source, so the edges into a node, with its biases, add up to its effect.

The graph keeps the fewest nodes, by effect, through which alone the held pass still gives the asked
share of the logit difference.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lacewing.errors import ConfigError
from lacewing.model.hooks import edit
from lacewing.model.protocol import SiteHook
from lacewing.model.store import Model
from lacewing.progress import Progress, progress
from lacewing.trace.edges import edges_of
from lacewing.trace.held import Held, Sources

STEP = 1.3
"""Between the counts of nodes that are tried: a small graph must not pass by a lucky sum."""
LINKED = 10_000
"""Nodes of a graph that edges are looked up between, those of the largest effects."""


@dataclass(frozen=True)
class TraceNode:
    """A node at a token."""

    key: str
    channel: int
    token: int
    """Place in the prompt, from 0."""
    value: float
    effect: float
    """Nats of the logit difference that go through it."""
    rest: float
    """Nats of these that came from nodes that are not kept, or beyond the first LINKED."""


@dataclass(frozen=True)
class Graph:
    """What carried an answer against its rival."""

    answer: int
    rival: int
    difference: float
    """Logit of the answer less that of the rival, nats."""
    sources: Sources
    """Where the difference comes from in the whole model; they add up to it."""
    nodes: tuple[TraceNode, ...]
    """Kept nodes, largest effects first."""
    live: int
    """Nodes that are not zero, at all tokens together."""
    edges: Mapping[tuple[str, str], float]
    """Nats, from source to target: nodes, `token@T`, `position@T`, `bias` or `answer`."""
    explained: float
    """The held pass through the kept nodes alone, nats."""
    measured: float
    """The model itself with every other node at its mean over text, heads looking where they
    looked, nats."""


def graph(model: Model, held: Held, answer: int, rival: int, share: float = 0.9) -> Graph:
    """The smallest graph that explains a share of the logit difference.

    Args:
        model: The model that was held.
        held: The pass.
        answer: Token id.
        rival: Token id.
        share: Of the logit difference, in (0, 1]; 1 keeps every node that is not zero.

    Raises:
        ConfigError: answer and rival are the same, or differ by nothing.
    """
    difference = held.difference(answer, rival)
    if answer == rival or abs(difference) < 1e-6:
        raise ConfigError(
            "answer and rival have the same logit, so nothing carries one against the other: "
            "choose another --rival"
        )
    units, sources = held.effects(answer, rival)
    effects = {key: unit * held.values[key] for key, unit in units.items()}
    order = torch.cat([effect.abs().flatten() for effect in effects.values()])
    live = int((order > 0).sum())
    ranked = order.sort(descending=True).values

    def kept(count: int) -> dict[str, Tensor]:
        floor = ranked[min(count, live) - 1] if count else torch.inf
        return {key: (effect.abs() >= floor) & (effect != 0) for key, effect in effects.items()}

    def explained(count: int) -> float:
        return held.effects(answer, rival, kept(count))[1].total

    most = (1 - share) * abs(difference)
    count = live
    if most:
        with progress("which nodes carry it", live, "nodes", shown=False) as bar:
            count = _fewest(lambda n: _told(bar, n, live, explained(n) - difference), most, live)
    masks = kept(count)
    edges = edges_of(held, units, kept(min(count, LINKED)), sources)
    nodes = sorted(_nodes(held, effects, masks, edges), key=lambda node: -abs(node.effect))
    measured = _measured(model, held, masks, answer, rival)
    return Graph(
        answer,
        rival,
        difference,
        sources,
        tuple(nodes),
        live,
        edges,
        explained(count),
        measured,
    )


def _told(bar: Progress, count: int, live: int, error: float) -> float:
    bar.update(live - count)
    return error


def _fewest(error: Callable[[int], float], most: float, live: int) -> int:
    """The least count from which on, in steps of a factor, the error is small."""
    good, tried = live, float(live)
    while tried > 1:
        tried /= STEP
        if abs(error(round(tried))) > most:
            break
        good = round(tried)
    low = round(tried)
    while good - low > 1:
        middle = (low + good) // 2
        low, good = (low, middle) if abs(error(middle)) <= most else (middle, good)
    return good


def _nodes(
    held: Held,
    effects: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    edges: Mapping[tuple[str, str], float],
) -> Iterator[TraceNode]:
    given: dict[str, float] = {}
    for (_, target), weight in edges.items():
        given[target] = given.get(target, 0.0) + weight
    for key, mask in masks.items():
        numbers = (part[key][mask].tolist() for part in (held.values, effects))
        for (token, channel), value, effect in zip(mask.nonzero().tolist(), *numbers, strict=True):
            rest = effect - given.get(f"{key}.{channel}@{token}", 0.0)
            yield TraceNode(key, channel, token, value, effect, rest)


@torch.inference_mode()
def _measured(
    model: Model, held: Held, masks: Mapping[str, Tensor], answer: int, rival: int
) -> float:
    """The logit difference of the model with all other nodes at their means."""
    hooks = {
        key: lambda value, mask=mask, mean=model.means[key]: torch.where(mask, value, mean)
        for key, mask in masks.items()
    }
    looked = (key for key in held.values if key not in masks)  # queries and keys
    hooks |= {key: _fixed(held.values[key].float()[None]) for key in looked}
    with edit(held.network, hooks):
        logits = held.network(torch.tensor([held.tokens]))[0, -1]
    return float(logits[answer].double() - logits[rival].double())


def _fixed(value: Tensor) -> SiteHook:
    return lambda _: value
