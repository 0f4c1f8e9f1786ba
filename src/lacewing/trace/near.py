"""Around one node at one token of a prompt: what drives it there, and what it drives.

Drives    one backward pass from the node's value: each earlier node's distance from its mean over
          text, times what one unit of it adds to the value. Attribution, in the node's own units.
Driven    the model run with the node at its mean: how far every later node moves, times what one
          unit of that adds to the logit difference, nats. The move is measured, its worth is not.

Both name nodes that hand on to each other, so the numbers of a list do not add up.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lacewing.model.hooks import edit, record
from lacewing.model.protocol import SiteHook
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.trace.attributed import attribute
from lacewing.trace.switched import Switch, next_logits

SHOWN = 8
"""Nodes of each list."""


@dataclass(frozen=True)
class Neighbour:
    """A node that drives another, or is driven by it."""

    node: str
    token: int
    weight: float


@dataclass(frozen=True)
class Near:
    """A node on a prompt."""

    value: float
    mean: float
    effect: float
    """What ablating it at this token takes from the logit difference: measured, nats."""
    drives: tuple[Neighbour, ...]
    """Earlier nodes, in units of this one, largest first."""
    driven: tuple[Neighbour, ...]
    """Later nodes, in nats of the logit difference, largest first."""


def near(model: Model, tokens: tuple[int, ...], answer: int, rival: int, switch: Switch) -> Near:
    """What drives a node at a token, and what it drives.

    Args:
        model: Any model of the protocol, with its means.
        tokens: The prompt.
        answer: Token id.
        rival: Token id.
        switch: The node, and the token; the last one where it says none.

    Example:
        >>> model = load("builtin:taught-tiny")
        >>> found = near(model, (5, 9, 7), 20, 30, Switch("0.mlp_out", 3))
        >>> len(found.drives) <= 8
        True
    """
    token = len(tokens) - 1 if switch.token is None else switch.token
    place = Switch(switch.key, switch.channel, token)
    values, units, value = _back(model, tokens, place)
    back = {key: unit * (values[key] - model.means[key]) for key, unit in units.items()}
    with record(model.network) as seen:
        changed = next_logits(model, tokens, (place,))
    whole = attribute(model, tokens, answer, rival)
    on = {key: (whole.values[key] - seen[key][0]) * unit for key, unit in whole.units.items()}
    for moved in (back, on):
        moved[place.key][token, place.channel] = 0
    after = float(changed[answer] - changed[rival])
    return Near(
        value=value,
        mean=float(model.means[place.key][place.channel]),
        effect=whole.difference - after,
        drives=_largest(back, model.network.spared),
        driven=_largest(on, model.network.spared),
    )


def _back(
    model: Model, tokens: tuple[int, ...], place: Switch
) -> tuple[dict[str, Tensor], dict[str, Tensor], float]:
    """Values of all sites, what one unit of each adds to a node's value, and that value."""
    values: dict[str, Tensor] = {}
    zeros: dict[str, Tensor] = {}
    found: list[Tensor] = []

    def taken(key: str) -> SiteHook:
        def hook(value: Tensor) -> Tensor:
            values[key] = value.detach()[0]
            if key == place.key:
                found.append(value[0, place.token, place.channel])
            zeros[key] = torch.zeros_like(value, requires_grad=True)
            return value + zeros[key]

        return hook

    hooks = {key: taken(key) for key in site_widths(model.network.config)}
    with edit(model.network, hooks), torch.enable_grad():
        model.network(torch.tensor([tokens]))
        if found[0].requires_grad:
            found[0].backward()  # type: ignore[no-untyped-call]
    units = {
        key: torch.zeros_like(values[key]) if part.grad is None else part.grad[0]
        for key, part in zeros.items()
    }
    return values, units, float(found[0].detach())


def _largest(weights: Mapping[str, Tensor], spared: int) -> tuple[Neighbour, ...]:
    every = []
    for key, weight in weights.items():
        size = weight.abs().clone()
        size[:spared] = 0
        best = size.flatten().topk(min(SHOWN, size.numel()))
        for most, at in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            token, channel = divmod(at, weight.shape[1])
            if most:
                every.append(Neighbour(f"{key}.{channel}", token, float(weight[token, channel])))
    return tuple(sorted(every, key=lambda one: -abs(one.weight))[:SHOWN])
