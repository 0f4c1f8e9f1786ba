"""Autoencoders of one model in a folder: each site's in SAELens' files, and what belongs to all.

sae.json             the model they are of, how they were trained, their figures
means.safetensors    the mean of every latent over training text
SITE/cfg.json, SITE/sae_weights.safetensors
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lacewing import artifacts
from lacewing.circuit.folder import seen_from, source_in
from lacewing.errors import ArtifactError, MismatchError
from lacewing.model.sites import site_widths
from lacewing.model.store import Model, same_model
from lacewing.sae import formats
from lacewing.sae.autoencoder import Autoencoder

KIND, FACTS, MEANS = "autoencoders", "sae.json", "means.safetensors"


@dataclass(frozen=True)
class Place:
    """Where one autoencoder is."""

    __pydantic_config__ = artifacts.EXACT

    site: str
    reads: str


@dataclass(frozen=True)
class Facts:
    """sae.json."""

    __pydantic_config__ = artifacts.LOOSE

    model_id: str
    model_source: str
    """Seen from the folder."""
    tokenizer_id: str
    corpus: str
    sites: list[Place]
    config: dict[str, Any] | None = None
    """How they were trained; none where others did."""
    figures: list[dict[str, Any]] = field(default_factory=list)
    tokens: int = 0
    """That they were trained on."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Autoencoders:
    """All autoencoders of a folder."""

    facts: Facts
    saes: tuple[Autoencoder, ...]
    means: Mapping[str, Tensor]
    """Of every latent, by site key."""


def save(
    folder: Path,
    model: Model,
    saes: Sequence[Autoencoder],
    means: Mapping[str, Tensor],
    **more: Any,
) -> None:
    """Write a folder of autoencoders.

    Args:
        folder: Where; there must be nothing.
        model: The model they are of.
        saes: The autoencoders.
        means: Of every latent, by site key.
        more: Other facts.

    Raises:
        ArtifactError: there is something.
    """
    config = model.network.config
    metadata = {
        "model_name": model.name or model.source,
        "context_size": config.context,
        "prepend_bos": bool(model.network.spared),
        "dataset_path": more.get("corpus", model.corpus),
    }
    files = {
        f"{sae.site}/{name}": content
        for sae in saes
        for name, content in formats.files_of(sae, metadata, config.n_layer).items()
    }
    facts = {
        "model_id": model.id,
        "model_source": seen_from(folder, model.source),
        "tokenizer_id": model.tokenizer.id,
        "sites": [{"site": sae.site, "reads": sae.reads} for sae in saes],
        **more,
    }
    artifacts.write_folder(
        folder, KIND, files=files, json={FACTS: facts}, tensors={MEANS: dict(means)}
    )


def facts_of(folder: Path) -> Facts:
    """What a folder says of its autoencoders.

    Raises:
        ArtifactError: it is missing, unfinished, damaged, or of another kind.
    """
    return artifacts.open_folder(folder, KIND).read(FACTS, Facts)


def source_of(folder: Path, facts: Facts) -> str:
    """Where the model is, from here."""
    return source_in(folder, facts.model_source)


def read(folder: Path, model: Model) -> Autoencoders:
    """The autoencoders of a folder, for a model.

    Raises:
        ArtifactError: as `facts_of`.
        MismatchError: they are of another model, tokenizer or width.
    """
    whole = artifacts.open_folder(folder, KIND)
    facts = whole.read(FACTS, Facts)
    _check(folder, facts, model)
    widths, saes = site_widths(model.network.config), []
    for place in facts.sites:
        name = f"{place.site}/{formats.CONFIG}"
        config = whole.read(name, formats.Config)
        formats.check(config, folder / name, place.site, place.reads, widths)
        tensors = whole.tensors(f"{place.site}/{formats.WEIGHTS}", formats.most(config))
        within = folder / place.site
        saes.append(formats.parsed(config, tensors, within, place.site, place.reads))
    means = whole.tensors(MEANS)
    shapes = {sae.site: (sae.latents,) for sae in saes}
    artifacts.check_tensors(means, folder / MEANS, shapes, (torch.float32,))
    return Autoencoders(facts, tuple(saes), means)


def _check(folder: Path, facts: Facts, model: Model) -> None:
    if not same_model(facts.model_id, model.id):
        raise MismatchError(
            f"the autoencoders in {folder} are of model {facts.model_id} "
            f"({facts.model_source:.200}), but {model.source} is model {model.id}: train "
            "them for this one"
        )
    if facts.tokenizer_id != model.tokenizer.id:
        raise MismatchError(
            f"the autoencoders in {folder} were trained with tokenizer {facts.tokenizer_id}, but "
            f"{model.source} has {model.tokenizer.id}: put its tokenizer back"
        )
    known, seen = site_widths(model.network.config), set()
    for place in facts.sites:
        if place.site not in known or place.reads not in known or place.site in seen:
            raise ArtifactError(
                f"{folder / FACTS} names site {place.site:.80} reading {place.reads:.80}, which "
                f"{model.source} does not have, or twice: damaged"
            )
        seen.add(place.site)
    if not facts.sites:
        raise ArtifactError(f"{folder / FACTS} names no site: damaged")
