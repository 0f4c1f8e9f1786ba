"""A circuit that answers prompts: compiled where the network is ours, by edits under latents."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.masks import Masks
from lacewing.ablation.prefix_run import logits_at_ends
from lacewing.ablation.prefixes import UniquePrefixes
from lacewing.model.hooks import ablate
from lacewing.model.protocol import Network
from lacewing.model.transformer import own
from lacewing.sae.splice import SplicedNetwork

Answering = Callable[[Tensor, Tensor], Tensor]
"""From tokens [sequence token] and the place asked of each, to logits [sequence vocab]."""


def running(network: Network, masks: Masks, values: Mapping[str, Tensor]) -> Answering:
    """A network in which only some nodes run.

    Args:
        network: One of ours, or latents over one.
        masks: Those nodes.
        values: By site, what stands for the others.

    Raises:
        ConfigError: it is another's.
    """
    if not isinstance(network, SplicedNetwork):
        return CompiledCircuit(own(network, "this"), masks, values)
    edits, inner = network.ablating(masks, values), network.inner

    def answer(tokens: Tensor, at: Tensor) -> Tensor:
        with ablate(inner, edits):
            logits: Tensor = inner(tokens, at)
        return logits

    return answer


@torch.inference_mode()
def logits_at(
    network: Network,
    masks: Masks,
    values: Mapping[str, Tensor],
    pieces: Sequence[UniquePrefixes],
) -> Tensor:
    """Logits at the ends of prompts whose unique prefixes are known, [sequence vocab].

    Args:
        network: As in `running`.
        masks: The nodes that run.
        values: By site, what stands for the others.
        pieces: The prompts.
    """
    if not isinstance(network, SplicedNetwork):
        live = CompiledCircuit(own(network, "this"), masks, values)
        return torch.cat([live.logits(piece) for piece in pieces])
    with ablate(network.inner, network.ablating(masks, values)):
        return torch.cat([logits_at_ends(network.inner, piece) for piece in pieces])


@torch.inference_mode()
def next_logits(network: Answering, tokens: list[int]) -> Tensor:
    """Logits after a prompt, [1, vocab]."""
    return network(torch.tensor([tokens]), torch.tensor([len(tokens) - 1])).clone()
