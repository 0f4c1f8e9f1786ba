"""A network of others as a model folder of ours: with its means over text, and its loss there."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lacewing import artifacts
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ArtifactError, MismatchError
from lacewing.model.families import WRITERS
from lacewing.model.huggingface.means import means_of
from lacewing.model.store import MEANS, WHOLE, model_id, parameters
from lacewing.model.transformer import Transformer, writers

WINDOW = 256
"""Tokens of a window of text at most: what these models were trained on, whatever they can take."""


def save_model(
    network: Transformer,
    tokenizer: Tokenizer,
    output: Path,
    corpus: str,
    about: Mapping[str, Any],
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Measure a network and write it as a model folder.

    Args:
        network: It.
        tokenizer: Its tokenizer.
        output: The folder; must not exist.
        corpus: The text its means and its loss are measured on.
        about: What to keep of where it is from, plain values.
        quiet: No bar.

    Returns:
        What was written, plain values.

    Raises:
        MismatchError: the tokenizer has more tokens than the model.
        ArtifactError: the folder exists, or cannot be written.
        DataError: the corpus has no text that is long enough.
    """
    config = network.config
    if tokenizer.vocab_size > config.vocab_size:
        raise MismatchError(
            f"the tokenizer has {tokenizer.vocab_size} tokens but the model knows "
            f"{config.vocab_size}: they do not belong together"
        )
    size = min(config.context, WINDOW)
    means, loss = means_of(network, tokenizer, corpus, size=size, quiet=quiet)
    finite({"loss": loss} | {key: float(mean.sum()) for key, mean in means.items()}, output)
    identity = model_id(network, means, tokenizer)
    training = {"density": density(network), **about}
    saved = {
        "format": artifacts.FORMAT,
        "model": config.as_json(),
        "training": training,
        "corpus": corpus,
    }
    summary = {
        "id": identity,
        "validation_loss": loss,
        "nonzero": sum(int(torch.count_nonzero(t)) for t in network.state_dict().values()),
    }
    artifacts.write_folder(
        output,
        "run",
        files={"tokenizer.json": tokenizer.to_bytes(), "metrics.jsonl": b""},
        json={"config.json": saved, "summary.json": summary},
        tensors={MEANS: means, WHOLE: parameters(network)},
    )
    return {
        "model": str(output),
        "id": identity,
        "layers": config.n_layer,
        "width": config.d_model,
        "parts": {k: v for k, v in config.as_json().items() if k not in ("n_layer", "d_model")},
        "validation_loss": loss,
        "window": size,
        **training,
    }


def finite(figures: dict[str, float], where: Path) -> dict[str, float]:
    """Figures, where none is infinite or none at all.

    Raises:
        ArtifactError: one is: the weights are damaged.
    """
    if odd := [name for name, value in figures.items() if not math.isfinite(value)]:
        raise ArtifactError(
            f"{where}: {odd[0]} is {figures[odd[0]]}: the weights it was measured with are damaged "
            "or of another model; nothing was written"
        )
    return figures


def density(network: Transformer) -> float:
    """Nonzero share of all block matrices together."""
    nonzero = entries = 0
    for block in network.blocks:
        for site in WRITERS:
            weight = writers(block)[site][0]
            nonzero += int(torch.count_nonzero(weight))
            entries += weight.numel()
    return nonzero / entries
