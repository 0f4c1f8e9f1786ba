"""Open a Hugging Face causal language model: `lacewing.load("hf:FOLDER_OR_NAME")`.

A name is looked up in the local cache of the Hub; nothing is ever fetched. What lacewing measures
of a model, its means over text and its loss, is kept beside it in `lacewing.means.safetensors`, or
in the user's cache where that folder cannot be written. `lacewing.json`, where there is one, says
what the model is to be called in tables (`name`) and which text stands for what it read (`corpus`).
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lacewing import artifacts
from lacewing.data.corpus import Named
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ArtifactError, ConfigError, LacewingError, MismatchError
from lacewing.model.huggingface.folder import WHOLE, Folder, look, numbers_in
from lacewing.model.huggingface.layouts import layout_of
from lacewing.model.huggingface.means import means_of
from lacewing.model.huggingface.network import HuggingFaceNetwork
from lacewing.model.huggingface.own import ARCHITECTURE, read_own
from lacewing.model.huggingface.tokenizer import OpenTokenizer
from lacewing.model.layers import shapes_alone
from lacewing.model.protocol import Network
from lacewing.model.registry import HUGGING_FACE, prefix_of
from lacewing.model.shipped import BUILTIN
from lacewing.model.sites import site_widths
from lacewing.model.store import Model, model_id, weights_id

ABOUT, MEANS = "lacewing.json", "lacewing.means.safetensors"
CORPUS = "standard_library"
"""The text that stands for what a model read, where nothing else is said."""
HEADER = 2**20
"""Bytes that names, shapes and metadata may take in a file of means."""


@dataclass(frozen=True)
class About:
    """lacewing.json."""

    __pydantic_config__ = artifacts.LOOSE

    name: str = ""
    corpus: str = CORPUS

    def __post_init__(self) -> None:
        """Refuse a name that tables would show as another's."""
        if prefix_of(self.name) or self.name.startswith(BUILTIN):
            raise ConfigError(f"name is {self.name!r:.80}, which is how another model is opened")


def load(source: str) -> Model:
    """Open `hf:FOLDER_OR_NAME` in float32, with its tokenizer and its means.

    Raises:
        ArtifactError: no such folder or cached name, a shard or weight that is missing, pickled
            weights only.
        ConfigError: transformers is not installed, or the model would not fit into memory.
        MismatchError: the architecture is not supported, or the tokenizer is another model's.
    """
    found = look(place_of(source))
    _check_memory(source, found)
    if found.architecture == ARCHITECTURE:
        return _own(source, found)
    transformers = _transformers()
    layout_of(found.architecture)
    inner = _inner(transformers, found)
    network = HuggingFaceNetwork(inner)
    given = quietly(transformers.AutoTokenizer.from_pretrained, found.path, **HERE)
    tokenizer = OpenTokenizer.of(given, network.config.vocab_size)
    about = About()
    if (found.path / ABOUT).exists():
        about = artifacts.read(found.path / ABOUT, About)
    corpus = Named(about.corpus)
    # What the logits depend on beyond weights and sizes: epsilons, rotations, first tokens.
    meant = json.dumps([found.meant, tokenizer.begin, tokenizer.end_of_text], sort_keys=True)
    weights = weights_id(inner)
    means, loss = _means(
        network,
        tokenizer,
        corpus,
        found.path,
        hashlib.sha256((weights + meant).encode()).hexdigest()[:16],
    )
    return Model(
        network=network,
        tokenizer=tokenizer,
        means=means,
        id=model_id(network, means, tokenizer, weights, meant),
        source=source,
        corpus=corpus,
        validation_loss=loss,
        training={},
        name=about.name,
    )


def _own(source: str, found: Folder) -> Model:
    """A model of lacewing's own that was saved for transformers."""
    folder = found.path
    network = read_own(found.config, folder / WHOLE)
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    if tokenizer.highest >= network.config.vocab_size:
        raise MismatchError(
            f"{folder / 'tokenizer.json'} has token {tokenizer.highest}, the model knows "
            f"{network.config.vocab_size}: the tokenizer of another model"
        )
    weights = weights_id(network)
    corpus = CORPUS
    if (folder / MEANS).exists():
        corpus = _metadata(network, folder / MEANS).get("corpus", CORPUS)
    means, loss = _means(network, tokenizer, Named(corpus), folder, weights)
    identity = model_id(network, means, tokenizer, weights)
    return Model(network, tokenizer, means, identity, source, Named(corpus), loss, training={})


def _inner(transformers: Any, found: Folder) -> Any:
    """The model of transformers, in float32, after it was compared with its configuration."""
    config = quietly(transformers.AutoConfig.from_pretrained, found.path, **HERE)
    with shapes_alone():  # for its sizes alone
        empty = quietly(transformers.AutoModelForCausalLM.from_config, config)
    asked, there = sum(p.numel() for p in empty.parameters()), numbers_in(found.weights)
    if asked > there:
        raise ArtifactError(
            f"{found.path} has weights of {there:,} numbers, its config.json asks for {asked:,}: "
            "damaged or of another architecture"
        )
    inner, report = quietly(
        transformers.AutoModelForCausalLM.from_pretrained,
        found.path,
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
        **HERE,
    )
    if report["missing_keys"]:
        raise ArtifactError(
            f"{found.path} lacks weights, the first {sorted(report['missing_keys'])[0]}: damaged "
            "or of another architecture"
        )
    for name, value in inner.state_dict().items():
        if not bool(value.isfinite().all()):
            raise ArtifactError(f"{found.path}: {name} holds numbers that are not finite: damaged")
    return inner


HERE: Mapping[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""No network, and no code of a folder."""


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(
            "models of Hugging Face need transformers: pip install 'lacewing[hf]'"
        ) from error
    return transformers


def place_of(source: str) -> Path:
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


def _check_memory(source: str, found: Folder) -> None:
    """Refuse what would not fit: float32 weights, and a gigabyte to run them."""
    needed, there = 4 * numbers_in(found.weights) + 1e9, available_memory()
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
    places = (folder / MEANS, artifacts.cache_folder() / identity / MEANS)
    for place in places:
        if place.exists():
            said = _metadata(network, place)
            if {key: said.get(key) for key in asked} == asked:
                return _checked(network, place, said)
    means, loss = means_of(network, tokenizer, corpus)
    if not math.isfinite(loss) or not all(bool(mean.isfinite().all()) for mean in means.values()):
        raise ArtifactError(f"{folder}: what the model computes is not finite: damaged")
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_means(place, means, asked, loss)
            break
        except (OSError, LacewingError):
            continue
    return means, loss


def measured_on(identity: str, tokenizer: Tokenizer, corpus: str) -> dict[str, str]:
    """What means were measured on, and how, as their file says it."""
    return {"model": identity, "tokenizer": tokenizer.id, "corpus": corpus, "version": "2"}


def write_means(
    place: Path, means: Mapping[str, Tensor], asked: Mapping[str, str], loss: float
) -> None:
    """Write the file of means, with a sum of all that it says."""
    said = {**asked, "loss": repr(loss)}
    artifacts.write_tensors(place, means, metadata=said | {SUM: sum_of_means(means, said)})


def _metadata(network: Network, place: Path) -> dict[str, str]:
    return artifacts.parse_metadata(_bytes(network, place), place)


def _bytes(network: Network, place: Path) -> bytes:
    content = artifacts.read_bytes(place, 4 * sum(site_widths(network.config).values()) + HEADER)
    artifacts.parse_tensors(content, place)  # whole
    return content


def _checked(
    network: Network, place: Path, said: Mapping[str, str]
) -> tuple[Mapping[str, Tensor], float]:
    """Means that were kept, and the loss beside them."""
    means = artifacts.parse_tensors(_bytes(network, place), place)
    widths = {key: (width,) for key, width in site_widths(network.config).items()}
    artifacts.check_tensors(means, place, widths, (torch.float32,))
    rest = {key: value for key, value in said.items() if key != SUM}
    if said.get(SUM) != sum_of_means(means, rest):
        raise ArtifactError(
            f"{place} has other means than were written: damaged or edited; remove it, and they "
            "are measured anew"
        )
    return means, float(said["loss"])


SUM = "sha256"


def sum_of_means(means: Mapping[str, Tensor], said: Mapping[str, str]) -> str:
    """The sum over means and all that their file says of them but this sum."""
    parts = [f"{key}={said[key]}".encode() for key in sorted(said)]
    parts += [means[key].contiguous().numpy().tobytes() for key in sorted(means)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def quietly(what: Any, *given: Any, **more: Any) -> Any:
    """Call transformers without its bars and warnings; its errors become ours."""
    from transformers.utils import logging as of_transformers

    logging: Any = of_transformers
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        return what(*given, **more)
    except MemoryError:
        raise
    except BaseException as error:
        # Whatever a hostile file leads to; where Rust panics, a BaseException of its own.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        said = " ".join(str(error).split()) or type(error).__name__
        place = given[0] if isinstance(given[0], Path) else getattr(given[0], "name_or_path", "it")
        raise ArtifactError(f"transformers refuses {place}: {said:.300}") from error
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()
