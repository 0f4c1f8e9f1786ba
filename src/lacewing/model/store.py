"""Models on disk: a folder with config.json, tokenizer.json, means.safetensors and the weights.

The weights are `model.safetensors`, or `model.compact.safetensors` (see `compact`), exact to the
bit. A model is known by its id, a hash of its weights, so that a circuit can say whose it is.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Module

from lacewing import artifacts
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ArtifactError
from lacewing.model import compact
from lacewing.model.config import ModelConfig
from lacewing.model.generate import generate
from lacewing.model.protocol import Network
from lacewing.model.registry import loader_of
from lacewing.model.shipped import folder_of
from lacewing.model.sites import site_widths
from lacewing.model.transformer import Transformer, own

WHOLE, COMPACT = "model.safetensors", "model.compact.safetensors"
MEANS = "means.safetensors"


@dataclass(frozen=True)
class Model:
    """A trained transformer with everything needed to use it."""

    network: Network
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
    name: str = ""
    """What it is called in tables, where that is more than its source."""

    @property
    def ours(self) -> Transformer:
        """The network, for what only lacewing's own can do.

        Raises:
            ConfigError: it is another's.
        """
        return own(self.network, "this")

    @property
    def is_open(self) -> bool:
        """Whether it was made elsewhere; what takes long there can be interrupted."""
        return not isinstance(self.network, Transformer)

    def __repr__(self) -> str:
        """One line: where it is from, its shape and its id."""
        config = self.network.config
        layers = "1 layer" if config.n_layer == 1 else f"{config.n_layer} layers"
        return (
            f"Model({self.source!r}, {layers}, width {config.d_model}, "
            f"{config.vocab_size} tokens, id {self.id})"
        )

    def generate(
        self, prompt: str, tokens: int = 64, *, seed: int = 0, temperature: int | float = 1.0
    ) -> str:
        """Go on with a text; see `generate.generate`.

        Args:
            prompt: The text before; empty for the beginning of a document.
            tokens: New tokens, at most.
            seed: Seeds the draws.
            temperature: What logits are divided by; 0 takes the likeliest token.

        Returns:
            The new text alone.

        Example:
            >>> load("builtin:tiny").generate("import ", 1, temperature=0)
            '0'
        """
        return generate(
            self.network, self.tokenizer, prompt, tokens, seed=seed, temperature=temperature
        )


def model_id(network: Module) -> str:
    """The id of a model: a hash over its parameters' names and exact values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def parameters(network: Transformer) -> dict[str, Tensor]:
    """The parameters by name, detached and on the CPU."""
    return {name: t.detach().cpu() for name, t in network.state_dict().items()}


def load(source: str | Path) -> Model:
    """Load a model from a run folder, from the package (`builtin:NAME`), or as `registry` says.

    Raises:
        ArtifactError: the folder is missing, unfinished, of another kind, or its files are
            truncated or do not fit the configuration.
    """
    if loader := loader_of(source):
        model: Model = loader(str(source))
        return model
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
