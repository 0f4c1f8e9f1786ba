"""The model card: read off the model and the files it was loaded from."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.circuit.folder import seen_from
from lacewing.errors import ArtifactError
from lacewing.model.config import ModelConfig
from lacewing.model.registry import HUGGING_FACE, SPLICED, prefix_of
from lacewing.model.saved import SavedConfig
from lacewing.model.shipped import BUILTIN, folder_of
from lacewing.model.store import Model
from lacewing.watch.audit.schema import Card, Family, File

OURS = "Apache-2.0, as the package it ships in"
FAMILIES: Mapping[str, Family] = {HUGGING_FACE: "hugging_face", SPLICED: "autoencoders"}


@dataclass(frozen=True)
class Took:
    """What summary.json says of the training."""

    __pydantic_config__ = artifacts.LOOSE

    seconds: float | None = None


def card(model: Model, folder: Path, licence: str | None, files: tuple[File, ...]) -> Card:
    """The card of a model.

    Args:
        model: The model.
        folder: Where the audit will be.
        licence: As whoever makes the audit says; none where nobody said.
        files: Those it was loaded from.
    """
    config: Any = model.network.config
    numbers = _numbers(model)
    shape = config.as_json() if isinstance(config, ModelConfig) else dataclasses.asdict(config)
    text, text_id, seconds = _trained(model.source)
    return Card(
        source=seen_from(folder, model.source),
        id=model.id,
        name=model.name,
        family=FAMILIES.get(prefix_of(model.source), "lacewing"),
        layers=config.n_layer,
        width=config.d_model,
        heads=config.n_head,
        head_width=config.d_head,
        neurons=config.d_mlp,
        vocabulary=config.vocab_size,
        context=config.context,
        shape={key: _plain(value) for key, value in shape.items()},
        parameters=sum(count for count, _ in numbers),
        nonzero=sum(count for _, count in numbers),
        density=_density(model),
        tokenizer_id=model.tokenizer.id,
        text=text or str(model.corpus),
        text_id=text_id,
        validation_loss=model.validation_loss,
        training={key: _plain(value) for key, value in model.training.items()},
        training_seconds=seconds,
        licence=licence or (OURS if model.source.startswith(BUILTIN) else None),
        files=files,
    )


def _numbers(model: Model) -> list[tuple[int, int]]:
    """Of every tensor of weights, how many numbers it has and how many are not zero."""
    network: Any = model.network
    # Some models have one matrix under two names.
    kept = {(value.data_ptr(), value.shape): value for value in network.state_dict().values()}
    return [(value.numel(), int((value != 0).sum())) for value in kept.values()]


def _density(model: Model) -> float | None:
    """Nonzero share of all block matrices; several sites may share one."""
    joined = [
        mask
        for layer in range(model.network.config.n_layer)
        for mask in model.network.joined(layer).values()
    ]
    every = sum(mask.numel() for mask in joined)
    return sum(int(mask.sum()) for mask in joined) / every if every else None


def _trained(source: str) -> tuple[str | None, str | None, float | None]:
    """A run's text as it says it, its hash, and the seconds of training, where they are known."""
    if prefix_of(source):
        return None, None, None
    try:
        whole = artifacts.open_folder(folder_of(source), "run", links=source.startswith(BUILTIN))
        saved = whole.read("config.json", SavedConfig)
        return saved.trained_on, saved.corpus_id, whole.read("summary.json", Took).seconds
    except ArtifactError:
        return None, None, None


def _plain(value: Any) -> Any:
    """A setting as JSON holds it."""
    if isinstance(value, Mapping):
        return [f"{key}: {inner}" for key, inner in value.items()]
    if isinstance(value, list | tuple):
        return [one if isinstance(one, bool | int | float | str) else str(one) for one in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)
