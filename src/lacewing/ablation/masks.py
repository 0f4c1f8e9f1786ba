"""Masks: which nodes run freely, and hooks that replace the values of all others."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from lacewing.circuit.edges import Nodes
from lacewing.model.protocol import Network, SiteHook
from lacewing.model.sites import site_widths

Masks = Mapping[str, Bool[Tensor, " channel"]]
"""Per site key, which channels run freely."""


def masks_of(network: Network, nodes: Nodes, complement: bool = False) -> dict[str, Tensor]:
    """Masks in which the nodes run freely, or, with `complement`, all nodes but these.

    A site that has no entry is no part of the claim (see `circuit.parts`): it always runs freely.
    """
    masks = {}
    for key, width in site_widths(network.config).items():
        if key not in nodes:
            masks[key] = torch.ones(width, dtype=torch.bool)
            continue
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


def few_live(masks: Masks, share: float = 0.5) -> bool:
    """Whether few enough nodes are live for a compiled circuit to be faster."""
    return sum(int(m.sum()) for m in masks.values()) < share * sum(map(len, masks.values()))
