"""Models on disk: a folder with config.json, tokenizer.json, means.safetensors and the weights.

The weights are `model.safetensors`, or `model.compact.safetensors` (see `compact`), exact to the
bit. A model is known by its id, a hash of all it computes with, so that a circuit can say whose it
is. Files are compared with the sums in the manifest as they are read, and their tensors with what
the configuration asks for before anything of its size is made.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Module

from lacewing import artifacts
from lacewing.data.corpus import Named
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ArtifactError
from lacewing.model import compact
from lacewing.model.config import ModelConfig
from lacewing.model.generate import generate
from lacewing.model.layers import shapes_alone
from lacewing.model.protocol import Network
from lacewing.model.registry import SPLICED, loader_of
from lacewing.model.saved import SavedConfig, Summary
from lacewing.model.shipped import BUILTIN, folder_of
from lacewing.model.sites import site_widths
from lacewing.model.transformer import Transformer, own

WHOLE, COMPACT = "model.safetensors", "model.compact.safetensors"
MEANS = "means.safetensors"
HEADER = 2**24
"""Bytes that names and shapes may take in a file of weights."""


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
    """See `model_id`."""
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

    @property
    def is_foreign(self) -> bool:
        """Whether what runs was made elsewhere, under latents or not.

        One of ours is pruned in the same way with its own nodes and with latents, so that their
        circuits can be compared.
        """
        return not isinstance(getattr(self.network, "inner", self.network), Transformer)

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
            >>> load("builtin:taught-tiny").generate("import ", 1, temperature=0)
            '0'
        """
        return generate(
            self.network, self.tokenizer, prompt, tokens, seed=seed, temperature=temperature
        )


def weights_id(network: Network | Module) -> str:
    """A hash over the parameters' names and exact values: 16 hexadecimal digits.

    It was a model's whole id once; circuits and runs of that time have it still.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().reshape(-1))  # not copied
    return digest.hexdigest()[:16]


def model_id(
    network: Network,
    means: Mapping[str, Float[Tensor, " channel"]],
    tokenizer: Tokenizer,
    weights: str = "",
    more: str = "",
) -> str:
    """The id of a model, `WEIGHTS-REST`: hashes over all that its answers depend on.

    WEIGHTS is `weights_id`; REST are eight digits over configuration, site means and tokenizer.

    Args:
        network: The model.
        means: Its site means.
        tokenizer: Its tokenizer.
        weights: Its `weights_id`, where that is known.
        more: What else its answers depend on, in a model of others.
    """
    shape: Any = network.config
    config = shape.as_json() if isinstance(shape, ModelConfig) else dataclasses.asdict(shape)
    digest = hashlib.sha256(json.dumps([config, tokenizer.id], sort_keys=True).encode())
    digest.update(more.encode())
    for name, mean in sorted(means.items()):
        digest.update(name.encode())
        digest.update(mean.detach().cpu().float().contiguous().numpy().tobytes())
    return f"{weights or weights_id(network)}-{digest.hexdigest()[:8]}"


def what_is_left(model: Model) -> str:
    """What still answers when every node of a model is ablated, in words."""
    if model.source.startswith(SPLICED):
        return "what runs beside the latents"
    shape = model.network.config
    return "the bigram table" if getattr(shape, "bigram", False) else "the mean of every node"


def same_model(one: str, other: str) -> bool:
    """Whether two ids are of one model, as far as both can say: old ones know the weights alone.

    Example:
        >>> same_model("4e364f99934e96e0", "4e364f99934e96e0-5f0c21d9")
        True
        >>> same_model("4e364f99934e96e0-00000000", "4e364f99934e96e0-5f0c21d9")
        False
    """
    (weights, _, rest), (others, _, its) = one.partition("-"), other.partition("-")
    return weights == others and (not rest or not its or rest == its)


def parameters(network: Transformer) -> dict[str, Tensor]:
    """The parameters by name, detached and on the CPU."""
    return {name: t.detach().cpu() for name, t in network.state_dict().items()}


def load(source: str | Path) -> Model:
    """Load a model from a run folder, from the package (`builtin:NAME`), or as `registry` says.

    Raises:
        ArtifactError: the folder is missing, unfinished, of another kind, or a file in it is
            damaged, edited, or does not fit the configuration.

    Example:
        >>> model = load("builtin:taught-tiny")
        >>> model.network.config.n_layer, model.network.config.d_model
        (1, 128)
    """
    if loader := loader_of(source):
        model: Model = loader(str(source))
        return model
    folder = folder_of(source)
    # Installers may make the package's own files links into their store.
    whole = artifacts.open_folder(folder, "run", links=str(source).startswith(BUILTIN))
    saved = whole.read("config.json", SavedConfig)
    summary = whole.read("summary.json", Summary)
    with shapes_alone():  # nothing is drawn, and nothing of its size is made
        network = Transformer(saved.model)
    _fill(network, whole)
    network.eval().requires_grad_(False)
    means = whole.tensors(MEANS)
    widths = {key: (width,) for key, width in site_widths(network.config).items()}
    artifacts.check_tensors(means, folder / MEANS, widths, (torch.float32,))
    tokenizer = Tokenizer.from_bytes(whole.bytes("tokenizer.json"), folder / "tokenizer.json")
    if tokenizer.vocab_size > saved.model.vocab_size:
        raise ArtifactError(
            f"{folder / 'tokenizer.json'} has {tokenizer.vocab_size} tokens, the model knows "
            f"{saved.model.vocab_size}: the tokenizer of another model"
        )
    return Model(
        network=network,
        tokenizer=tokenizer,
        means=means,
        id=model_id(network, means, tokenizer),
        source=str(source),
        corpus=Named(saved.corpus),
        validation_loss=summary.validation_loss,
        training=saved.training,
    )


def write_compact(path: Path, network: Transformer) -> None:
    """Write the weights in compact form."""
    artifacts.write_bytes(path, compact_bytes(network))


def compact_bytes(network: Transformer) -> bytes:
    """The weights in compact form, as their file holds them."""
    packed, shapes = compact.pack(parameters(network))
    return artifacts.tensor_bytes(packed, shapes)


def _fill(network: Transformer, whole: artifacts.Whole) -> None:
    """Give a network without values those of a folder, after all of them were looked at."""
    shapes = {name: tuple(t.shape) for name, t in network.state_dict().items()}
    # Compact or not, no matrix takes more than eight bytes a number.
    most = 8 * sum(t.numel() for t in network.state_dict().values()) + HEADER
    if WHOLE in whole:
        path, found = whole.folder / WHOLE, whole.tensors(WHOLE, most)
        artifacts.check_tensors(found, path, shapes, compact.TYPES)
        # Copied, because what is mapped from a file is not aligned.
        tensors = {name: t.to(torch.float32, copy=True) for name, t in found.items()}
    else:
        path = whole.folder / COMPACT
        packed = whole.tensors_and_metadata(COMPACT, most)
        tensors = compact.unpack(*packed, shapes, path)
    network.load_state_dict(tensors, assign=True)


artifacts.adapter(SavedConfig), artifacts.adapter(Summary)  # made here, so that no load waits
