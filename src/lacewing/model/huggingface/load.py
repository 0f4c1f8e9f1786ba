"""Open a Hugging Face causal language model: `lacewing.load("hf:FOLDER_OR_NAME")`.

A name is looked up in the local cache of the Hub; nothing is ever fetched. What lacewing measures
of a model, its means over text and its loss, is kept beside it in `lacewing.means.safetensors`, or
in the user's cache where that folder cannot be written. `lacewing.json`, where there is one, says
what the model is to be called in tables (`name`) and which text stands for what it read (`corpus`).
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lacewing import artifacts
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ArtifactError, ConfigError, LacewingError
from lacewing.model.huggingface.layouts import layout_of
from lacewing.model.huggingface.means import means_of
from lacewing.model.huggingface.network import HuggingFaceNetwork
from lacewing.model.huggingface.own import ARCHITECTURE, read_own
from lacewing.model.huggingface.tokenizer import OpenTokenizer
from lacewing.model.protocol import Network
from lacewing.model.registry import HUGGING_FACE
from lacewing.model.sites import site_widths
from lacewing.model.store import Model, model_id, weights_id

ABOUT, MEANS = "lacewing.json", "lacewing.means.safetensors"
INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"
CORPUS = "standard_library"
"""The text that stands for what a model read, where nothing else is said."""


def load(source: str) -> Model:
    """Open `hf:FOLDER_OR_NAME` in float32, with its tokenizer and its means.

    Raises:
        ArtifactError: no such folder or cached name, a shard or weight that is missing, pickled
            weights only.
        ConfigError: transformers is not installed, or the model would not fit into memory.
        MismatchError: the architecture is not supported, or the tokenizer is another model's.
    """
    folder = _folder(source)
    said = _json(folder / "config.json")
    architecture = (said.get("architectures") or ["none"])[0]
    if architecture == ARCHITECTURE:
        return _own(source, folder, said)
    transformers = _transformers()
    layout_of(architecture)
    _check_memory(source, _weights(folder))
    inner, report = _quietly(
        transformers.AutoModelForCausalLM.from_pretrained,
        folder,
        dtype=torch.float32,
        local_files_only=True,
        output_loading_info=True,
    )
    if report["missing_keys"]:
        raise ArtifactError(
            f"{folder} lacks weights, the first {sorted(report['missing_keys'])[0]}: damaged or of "
            "another architecture"
        )
    network = HuggingFaceNetwork(inner)
    given = _quietly(transformers.AutoTokenizer.from_pretrained, folder, local_files_only=True)
    tokenizer = OpenTokenizer.of(given, network.config.vocab_size)
    about = _json(folder / ABOUT) if (folder / ABOUT).exists() else {}
    corpus = str(about.get("corpus", CORPUS))
    weights = weights_id(inner)
    means, loss = _means(network, tokenizer, corpus, folder, weights)
    return Model(
        network=network,
        tokenizer=tokenizer,
        means=means,
        id=model_id(network, means, tokenizer, weights),
        source=source,
        corpus=corpus,
        validation_loss=loss,
        training={},
        name=str(about.get("name", "")),
    )


def _own(source: str, folder: Path, said: Mapping[str, Any]) -> Model:
    """A model of lacewing's own that was saved for transformers."""
    _check_memory(source, _weights(folder))
    network = read_own(said, folder / WHOLE)
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    weights = weights_id(network)
    kept = artifacts.read_metadata(folder / MEANS) if (folder / MEANS).exists() else {}
    corpus = kept.get("corpus", CORPUS)
    means, loss = _means(network, tokenizer, corpus, folder, weights)
    identity = model_id(network, means, tokenizer, weights)
    return Model(network, tokenizer, means, identity, source, corpus, loss, training={})


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(
            "models of Hugging Face need transformers: pip install 'lacewing[hf]'"
        ) from error
    return transformers


def _folder(source: str) -> Path:
    """The folder of a model: itself, or its place in the Hub's local cache."""
    name = source.removeprefix(HUGGING_FACE)
    if Path(name).is_dir():
        if not (Path(name) / "config.json").is_file():
            raise ArtifactError(f"{name} has no config.json: no Hugging Face model")
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ArtifactError(
            f"no folder {name!r}, and no model of that name in the local cache of the Hub: fetch "
            f"it first, with `hf download {name}`; lacewing opens no network"
        ) from error


def _weights(folder: Path) -> list[Path]:
    """The files of weights, all of them there."""
    if (folder / INDEX).exists():
        shards = sorted(set(_json(folder / INDEX)["weight_map"].values()))
        missing = [name for name in shards if not (folder / name).is_file()]
        if missing:
            raise ArtifactError(
                f"{folder} lacks {missing[0]}, {len(missing)} of {len(shards)} shards: fetch it "
                "again"
            )
        return [folder / name for name in shards]
    if not (folder / WHOLE).is_file():
        raise ArtifactError(
            f"{folder} has no {WHOLE}: pickled weights are not read, nor is GGUF; save the model "
            "with save_pretrained (recipes/smollm2.py does it for a GGUF file)"
        )
    return [folder / WHOLE]


def _check_memory(source: str, files: list[Path]) -> None:
    """Refuse what would not fit: float32 weights, and a gigabyte to run them."""
    from safetensors import safe_open

    numbers = 0
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                for key in opened.keys():  # noqa: SIM118  it is no mapping
                    numbers += int(torch.Size(opened.get_slice(key).get_shape()).numel())
        except Exception as error:  # the library has several errors of its own
            raise ArtifactError(f"{file} is damaged or cut short ({error})") from error
    needed, there = 4 * numbers + 1e9, available_memory()
    if there is not None and needed > there:
        raise ConfigError(
            f"{source} needs {needed / 1e9:.1f} GB in float32 and there are {there / 1e9:.1f} GB "
            "of memory free: take a smaller model or a larger machine"
        )


def available_memory() -> float | None:
    """Bytes of memory that could be had, where the system says so."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    said = next((line for line in lines if line.startswith("MemAvailable:")), None)
    return float(said.split()[1]) * 1024 if said else None


def _means(
    network: Network, tokenizer: Tokenizer, corpus: str, folder: Path, identity: str
) -> tuple[Mapping[str, Tensor], float]:
    """The means that were measured before, or new ones, which are kept."""
    asked = measured_on(identity, tokenizer, corpus)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lacewing" / identity
    for place in (folder / MEANS, cache / MEANS):
        if place.exists():
            said = artifacts.read_metadata(place)
            if {key: said.get(key) for key in asked} == asked:
                return _checked(network, place), float(said["loss"])
    means, loss = means_of(network, tokenizer, corpus)
    said = asked | {"loss": repr(loss)}
    for place in (folder / MEANS, cache / MEANS):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            artifacts.write_tensors(place, means, metadata=said)
            break
        except (OSError, LacewingError):
            continue
    return means, loss


def measured_on(identity: str, tokenizer: Tokenizer, corpus: str) -> dict[str, str]:
    """What means were measured on, and how, as their file says it."""
    return {"model": identity, "tokenizer": tokenizer.id, "corpus": corpus, "version": "1"}


def _checked(network: Network, place: Path) -> Mapping[str, Tensor]:
    means = artifacts.read_tensors(place)
    for key, width in site_widths(network.config).items():
        if key not in means or means[key].shape != (width,):
            raise ArtifactError(f"{place} has no {width} means for site {key}: remove it")
    return means


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{file} cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise ArtifactError(f"{file} holds no JSON object")
    return found


def _quietly(what: Any, *given: Any, **more: Any) -> Any:
    """Call transformers without its bars and warnings; its errors become ours."""
    from transformers.utils import logging as of_transformers

    logging: Any = of_transformers
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        return what(*given, **more)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        said = " ".join(str(error).split())
        raise ArtifactError(f"transformers cannot load {given[0]}: {said:.300}") from error
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()
