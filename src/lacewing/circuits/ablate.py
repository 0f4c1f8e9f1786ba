"""Ablate: replace what is outside a circuit (or inside) and see what the model still does.

Masks act after AbsTopK, are the same at every token and prompt, and fill with the mean over the
pretraining text, zero, or the values of another prompt (paper A.5, method section 6).
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lacewing.circuits.circuit import Calibration
from lacewing.circuits.edges import Nodes
from lacewing.model.hooks import edit, record
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.model.transformer import SiteHook, Transformer
from lacewing.tasks.scoring import two_answer_loss
from lacewing.tasks.batch import Prompts

Ablation = Literal["mean", "zero", "resample"]
Masks = Mapping[str, Bool[Tensor, " channel"]]
"""Per site key, which channels run freely."""

PIECE = 64
"""Pairs run at once."""


def masks_of(network: Transformer, nodes: Nodes, complement: bool = False) -> dict[str, Tensor]:
    """Masks in which the nodes run freely, or, with `complement`, all nodes but these."""
    masks = {}
    for key, width in site_widths(network.config).items():
        kept = torch.zeros(width, dtype=torch.bool)
        kept[torch.from_numpy(nodes[key].astype(np.int64))] = True
        masks[key] = ~kept if complement else kept
    return masks


@torch.inference_mode()
def ablated_loss(
    model: Model,
    prompts: Prompts,
    masks: Masks | None,
    ablation: Ablation = "mean",
    calibration: Calibration | None = None,
    fast: bool = False,
) -> Float[Tensor, " sequence"]:
    """Two-answer cross-entropy of every sequence with all unmasked nodes ablated.

    Args:
        model: The model.
        prompts: Pairs; `resample` fills with the values of the following pair's same member.
        masks: Nodes that run freely; none for the full model.
        ablation: What the others are replaced by.
        calibration: Correction of the logits.
        fast: Multiply in bf16; for searching, not for reporting.

    Returns:
        Loss per sequence in nats; pair i is entries 2i and 2i + 1.
    """
    losses = []
    for start in range(0, len(prompts), PIECE):
        piece = prompts.take(range(start, min(start + PIECE, len(prompts))))
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            logits = ablated_logits(model, piece, masks, ablation).float()
        losses.append(two_answer_loss(calibrated(logits, calibration), piece))
    return torch.cat(losses)


def ablated_logits(
    model: Model, prompts: Prompts, masks: Masks | None, ablation: Ablation = "mean"
) -> Float[Tensor, "sequence vocab"]:
    """Logits at the answer position with all unmasked nodes ablated."""
    if masks is None:
        return model.network(prompts.tokens, at=prompts.last)
    if ablation == "resample":
        edits = _resampling(model.network, prompts, masks)
    else:
        edits = {
            key: _filling(mask, model.means[key] if ablation == "mean" else None)
            for key, mask in masks.items()
        }
    with edit(model.network, edits):
        logits: Tensor = model.network(prompts.tokens, at=prompts.last)
    return logits


def calibrated(logits: Tensor, calibration: Calibration | None) -> Tensor:
    """The logits after a circuit's calibration."""
    if calibration is None:
        return logits
    logits = logits * calibration.scale
    for token, bias in calibration.bias.items():
        logits[:, token] += bias
    return logits


def _filling(mask: Tensor, mean: Tensor | None) -> SiteHook:
    fill = torch.zeros(len(mask)) if mean is None else mean

    def hook(value: Tensor) -> Tensor:
        return torch.where(mask, value, fill.to(value.dtype))

    return hook


def _resampling(network: Transformer, prompts: Prompts, masks: Masks) -> dict[str, SiteHook]:
    """Fill from the next pair's run, token by token counted from the answer backwards."""
    with record(network, list(masks)) as seen:
        network(prompts.tokens, at=prompts.last)
    donor = torch.arange(len(prompts.last)).roll(-2)
    shift = (prompts.last[donor] - prompts.last)[:, None]
    token = (torch.arange(prompts.tokens.shape[1])[None] + shift).clamp(min=0)
    token = torch.minimum(token, prompts.last[donor][:, None])

    def filler(key: str) -> SiteHook:
        values = seen[key]
        at_end = values.shape[1] == 1
        other = values[donor] if at_end else values[donor[:, None], token]

        def hook(value: Tensor) -> Tensor:
            return torch.where(masks[key], value, other)

        return hook

    return {key: filler(key) for key in masks}
