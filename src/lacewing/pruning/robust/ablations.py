"""Masks on every site of a model that is learned on, under one ablation.

mean      what is off has its mean
subset    a random half of what is off runs on, drawn anew for every sequence
resample  what is off has the values of another prompt, of either answer
zero      what is off is zero
frozen    mean, with every norm dividing by what it divides by in the full model
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Literal

import torch
from torch import Tensor

from lacewing.ablation.masks import resampling
from lacewing.ablation.modes import frozen_norms, measured_norms, sequences, some_donors
from lacewing.ablation.node_mask import NodeMask, edits, steps
from lacewing.kernels.gate import gate
from lacewing.model.hooks import ablate
from lacewing.model.protocol import Network, SiteHook
from lacewing.tasks.batch import Prompts

Ablations = Literal["mean", "subset", "resample", "zero", "frozen"]
"""What stands for the nodes that a mask turns off."""


def put_on(
    stack: ExitStack,
    network: Network,
    masks: Sequence[NodeMask],
    circuit: Tensor,
    together: Prompts,
    ablation: Ablations,
    generator: torch.Generator,
) -> None:
    """Put masks on every site of the network, under one ablation, until the stack is left.

    Args:
        stack: Gets what has to be undone.
        network: The model.
        masks: One per circuit of the batch.
        circuit: Which mask every sequence has.
        together: The batch.
        ablation: What stands for the nodes that are off.
        generator: Draws the subsets.
    """
    if ablation == "frozen":
        with torch.no_grad(), measured_norms(network) as scales:
            network(together.tokens, at=together.last)
        stack.enter_context(frozen_norms(network, scales))
    if ablation in ("mean", "frozen"):
        hooks = edits(masks, circuit)
    elif ablation == "resample":
        hooks = _resampled(network, masks, circuit, together, generator)
    else:
        hooks = _filled(masks, circuit, ablation, generator)
    stack.enter_context(ablate(network, hooks))


def _filled(
    masks: Sequence[NodeMask], circuit: Tensor, ablation: Ablations, generator: torch.Generator
) -> dict[str, SiteHook]:
    """Hooks that put zero where a mask is off, or let a random half of that run on."""
    hooks: dict[str, SiteHook] = {}
    own = torch.arange(len(circuit))
    for key, step in steps(masks).items():
        mean, rows = masks[0].means[key], step[circuit]
        on = rows.detach() > 0
        if ablation == "zero":
            mean = torch.zeros_like(mean)
        else:
            free = torch.rand(rows.shape, generator=generator) < 0.5
            # What runs on in any case does not hang on the mask, so no gradient reaches it.
            rows, on = rows * ~free, on | free
        hooks[key] = gated(rows, on, mean, own)
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
    nothing = {k: torch.zeros(w, dtype=torch.bool) for k, w in masks[0].widths.items()}
    with torch.no_grad():
        ablation_value = resampling(network, together, donors, nothing)
    return {
        key: _mixed(step[circuit].unsqueeze(1), ablation_value[key])
        for key, step in steps(masks).items()
    }


def _mixed(rows: Tensor, ablation_value: Callable[[Tensor], Tensor]) -> SiteHook:
    def hook(value: Tensor) -> Tensor:
        other = ablation_value(value.detach()).to(
            value.dtype
        )  # all of it, since nothing is kept there
        return other + rows.to(value.dtype) * (value - other)

    return hook
