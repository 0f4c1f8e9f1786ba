"""Ablate: replace what is outside a circuit (or inside) and see what the model still does.

Masks act after AbsTopK, are the same at every token and prompt, and fill with the mean over the
pretraining text, zero, or the values of another prompt (paper A.5, method section 6).
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lacewing.circuits.circuit import Ablation, Calibration
from lacewing.circuits.edges import Nodes
from lacewing.errors import DataError
from lacewing.model.hooks import edit, record
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.model.transformer import SiteHook, Transformer
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import two_answer_loss

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
        prompts: Pairs; `resample` fills with the values of the following pair's same member, the
            last with the first's.
        masks: Nodes that run freely; none for the full model.
        ablation: What the others are replaced by.
        calibration: Correction of the logits.
        fast: Multiply in bf16; for searching, not for reporting.

    Returns:
        Loss per sequence in nats; pair i is entries 2i and 2i + 1.
    """
    with torch.autocast("cpu", torch.bfloat16, enabled=fast):
        logits = ablated_logits(model, prompts, masks, ablation)
    return two_answer_loss(calibrated(logits, calibration), prompts)


@torch.no_grad()
def ablated_logits(
    model: Model, prompts: Prompts, masks: Masks | None, ablation: Ablation = "mean"
) -> Float[Tensor, "sequence vocab"]:
    """Logits at the answer position with all unmasked nodes ablated, some pairs at a time.

    Raises:
        DataError: resampling with fewer than two pairs.
    """
    count = len(prompts)
    if ablation == "resample" and count < 2:
        raise DataError("resampling fills from another pair, but there is only one: add pairs")
    logits = []
    for start in range(0, count, PIECE):
        rows = range(start, min(start + PIECE, count))
        donors = [(row + 1) % count for row in rows]  # of the whole set, not of the piece
        piece = prompts.take(rows)
        logits.append(_logits(model, piece, prompts.take(donors), masks, ablation).float())
    return torch.cat(logits)


def _logits(
    model: Model, prompts: Prompts, donors: Prompts, masks: Masks | None, ablation: Ablation
) -> Tensor:
    if masks is None:
        return model.network(prompts.tokens, at=prompts.last)
    if ablation == "resample":
        edits = _resampling(model.network, prompts, donors, masks)
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


def _resampling(
    network: Transformer, prompts: Prompts, donors: Prompts, masks: Masks
) -> dict[str, SiteHook]:
    """Fill from another pair's run, token by token counted from the answer backwards."""
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
