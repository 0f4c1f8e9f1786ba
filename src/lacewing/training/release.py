"""Make a small model folder out of a finished run: the compact form, with nothing hidden.

    weights rounded to bfloat16         half the bytes; exact from then on
    bigram rows shifted to median 0     changes no probability: the softmax ignores a constant
    bigram cut to its largest entries   dense in training, it would be most of the file
    the text's folder is left out       where prompts can be cut from what everybody has

The rounded model is a model of its own: its validation loss and site means are measured again, and
what the rounding cost stands in its summary.json.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from lacewing import artifacts
from lacewing.data.batches import sequences
from lacewing.data.corpus import NAMED, plain
from lacewing.data.shards import stored
from lacewing.data.tokenizer import Tokenizer
from lacewing.kernels.keep_largest import keep_largest_
from lacewing.model.store import COMPACT, MEANS, compact_bytes, load, model_id, parameters
from lacewing.model.transformer import Transformer
from lacewing.training.density import densities
from lacewing.training.evaluate import site_means, validation_loss
from lacewing.training.run import SNAPSHOTS, read_summary, training_of

BIGRAM_ENTRIES = 800_000


def release(run: Path, output: Path, bigram_entries: int = BIGRAM_ENTRIES) -> Path:
    """Write the compact form of a finished run.

    Args:
        run: The run folder, with its token shards.
        output: The model folder to write; replaced if it is there.
        bigram_entries: Bigram entries kept.

    Returns:
        `output`.
    """
    model, whole = load(run), artifacts.open_folder(run, "run")
    training = training_of(run)
    tokens = stored(run / "tokens").validation
    validation = sequences(tokens, training.context, training.validation_tokens)
    round_(model.ours, bigram_entries)
    if torch.accelerator.is_available():  # a build for GPUs may run where there is none
        # What follows are passes over a lot of text.
        model.ours.to(torch.accelerator.current_accelerator())
    before = read_summary(run)
    loss = validation_loss(model.ours, validation)
    summary = before | {
        "validation_loss": loss,
        "densities": densities(model.ours),
        "nonzero": sum(int(torch.count_nonzero(p)) for p in model.ours.parameters()),
        "released_from": before["id"],
        "rounding_cost": loss - before["validation_loss"],
    }
    config = json.dumps(for_everybody(whole.json("config.json")), indent=1).encode() + b"\n"

    def file(name: str) -> bytes:
        return config if name == "config.json" else whole.bytes(name)

    _write(file, output, model.ours, model.tokenizer, summary, validation)
    return output


def for_everybody(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration whose corpus is the part of it that every interpreter has.

    A folder's path says nothing elsewhere; the id of its corpus does, and stands in `trained_on`.
    """
    spec = str(config["corpus"])
    names = plain(spec).split("+")
    here, folders = [n for n in names if n in NAMED], [n for n in names if n not in NAMED]
    if not here or not folders:
        return config
    prefix = spec.removesuffix(plain(spec))
    said = [f"corpus {config.get('corpus_id') or 'of a folder'}", *here]
    return config | {"corpus": prefix + "+".join(here), "trained_on": prefix + "+".join(said)}


def snapshot(
    run: Path,
    network: Transformer,
    tokenizer: Tokenizer,
    validation: Int[Tensor, "sequence token"],
    step: int,
) -> Path:
    """Keep the compact form of a model that is still in training, as RUN/snapshots/STEP.

    Args:
        run: The run folder.
        network: The model; it is not changed.
        tokenizer: Its tokenizer.
        validation: Sequences its loss and means are measured on.
        step: Steps finished.
    """
    copy = Transformer(network.config)
    copy.load_state_dict(parameters(network))
    copy.to(network.lm_head.weight.device)
    round_(copy.eval(), BIGRAM_ENTRIES)
    summary = {
        "validation_loss": validation_loss(copy, validation),
        "validation_tokens": validation[:, 1:].numel(),
        "steps": step,
        "nonzero": sum(int(torch.count_nonzero(p)) for p in copy.parameters()),
        "densities": densities(copy),
    }
    output = run / SNAPSHOTS / str(step)

    def file(name: str) -> bytes:
        return artifacts.read_bytes(run / name)

    _write(file, output, copy, tokenizer, summary, validation)
    return output


def round_(network: Transformer, bigram_entries: int) -> None:
    """Round all weights to bfloat16 and cut the bigram table, in place."""
    with torch.no_grad():
        if network.bigram is not None:
            network.bigram -= network.bigram.median(dim=1, keepdim=True).values
            keep_largest_(network.bigram.data, bigram_entries)
        for parameter in network.parameters():
            parameter.copy_(parameter.bfloat16().float())


def _write(
    file: Callable[[str], bytes],
    output: Path,
    network: Transformer,
    tokenizer: Tokenizer,
    summary: Mapping[str, object],
    validation: Int[Tensor, "sequence token"],
) -> None:
    """Write a model folder; `file` gives the content of the run's own files."""
    means = site_means(network, validation)
    names = ("config.json", "tokenizer.json", "metrics.jsonl")
    artifacts.write_folder(
        output,
        "run",
        files={name: file(name) for name in names} | {COMPACT: compact_bytes(network)},
        tensors={MEANS: means},
        json={"summary.json": dict(summary) | {"id": model_id(network, means, tokenizer)}},
        replace=True,
    )
