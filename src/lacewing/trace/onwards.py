"""A network run on from where an edit first matters; what stands before that is computed once.

A block has two halves, attention and MLP; half 2 L is the attention of block L. An edit of a matrix
leaves every half before its own as it was, so that only its own and those after it run again.
"""

from dataclasses import dataclass, replace
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lacewing.model.transformer import Block, Transformer, pick


@dataclass(frozen=True)
class Kept:
    """Prompts, and the residual stream before each half of each block."""

    tokens: Int[Tensor, "sequence token"]
    last: Int[Tensor, " sequence"] | None
    """The one token of each sequence whose logits are wanted; none for all tokens."""
    streams: tuple[Tensor, ...]
    """[sequence token channel]; before the last half at the wanted tokens alone."""


def half_of(name: str) -> int:
    """The half of the network that a matrix belongs to.

    Example:
        >>> half_of("1.c_fc")
        3
    """
    layer, _, matrix = name.partition(".")
    return 2 * int(layer) + (matrix in ("c_fc", "mlp_proj"))


@torch.inference_mode()
def keep(network: Transformer, tokens: Tensor, last: Tensor | None = None) -> Kept:
    """Run a network as it is, and keep what each half begins from.

    Args:
        network: The model, before any edit.
        tokens: Ids, [sequence token].
        last: The one token of each sequence whose logits are wanted; all where not given.
    """
    streams = [network.embedded(tokens)]
    for half in range(2 * len(network.blocks) - 1):
        streams.append(_half(network, half, streams[-1], tokens, last))
    return Kept(tokens, last, tuple(streams))


@torch.inference_mode()
def onwards(
    network: Transformer, kept: Kept, first: int | None = None
) -> Float[Tensor, "sequence *token _"]:
    """Logits of a network that was changed from some half on, nats; no gradient: `resumed` has one.

    Args:
        network: The model that was kept, perhaps edited.
        kept: What its halves begin from.
        first: The half that the edit is in; where not given, the embedding is computed anew too.

    Returns:
        Logits at every token, or at the wanted one of each sequence.

    Example:
        >>> import torch
        >>> network = load("builtin:taught-tiny").ours
        >>> tokens = torch.tensor([[5, 9, 7]])
        >>> again = onwards(network, keep(network, tokens), 1)
        >>> bool((again - network(tokens)).abs().max() < 1e-4)
        True
    """
    return resumed(network, kept, first)


def trainable(kept: Kept) -> Kept:
    """The same, so that gradients can be taken from it on."""
    return replace(kept, streams=tuple(stream.clone() for stream in kept.streams))


def resumed(
    network: Transformer, kept: Kept, first: int | None = None
) -> Float[Tensor, "sequence *token _"]:
    """`onwards`, with gradients where `trainable` was called on what was kept."""
    x = network.embedded(kept.tokens) if first is None else kept.streams[first]
    last = kept.last
    for half in range(first or 0, 2 * len(network.blocks)):
        x = _half(network, half, x, kept.tokens, last)
    if last is None:
        return network.answered(x, kept.tokens)
    return network.answered(x, pick(kept.tokens, last))[:, 0]


def _half(
    network: Transformer, half: int, x: Tensor, tokens: Tensor, last: Tensor | None
) -> Tensor:
    """The residual stream after a half, at wanted tokens alone once no later half reads others."""
    block = cast("Block", network.blocks[half // 2])
    positions = network.normed_positions(tokens.shape[1])
    ends = last if half // 2 == len(network.blocks) - 1 else None
    if half % 2 == 0:
        x = block.attended(x, positions)
        return x if ends is None else pick(x, ends)
    if ends is not None and positions is not None:
        positions = pick(positions.expand(len(ends), *positions.shape), ends)
    return block.kept("resid_post", block.computed(x, positions))
