"""Models on disk: a folder with config.json, tokenizer.json, means.safetensors and the weights.

The weights are `model.safetensors`, or `model.compact.safetensors` (see `compact`), exact to the
bit. A model is known by its id, a hash of its weights, so that a circuit can say whose it is.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing import artifacts
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ArtifactError
from lacewing.model import compact
from lacewing.model.config import ModelConfig
from lacewing.model.sites import site_widths
from lacewing.model.transformer import Transformer

WHOLE, COMPACT = "model.safetensors", "model.compact.safetensors"
BUILTIN = "builtin:"
MEANS = "means.safetensors"


@dataclass(frozen=True)
class Model:
    """A trained transformer with everything needed to use it."""

    network: Transformer
    """The weights, in evaluation mode and without gradients."""
    tokenizer: Tokenizer
    """The tokenizer it was trained with."""
    means: Mapping[str, Float[Tensor, " channel"]]
    """Mean of every site over the pretraining text, after AbsTopK."""
    id: str
    """First 16 hexadecimal digits of a hash of the weights."""
    source: str
    """Where it was loaded from: a folder, or builtin:NAME."""
    corpus: str
    """The corpus it was trained on, as `Corpus.parse` reads it."""
    validation_loss: float
    """Nats per token on the validation text, at the end of training."""
    training: Mapping[str, object]
    """The saved training configuration."""


def model_id(network: Transformer) -> str:
    """The id of a model: a hash over its parameters' names and exact values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def parameters(network: Transformer) -> dict[str, Tensor]:
    """The parameters by name, detached and on the CPU."""
    return {name: t.detach().cpu() for name, t in network.state_dict().items()}


def folder_of(source: str | Path) -> Path:
    """The folder behind `builtin:NAME` or a path.

    Raises:
        ArtifactError: no builtin model of that name.
    """
    text = str(source)
    if not text.startswith(BUILTIN):
        return Path(source)
    name = text.removeprefix(BUILTIN)
    shipped = Path(str(resources.files("lacewing"))) / "builtin"
    known = sorted(p.name for p in shipped.glob("*") if (p / "manifest.json").exists())
    if name not in known:
        raise ArtifactError(f"no builtin model {name!r}; there are: {', '.join(known) or 'none'}")
    return shipped / name


def load(source: str | Path) -> Model:
    """Load a model from a run folder, or from the package (`builtin:NAME`).

    Raises:
        ArtifactError: the folder is missing, unfinished, of another kind, or its files are
            truncated or do not fit the configuration.
    """
    folder = folder_of(source)
    artifacts.read_manifest(folder, "run")
    saved = artifacts.read_json(folder / "config.json")
    network = Transformer(model_config(saved["model"], folder))
    _fill(network, folder)
    network.eval().requires_grad_(False)
    means = artifacts.read_tensors(folder / MEANS)
    for key, width in site_widths(network.config).items():
        if key not in means or means[key].shape != (width,):
            raise ArtifactError(
                f"{folder / MEANS} has no {width} means for site {key}: not of this model"
            )
    summary = artifacts.read_json(folder / "summary.json")
    return Model(
        network=network,
        tokenizer=Tokenizer.load(folder / "tokenizer.json"),
        means=means,
        id=model_id(network),
        source=str(source),
        corpus=saved["corpus"],
        validation_loss=summary["validation_loss"],
        training=saved["training"],
    )


def model_config(saved: Mapping[str, object], folder: Path) -> ModelConfig:
    """The configuration in a saved file; keys of other versions are refused by name."""
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    unknown = set(saved) - known
    if unknown:
        raise ArtifactError(
            f"{folder / 'config.json'} has unknown model keys {sorted(unknown)}: made by another "
            "version of lacewing"
        )
    # JSON knows no tuples.
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}
    return ModelConfig(**values)


def write_compact(path: Path, network: Transformer) -> None:
    """Write the weights in compact form."""
    packed, shapes = compact.pack(parameters(network))
    artifacts.write_tensors(path, packed, metadata=shapes)


def _fill(network: Transformer, folder: Path) -> None:
    whole = folder / WHOLE
    if whole.exists():
        tensors = artifacts.read_tensors(whole)
    else:
        path = folder / COMPACT
        packed = artifacts.read_tensors(path)
        try:
            tensors = compact.unpack(packed, artifacts.read_metadata(path))
        except (KeyError, IndexError, ValueError, RuntimeError) as error:
            raise ArtifactError(f"{path} is no compact lacewing model ({error})") from error
    expected = network.state_dict()
    if set(tensors) != set(expected):
        odd = sorted(set(tensors) ^ set(expected))
        raise ArtifactError(
            f"{folder} holds the weights of another model: {odd[0]} is in only one of file and "
            "config"
        )
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape:
            raise ArtifactError(
                f"{folder}: {name} is {tuple(tensors[name].shape)} in the file, "
                f"{tuple(tensor.shape)} by config.json: weights of another model"
            )
    network.load_state_dict({name: t.to(torch.float32) for name, t in tensors.items()})
