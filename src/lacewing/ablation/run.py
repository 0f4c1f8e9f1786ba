"""Ablate: replace what is outside a circuit (or inside) and see what the model still does.

Masks act after AbsTopK and are the same at every token and prompt. For what is ablated stands its
mean over the pretraining text, zero, or its value in another prompt (paper A.5, method section 6).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.donors import donated, resampling
from lacewing.ablation.live_maps import ablating, unwanted_left_out
from lacewing.ablation.masks import Masks, few_live, replacing
from lacewing.ablation.packed import packed_pieces, runs_packed
from lacewing.ablation.prefix_run import logits_at_ends, logits_packed, runs_at_prefixes
from lacewing.ablation.prefixes import UniquePrefixes, in_pieces, recorded_at_once, shared
from lacewing.ablation.values import ablation_values_of
from lacewing.circuit.calibration import Calibration, calibrated
from lacewing.circuit.circuit import Ablation
from lacewing.errors import DataError
from lacewing.model.hooks import ablate
from lacewing.model.protocol import Network, SiteHook
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
    network, count = model.network, len(prompts)
    if ablation == "resample" and masks is not None:
        if count < 2:
            raise DataError(
                "resampling takes values of another pair, but there is only one: add pairs"
            )
        for rows in in_pieces(count, recorded_at_once(network, prompts.tokens.shape[1])):
            with torch.no_grad():
                piece = _resampled(network, prompts, rows, masks)
            yield piece
        return
    ablation_values = ablation_values_of(model, ablation)
    if runs_at_prefixes(network):
        yield from logits_at(network, shared(prompts), masks, ablation_values)
        return
    ablated = ablating(network, masks, ablation_values)
    if runs_packed(network, prompts):
        for few in packed_pieces(prompts):
            with torch.no_grad(), ablated:
                piece = logits_packed(network, few)
            yield piece
        return
    for rows in in_pieces(count):
        with torch.no_grad(), ablated:
            piece = _plain(network, prompts.take(rows))
        yield piece


def logits_at(
    network: Transformer,
    pieces: Sequence[UniquePrefixes],
    masks: Masks | None,
    ablation_values: Mapping[str, Tensor],
    wanted: Int64[Tensor, " wanted"] | None = None,
) -> Iterator[Float[Tensor, "sequence vocab"]]:
    """Logits at the ends of prompts whose unique prefixes are known, piece by piece.

    Args:
        network: The model.
        pieces: The prompts; what the first block reads there may be kept, of all channels.
        masks: Nodes that run freely; none for the full model.
        ablation_values: Per site key, what stands for the others.
        wanted: The tokens whose logits are asked for; those of others may be NaN.
    """
    run: Callable[[UniquePrefixes], Tensor] = partial(logits_at_ends, network)
    edits = _edits(masks, ablation_values)
    if masks is not None and masks.keys() == site_widths(network.config).keys() and few_live(masks):
        compiled, edits = CompiledCircuit(network, masks, ablation_values), {}
        run = partial(compiled.logits, wanted=wanted)
    for piece in pieces:
        with torch.no_grad(), ablate(network, edits):
            logits = run(piece)
        yield logits


def _edits(masks: Masks | None, ablation_values: Mapping[str, Tensor]) -> dict[str, SiteHook]:
    return {} if masks is None else replacing(masks, ablation_values)


def _plain(network: Callable[..., Tensor], prompts: Prompts) -> Tensor:
    return network(prompts.tokens, at=prompts.last)


def _resampled(network: Network, prompts: Prompts, rows: range, masks: Masks) -> Tensor:
    piece = prompts.take(rows)
    # Donors of the whole set, not of the piece.
    donors = prompts.take([(row + 1) % len(prompts) for row in rows])
    given = donated(network, piece, donors, masks)
    with unwanted_left_out(network, masks), ablate(network, resampling(masks, given)):
        return _plain(network, piece)
