"""One answer of any model of the protocol: the nodes that should carry it, and what each gave each.

Attribution as in `attributed`. Edges are direct among the nodes that are kept: each of them is made
a leaf of its own, so that what goes on through another kept node is that one's. An edge carries
the distance of its source from its mean, times what one unit of it adds to the target, times
what one unit of the target adds to the answer.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from lacewing.errors import ConfigError
from lacewing.model.hooks import edit
from lacewing.model.protocol import SiteHook
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.trace.answered import Answered, answered, plain_graph
from lacewing.trace.attributed import DEFAULT, Attribution, Check, attribute, check, held_rules
from lacewing.trace.graph import TraceNode
from lacewing.trace.partner import interchange

Place = tuple[str, int, int]
"""Site key, channel and token."""


@dataclass(frozen=True)
class OpenTrace(Answered):
    """One answer, attributed."""

    difference: float
    nodes: tuple[TraceNode, ...]
    live: int
    """Nodes that have an effect, at all tokens together."""
    edges: Mapping[tuple[str, str], float]
    interchange: tuple[float, ...] | None
    """Of each node, what it should take away if it had its value on the partner prompt, nats."""
    check: tuple[Check, ...]
    """How well predicted effects of random nodes are those that were measured."""

    def as_json(self) -> dict[str, Any]:
        """Plain values for a file or a terminal."""
        return {
            **self.said(),
            "difference": self.difference,
            "live": self.live,
            **plain_graph(self.nodes, self.edges, self.interchange),
            "check": [asdict(one) for one in self.check],
        }


def open_trace(
    model: Model,
    tokens: tuple[int, ...],
    answer: int,
    rival: int,
    *,
    nodes: int = 24,
    partner: tuple[int, ...] | None = None,
    checked: int = 0,
) -> OpenTrace:
    """Attribute one answer against its rival.

    Args:
        model: Any model of the protocol, with its means.
        tokens: The prompt.
        answer: Token id.
        rival: Token id.
        nodes: Kept, those of the largest effects.
        partner: A prompt of as many tokens, for interchange.
        checked: Random nodes that are ablated to see how well effects are predicted.

    Raises:
        ConfigError: answer and rival are the same.
        DataError: the partner has another number of tokens.
    """
    if answer == rival:
        raise ConfigError("answer and rival are the same token: choose another --rival")
    found = attribute(model, tokens, answer, rival)
    kept = _largest(found, nodes)
    edges = _edges(model, found, kept, answer, rival)
    given: dict[str, float] = {}
    for (_, target), weight in edges.items():
        given[target] = given.get(target, 0.0) + weight
    made = []
    for key, channel, token in kept:
        value, effect = (float(part[key][token, channel]) for part in (found.values, found.effects))
        rest = effect - given.get(_name((key, channel, token)), 0.0)
        made.append(TraceNode(key, channel, token, value, effect, rest))
    return OpenTrace(
        **answered(model, tokens, answer, rival, found.logits),
        difference=found.difference,
        nodes=tuple(made),
        live=sum(int((effect != 0).sum()) for effect in found.effects.values()),
        edges=edges,
        interchange=interchange(model, made, found.units, tokens, partner),
        check=check(model, tokens, answer, rival, checked) if checked else (),
    )


def _name(place: Place) -> str:
    key, channel, token = place
    return f"{key}.{channel}@{token}"


def _largest(found: Attribution, count: int) -> list[Place]:
    """Places of the largest effects, largest first."""
    every = []
    for key, effect in found.effects.items():
        best = effect.abs().flatten().topk(min(count, effect.numel()))
        for size, at in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            token, channel = divmod(at, effect.shape[1])
            every.append((size, (key, channel, token)))
    every.sort(key=lambda one: -one[0])
    return [place for size, place in every[:count] if size]


def _edges(
    model: Model, found: Attribution, kept: list[Place], answer: int, rival: int
) -> dict[tuple[str, str], float]:
    """What the kept nodes gave to each other and to the answer, directly."""
    leaves: dict[Place, Tensor] = {}
    inside: dict[Place, Tensor] = {}

    def cut(key: str) -> SiteHook:
        def hook(value: Tensor) -> Tensor:
            new = value.clone()
            for place in (place for place in kept if place[0] == key):
                _, channel, token = place
                inside[place] = value[0, token, channel]
                leaves[place] = value[0, token, channel].detach().requires_grad_()
                new[0, token, channel] = leaves[place]
            return new

        return hook

    with ExitStack() as stack:
        stack.enter_context(held_rules(model.network, DEFAULT))
        stack.enter_context(edit(model.network, {key: cut(key) for key, _, _ in kept}))
        stack.enter_context(torch.enable_grad())
        logits = model.network(torch.tensor([found.tokens]))[0, -1]
        ends = {"answer": (logits[answer] - logits[rival], 1.0)}
    for place in kept:
        key, channel, token = place
        ends[_name(place)] = inside[place], float(found.units[key][token, channel])
    edges, every = {}, list(leaves.values())
    with progress("what nodes gave to each other", len(ends), "nodes", shown=False) as bar:
        for done, (target, (value, unit)) in enumerate(ends.items()):
            bar.update(done)
            if not value.requires_grad:
                continue
            grads = torch.autograd.grad(value, every, retain_graph=True, allow_unused=True)
            for place, grad in zip(leaves, grads, strict=True):
                if grad is None or not float(grad):
                    continue
                key, channel, _ = place
                away = float(leaves[place].detach()) - float(model.means[key][channel])
                edges[_name(place), target] = float(grad) * away * unit
    return edges
