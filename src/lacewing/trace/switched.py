"""An answer with nodes switched off or held at a value: what the difference becomes, and the text.

A node is off where it has its mean over text; it may be held at any value. Either at one token of
the prompt or at all tokens, those that are generated included. Nothing is held: the model runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.errors import DataError
from lacewing.model.hooks import ablate
from lacewing.model.protocol import SiteHook
from lacewing.model.sites import parse_node, site_widths
from lacewing.model.store import Model


@dataclass(frozen=True)
class Switch:
    """A node that does not run freely."""

    key: str
    channel: int
    token: int | None = None
    """Place in the prompt, from 0; none for all tokens."""
    value: float | None = None
    """What it is held at; none for its mean over text: off."""


def switch_of(model: Model, tokens: Sequence[int], name: str, value: float | None = None) -> Switch:
    """A switch from a node's name, `0.mlp_neuron.7`, or with a token, `0.mlp_neuron.7@3`.

    Raises:
        DataError: the model has no such node, or the prompt no such token.

    Example:
        >>> switch_of(load("builtin:taught-tiny"), (5, 9), "0.mlp_neuron.7@1")
        Switch(key='0.mlp_neuron', channel=7, token=1, value=None)
    """
    node, _, place = name.partition("@")
    key, channel = parse_node(node)
    widths = site_widths(model.network.config)
    if channel >= widths.get(key, 0):
        raise DataError(f"{node} is no node of {model.source}")
    if not place and "@" not in name:
        return Switch(key, channel, None, value)
    spared = model.network.spared
    if not place.isdecimal() or not spared <= int(place) < len(tokens):
        raise DataError(
            f"{name}: a token that can be changed is a number from {spared} to {len(tokens) - 1}"
        )
    return Switch(key, channel, int(place), value)


@torch.inference_mode()
def next_logits(
    model: Model, tokens: Sequence[int], switches: Sequence[Switch] = ()
) -> Float[Tensor, " vocab"]:
    """Logits after a prompt with some nodes off or held.

    Args:
        model: Any model of the protocol, with its means.
        tokens: The prompt.
        switches: Of two for one place the later holds.
    """
    with ablate(model.network, _hooks(model, switches)):
        logits: Tensor = model.network(torch.tensor([list(tokens)]))
    return logits[0, -1].clone()


def go_on(model: Model, tokens: Sequence[int], count: int, switches: Sequence[Switch] = ()) -> str:
    """The likeliest text after a prompt, with some nodes off or held all the while.

    It ends where the model ends it, or its context is full.

    Args:
        model: Any model of the protocol, with its means.
        tokens: The prompt.
        count: Tokens, at most.
        switches: As in `next_logits`.
    """
    ids = list(tokens)
    for _ in range(min(count, model.network.config.context - len(ids))):
        drawn = int(next_logits(model, ids, switches).argmax())
        if drawn == model.tokenizer.end_of_text:
            break
        ids.append(drawn)
    return model.tokenizer.decode(ids[len(tokens) :])


def _hooks(model: Model, switches: Sequence[Switch]) -> Mapping[str, SiteHook]:
    by_site: dict[str, list[Switch]] = {}
    for one in switches:
        by_site.setdefault(one.key, []).append(one)
    return {key: _holding(model.means[key], some) for key, some in by_site.items()}


def _holding(mean: Float[Tensor, " channel"], switches: Sequence[Switch]) -> SiteHook:
    def hook(value: Tensor) -> Tensor:
        value = value.clone()
        for one in switches:
            where = slice(None) if one.token is None else one.token
            value[:, where, one.channel] = mean[one.channel] if one.value is None else one.value
        return value

    return hook
