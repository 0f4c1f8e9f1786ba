"""Masks: which nodes run freely, and hooks that replace the values of all others."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from lacewing.circuit.edges import Nodes
from lacewing.model.hooks import record
from lacewing.model.protocol import Network, SiteHook
from lacewing.model.sites import site_widths
from lacewing.tasks.batch import Prompts

Masks = Mapping[str, Bool[Tensor, " channel"]]
"""Per site key, which channels run freely."""


def masks_of(network: Network, nodes: Nodes, complement: bool = False) -> dict[str, Tensor]:
    """Masks in which the nodes run freely, or, with `complement`, all nodes but these."""
    masks = {}
    for key, width in site_widths(network.config).items():
        kept = torch.zeros(width, dtype=torch.bool)
        kept[torch.from_numpy(nodes[key].astype(np.int64))] = True
        masks[key] = ~kept if complement else kept
    return masks


def nodes_of(masks: Masks) -> dict[str, np.ndarray]:
    """The nodes that run freely under masks, as a circuit holds them."""
    return {key: np.flatnonzero(mask.numpy()).astype(np.int32) for key, mask in masks.items()}


def replacing(masks: Masks, ablation_values: Mapping[str, Tensor]) -> dict[str, SiteHook]:
    """Hooks that replace the values of all unmasked nodes by constants."""

    def hook(mask: Tensor, ablation_value: Tensor) -> SiteHook:
        return lambda value: torch.where(mask, value, ablation_value)

    return {key: hook(mask, ablation_values[key]) for key, mask in masks.items()}


def resampling(
    network: Network, prompts: Prompts, donors: Prompts, masks: Masks
) -> dict[str, SiteHook]:
    """Hooks that take other prompts' values, token by token counted from the answer backwards.

    Args:
        network: Where the hooks will be set.
        prompts: What will run under them.
        donors: For every sequence of it the one whose values stand for those of ablated nodes.
        masks: Nodes that run freely.
    """
    with record(network, list(masks)) as seen:
        network(donors.tokens, at=donors.last)
    shift = (donors.last - prompts.last)[:, None]
    token = (torch.arange(prompts.tokens.shape[1])[None] + shift).clamp(min=0)
    token = torch.minimum(token, donors.last[:, None])
    row = torch.arange(len(donors.last))[:, None]

    def filler(key: str) -> SiteHook:
        # A token axis of length 1: a site that ran at the answer only (see Transformer.forward).
        other = seen[key] if seen[key].shape[1] == 1 else seen[key][row, token]

        def hook(value: Tensor) -> Tensor:
            return torch.where(masks[key], value, other)

        return hook

    return {key: filler(key) for key in masks}
