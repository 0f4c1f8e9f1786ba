"""Ablate: replace what is outside a circuit (or inside) and see what the model still does.

Masks act after AbsTopK and are the same at every token and prompt. For what is ablated stands its
mean over the pretraining text, zero, or its value in another prompt (paper A.5, method section 6).
"""

from collections.abc import Callable, Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.masks import Masks, replacing, resampling
from lacewing.ablation.prefixes import UniquePrefixes, in_pieces
from lacewing.ablation.values import ablation_values_of
from lacewing.circuit.calibration import Calibration, calibrated
from lacewing.circuit.circuit import Ablation
from lacewing.errors import DataError
from lacewing.model.hooks import ablate
from lacewing.model.protocol import Network
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.model.transformer import Transformer
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import two_answer_loss


@torch.inference_mode()
def ablated_loss(
    model: Model,
    prompts: Prompts,
    masks: Masks | None,
    ablation: Ablation = "mean",
    calibration: Calibration | None = None,
) -> Float[Tensor, " sequence"]:
    """Two-answer cross-entropy of every sequence with all unmasked nodes ablated.

    Args:
        model: The model.
        prompts: Pairs; `resample` takes the values of the following pair's same member, the
            last with the first's.
        masks: Nodes that run freely; none for the full model.
        ablation: What the others are replaced by.
        calibration: Correction of the logits.

    Returns:
        Loss per sequence in nats; pair i is entries 2i and 2i + 1.
    """
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
    return torch.cat(list(logits_in_pieces(model, prompts, masks, ablation)))


def logits_in_pieces(
    model: Model, prompts: Prompts, masks: Masks | None, ablation: Ablation = "mean"
) -> Iterator[Float[Tensor, "sequence vocab"]]:
    """The same, piece by piece, for those who may not need all.

    Raises:
        DataError: resampling with fewer than two pairs.
    """
    count = len(prompts)
    if ablation == "resample" and count < 2:
        raise DataError("resampling takes values of another pair, but there is only one: add pairs")
    run = _runner(model, prompts, masks, ablation)
    for rows in in_pieces(count):
        with torch.no_grad():
            piece = run(rows)
        yield piece


def _runner(
    model: Model, prompts: Prompts, masks: Masks | None, ablation: Ablation
) -> Callable[[range], Tensor]:
    """How to get the logits of some pairs."""
    network = model.network
    if masks is None:
        return lambda rows: _plain(network, prompts.take(rows))
    if ablation == "resample":
        return lambda rows: _resampled(network, prompts, rows, masks)
    ablation_values = ablation_values_of(model, ablation)
    whole = masks.keys() == site_widths(network.config).keys() and _few(masks)
    if whole and isinstance(network, Transformer):  # others cannot be compiled
        compiled = CompiledCircuit(network, masks, ablation_values)
        return lambda rows: compiled.logits(_prefixes(prompts.take(rows)))
    return lambda rows: _masked(network, prompts.take(rows), masks, ablation_values)


def _few(masks: Masks) -> bool:
    """Whether few enough nodes are live for a compiled circuit to be faster."""
    return sum(int(m.sum()) for m in masks.values()) < 0.5 * sum(map(len, masks.values()))


def _plain(network: Callable[..., Tensor], prompts: Prompts) -> Tensor:
    return network(prompts.tokens, at=prompts.last)


def _prefixes(prompts: Prompts) -> UniquePrefixes:
    return UniquePrefixes.of(prompts.tokens, prompts.last)


def _masked(
    network: Network, prompts: Prompts, masks: Masks, ablation_values: Mapping[str, Tensor]
) -> Tensor:
    with ablate(network, replacing(masks, ablation_values)):
        return _plain(network, prompts)


def _resampled(network: Network, prompts: Prompts, rows: range, masks: Masks) -> Tensor:
    piece = prompts.take(rows)
    # Donors of the whole set, not of the piece.
    donors = prompts.take([(row + 1) % len(prompts) for row in rows])
    with ablate(network, resampling(network, piece, donors, masks)):
        return _plain(network, piece)
