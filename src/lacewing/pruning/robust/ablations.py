"""Masks on every site of a model that is learned on, under one ablation.

mean      what is off has its mean
subset    a random half of what is off runs on, drawn anew for every sequence
resample  what is off has the values of another prompt, of either answer
zero      what is off is zero
frozen    mean, with every norm dividing by what it divides by in the full model
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Literal

import torch
from torch import Tensor

from lacewing.ablation.donors import donated
from lacewing.ablation.modes import frozen_norms, measured_norms, sequences, some_donors
from lacewing.ablation.node_mask import NodeMask, gates, steps
from lacewing.ablation.prefix_run import Batch
from lacewing.kernels.gate import gate
from lacewing.model.hooks import ablate
from lacewing.model.protocol import Network, SiteHook
from lacewing.tasks.batch import Prompts

Ablations = Literal["mean", "subset", "resample", "zero", "frozen"]
"""What stands for the nodes that a mask turns off."""
SHARING: tuple[Ablations, ...] = ("mean", "zero", "frozen")
"""Those that treat all tokens alike, so that prompts can share their beginnings."""
CONSTANT: tuple[Ablations, ...] = ("mean", "zero")
"""Those under which what is off has one value everywhere."""


def put_on(
    stack: ExitStack,
    batch: Batch,
    masks: Sequence[NodeMask],
    ablation: Ablations,
    generator: torch.Generator,
) -> None:
    """Put masks on every site of the network, under one ablation, until the stack is left.

    Args:
        stack: Gets what has to be undone.
        batch: What will run; beginnings are shared only under ablations of SHARING.
        masks: One per circuit of the batch.
        ablation: What stands for the nodes that are off.
        generator: Draws the subsets.
    """
    if ablation == "frozen":
        with torch.no_grad(), measured_norms(batch.network) as scales:
            batch.logits()
        stack.enter_context(frozen_norms(batch.network, scales))
    if ablation in ("mean", "frozen"):
        hooks = gates(masks, batch.owners)
    elif ablation == "zero":
        nothing = {key: torch.zeros_like(mean) for key, mean in masks[0].means.items()}
        hooks = gates(masks, batch.owners, nothing)
    elif ablation == "resample":
        hooks = _resampled(batch.network, masks, batch.circuit, batch.together, generator)
    else:
        hooks = _in_part(masks, batch.circuit, generator)
    stack.enter_context(ablate(batch.network, hooks))


def _in_part(
    masks: Sequence[NodeMask], circuit: Tensor, generator: torch.Generator
) -> dict[str, SiteHook]:
    """Hooks that let a random half of what is off run on, another one in every sequence."""
    hooks: dict[str, SiteHook] = {}
    own = torch.arange(len(circuit))
    for key, step in steps(masks).items():
        rows = step[circuit]
        free = torch.rand(rows.shape, generator=generator) < 0.5
        # What runs on in any case does not hang on the mask, so no gradient reaches it.
        hooks[key] = gated(rows * ~free, (rows.detach() > 0) | free, masks[0].means[key], own)
    return hooks


def gated(rows: Tensor, on: Tensor, mean: Tensor, own: Tensor) -> SiteHook:
    """A hook of `gate`: what passes, and what gets its gradient."""
    return lambda value: gate(value, rows, on, mean, own)


def _resampled(
    network: Network,
    masks: Sequence[NodeMask],
    circuit: Tensor,
    together: Prompts,
    generator: torch.Generator,
) -> dict[str, SiteHook]:
    """Hooks that put another prompt's values where a mask is off."""
    seed = int(torch.randint(2**31, (), generator=generator))
    donors = sequences(together, some_donors(together, seed))
    given = donated(network, together, donors, masks[0].widths)
    return {
        key: _mixed(step[circuit].unsqueeze(1), given[key]) for key, step in steps(masks).items()
    }


def _mixed(rows: Tensor, given: Tensor) -> SiteHook:
    def hook(value: Tensor) -> Tensor:
        other = given.to(value.dtype)
        return other + rows.to(value.dtype) * (value - other)

    return hook
