"""A circuit that answers prompts: compiled where the network is ours, by hooks over latents."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.masks import Masks, replacing
from lacewing.model.hooks import ablate
from lacewing.model.protocol import Network
from lacewing.model.transformer import Transformer

Answering = Callable[[Tensor, Tensor], Tensor]
"""From tokens [sequence token] and the place asked of each, to logits [sequence vocab]."""


def running(network: Network, masks: Masks, values: Mapping[str, Tensor]) -> Answering:
    """A network in which only some nodes run.

    Args:
        network: The model's.
        masks: Those nodes.
        values: By site, what stands for the others.
    """
    if isinstance(network, Transformer):
        return CompiledCircuit(network, masks, values)

    def answer(tokens: Tensor, at: Tensor) -> Tensor:
        with ablate(network, replacing(masks, values)):
            return network(tokens, at)

    return answer


@torch.inference_mode()
def next_logits(network: Answering, tokens: list[int]) -> Tensor:
    """Logits after a prompt, [1, vocab]."""
    return network(torch.tensor([tokens]), torch.tensor([len(tokens) - 1])).clone()
