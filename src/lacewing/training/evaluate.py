"""Measures of a model on pretraining text: its validation loss, and the mean of every site."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lacewing.data import batches
from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import Tokenizer
from lacewing.model.hooks import edit
from lacewing.model.protocol import Network
from lacewing.model.sites import site_widths
from lacewing.model.store import Model

PIECE = 32
"""Sequences evaluated at once."""


@torch.inference_mode()
def validation_loss(network: Network, sequences: Int[Tensor, "sequence token"]) -> float:
    """Mean next-token cross-entropy over fixed validation sequences, nats per token."""
    total = 0.0
    for piece in torch.split(sequences, PIECE):
        piece = piece.to(network.embedding().device)
        logits = network(piece[:, :-1])
        total += float(
            torch.nn.functional.cross_entropy(
                logits.float().flatten(0, 1), piece[:, 1:].flatten(), reduction="sum"
            )
        )
    return total / sequences[:, 1:].numel()


def bits_per_byte(
    network: Network,
    windows: Int[Tensor, "sequence token"],
    tokenizer: Tokenizer,
) -> float:
    """Cross-entropy over the predicted tokens of some text, in bits for each byte of them.

    Tokenizers cut text differently and bytes do not, so that models of different tokenizers can be
    compared, each in windows of its own context.

    Args:
        network: The model.
        windows: Pieces of the text, as `data.batches.sequences` gives them.
        tokenizer: What cut the text.
    """
    targets = windows[:, 1:]
    length = int(torch.from_numpy(tokenizer.byte_lengths())[targets].sum())
    nats = validation_loss(network, windows) * targets.numel()
    return nats / math.log(2) / length


def text_bits_per_byte(model: Model, corpus: Corpus, tokens: int = 200_000) -> float:
    """Bits per byte of a model on the validation files of a corpus.

    Args:
        model: The model.
        corpus: Its validation files are read, whole windows spread evenly over them.
        tokens: Tokens looked at, at most.

    Example:
        >>> model = load("builtin:sparse")  # doctest: +SKIP
        >>> text_bits_per_byte(model, Corpus.parse("code:standard_library"))  # doctest: +SKIP
        1.393
    """
    ids: list[int] = []
    for document in corpus.documents("validation"):
        ids += [*model.tokenizer.encode(document.text), model.tokenizer.end_of_text]
    windows = batches.sequences(np.array(ids, dtype=np.int64), model.network.config.context, tokens)
    return bits_per_byte(model.network, windows, model.tokenizer)


@torch.no_grad()
def site_means(
    network: Network, sequences: Int[Tensor, "sequence token"]
) -> dict[str, Float[Tensor, " channel"]]:
    """Mean of every site over all tokens of some pretraining text, for ablation (paper A.5)."""
    with summing(network) as sums:
        for piece in torch.split(sequences, PIECE):
            network(piece[:, :-1].to(network.embedding().device))
    count = sequences[:, 1 + network.spared :].numel()
    return {key: (total / count).float().cpu() for key, total in sums.items()}


@contextmanager
def summing(network: Network) -> Iterator[dict[str, Tensor]]:
    """Add up each site's values over all batches and tokens, in float64, while the block runs."""
    sums = {
        key: torch.zeros(width, dtype=torch.float64, device=network.embedding().device)
        for key, width in site_widths(network.config).items()
    }

    def adder(key: str):  # type: ignore[no-untyped-def]
        def add(value: Tensor) -> Tensor:
            sums[key] += value[:, network.spared :].flatten(0, 1).double().sum(0)
            return value

        return add

    with edit(network, {key: adder(key) for key in sums}):
        yield sums
