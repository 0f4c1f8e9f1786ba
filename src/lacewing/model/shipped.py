"""The models that ship with lacewing, and where a model's folder is. No torch is imported here."""

import functools
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from lacewing import artifacts
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ArtifactError, did_you_mean
from lacewing.model.saved import SavedConfig, Summary

BUILTIN = "builtin:"
TAUGHT = {
    "4e364f99934e96e0": "taught-sparse",
    "3b0090a2faca56c8": "taught-dense",
    "c5a398ca920741b2": "taught-small",
    "7675f7a3bc42fea1": "taught-tiny",
}
"""Models that had the name without `taught-` once, by the first part of their ids."""


@dataclass(frozen=True)
class Shipped:
    """What is known of a builtin model."""

    name: str
    """What `load` takes: builtin:NAME."""
    layers: int
    width: int
    """Residual channels."""
    density: float
    """Nonzero fraction of every block matrix; 1 in a dense model."""
    validation_loss: float
    """Nats per token of its own tokenizer, so that models with others cannot be compared by it."""
    vocabulary: int
    """Tokens of its tokenizer."""
    bytes: int
    """Size of its folder."""
    corpus: str
    """The text it was trained on."""


def names() -> list[str]:
    """The names of the models that ship, without `builtin:`; those not taught come first."""
    found = (p.name for p in _home().glob("*") if (p / artifacts.MANIFEST).exists())
    return sorted(found, key=lambda name: (name.startswith("taught-"), name))


def shipped() -> list[Shipped]:
    """What is known of every model that ships, the smallest first."""
    return sorted((_facts(name) for name in names()), key=lambda facts: facts.bytes)


def folder_of(source: str | Path) -> Path:
    """The folder behind `builtin:NAME` or a path.

    Raises:
        ArtifactError: no builtin model of that name.
    """
    text = str(source)
    if not text.startswith(BUILTIN):
        return Path(source)
    name, known = text.removeprefix(BUILTIN), names()
    if name not in known:
        taught = f"taught-{name}"  # what four models were called by once
        near = f"did you mean {taught}? " if taught in known else did_you_mean(name, known)
        raise ArtifactError(
            f"no builtin model {name!r}; {near}there are: {', '.join(known) or 'none'}"
        )
    return _home() / name


def today(source: str, model_id: str) -> str:
    """The present name of the builtin model a circuit of old was found in; else `source`.

    Example:
        >>> today("builtin:tiny", "7675f7a3bc42fea1-9232b070")
        'builtin:taught-tiny'
    """
    name = TAUGHT.get(model_id.partition("-")[0])
    return BUILTIN + name if name and source.startswith(BUILTIN) else source


def tokenizer_of(source: str | Path) -> Tokenizer:
    """The tokenizer of a run folder or a builtin model, without its weights."""
    return Tokenizer.load(folder_of(source) / "tokenizer.json")


@functools.cache
def _home() -> Path:
    return Path(str(resources.files("lacewing"))) / "builtin"


def _facts(name: str) -> Shipped:
    whole = artifacts.open_folder(_home() / name, "run", links=True)
    saved, summary = whole.read("config.json", SavedConfig), whole.read("summary.json", Summary)
    density = saved.training["density"]
    assert isinstance(density, int | float)
    return Shipped(
        name=BUILTIN + name,
        layers=saved.model.n_layer,
        width=saved.model.d_model,
        density=density,
        validation_loss=summary.validation_loss,
        vocabulary=saved.model.vocab_size,
        bytes=whole.size,
        corpus=saved.trained_on or saved.corpus,
    )
