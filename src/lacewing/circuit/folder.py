"""A circuit's folder, read as plain values, in this layout and in older ones.

    circuit.json             everything but arrays and pairs
    nodes.safetensors        kept channels per site, edges per family
    pairs.jsonl              the test pairs, so that it can be verified without the corpus
    certificate.json         of a minimal circuit, with certificate_pairs.jsonl

Those that ship with the package have their pairs packed (`artifacts.packed`). In folders of the
first layout, circuit.json has the search's configuration under `settings`, with what it cost, and
its seed and target loss stand beside that.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lacewing import artifacts
from lacewing.circuit.certificate import CERTIFICATE, Certificate
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.facts import Facts, SavedCertificate
from lacewing.circuit.pairs import CERTIFICATE_PAIRS
from lacewing.errors import ArtifactError
from lacewing.model.config import BLOCK_SITES
from lacewing.model.registry import prefix_of
from lacewing.model.shipped import BUILTIN
from lacewing.model.sites import FINAL_SITE
from lacewing.tasks.pair import Pair

KIND = "circuit"
FACTS, ARRAYS = "circuit.json", "nodes.safetensors"
NOTES = "annotations.json"
"""What people wrote beside a circuit, which stays where the circuit is replaced."""
HISTORY = ("seconds", "nodes_only", "edited_from", "edits")
"""What stood beside the configuration among the settings of the first layout."""


def read_facts(folder: Path, *, links: bool = False) -> dict[str, Any]:
    """What circuit.json says, in today's layout; `config` holds seed and target loss.

    Args:
        folder: The circuit's.
        links: Whether its files may be links, as installers make them of the package's own.

    Raises:
        ArtifactError: it is missing, damaged or of another version.
    """
    return facts_in(artifacts.open_folder(folder, KIND, links=links))[0]


def facts_in(whole: artifacts.Whole) -> tuple[dict[str, Any], Facts]:
    """The same of an open folder, as plain values and typed."""
    plain, file = whole.json(FACTS), whole.folder / FACTS
    if not isinstance(plain, dict):
        raise ArtifactError(f"{file} holds no circuit: damaged or foreign")
    settings = plain.pop("settings", None)
    if isinstance(settings, Mapping):
        plain |= {name: settings[name] for name in HISTORY if name in settings}
        beside = {name: plain.pop(name) for name in ("seed", "target_loss") if name in plain}
        plain["config"] = PruneConfig.known(settings) | beside
    config = plain.get("config")
    known = PruneConfig.known(config) if isinstance(config, Mapping) else config
    return plain, artifacts.typed(plain | {"config": known}, Facts, file)


def arrays_in(whole: artifacts.Whole) -> dict[str, dict[str, np.ndarray]]:
    """The `nodes` and `edges` in a circuit's tensor file.

    Raises:
        ArtifactError: it is missing, damaged or no circuit's: channels have to be sorted, and an
            edge has to join two kept nodes.
    """
    file = whole.folder / ARRAYS
    arrays: dict[str, dict[str, np.ndarray]] = {"nodes": {}, "edges": {}}
    try:
        for name, tensor in whole.tensors(ARRAYS).items():
            kind, _, key = name.partition("/")
            arrays[kind][key] = _channels(tensor, kind, key, file)
        arrays = {
            kind: {key: group[key] for key in sorted(group, key=_place)}
            for kind, group in arrays.items()
        }
        for family, pairs in arrays["edges"].items():
            if not len(pairs):  # of a circuit that says nothing of the sites at its ends, say
                continue
            for column, kept in enumerate(_ends(family, arrays["nodes"])):
                if not np.isin(pairs[:, column], kept).all():
                    raise ArtifactError(
                        f"{file}: edges/{family} joins nodes that are not kept: damaged"
                    )
        return arrays
    except (KeyError, ValueError) as error:
        raise ArtifactError(f"{file} holds other tensors than a circuit's ({error})") from error


def certificate_in(whole: artifacts.Whole) -> Certificate | None:
    """The certificate of a minimal circuit; None where there is none.

    Raises:
        ArtifactError: it is damaged, or its pairs are.
    """
    if CERTIFICATE not in whole or CERTIFICATE_PAIRS not in whole:
        return None
    return Certificate.of(
        whole.read(CERTIFICATE, SavedCertificate), tuple(whole.lines(CERTIFICATE_PAIRS, Pair))
    )


def seen_from(folder: Path, source: str) -> str:
    """A model's path relative to the folder, so that model and circuit can be moved together."""
    if source.startswith(BUILTIN):
        return source
    if prefix := prefix_of(source):
        place = source.removeprefix(prefix)
        if not Path(place).exists():  # a name, not a place
            return source
        return prefix + os.path.join(".", seen_from(folder, place))
    try:
        return Path(os.path.relpath(source, folder)).as_posix()
    except ValueError:  # another drive of Windows
        return str(Path(source).absolute())


def source_in(folder: Path, source: str) -> str:
    """The path that `seen_from` made relative, from here."""
    if source.startswith(BUILTIN):
        return source
    prefix = prefix_of(source)
    place = source.removeprefix(prefix)
    if prefix and not place.startswith("."):
        return source
    return prefix + os.path.normpath(folder / place)


def _channels(tensor: torch.Tensor, kind: str, key: str, file: Path) -> np.ndarray:
    """One array of a circuit, after it was looked at."""
    shape = tuple(tensor.shape)
    if tensor.dtype != torch.int32 or len(shape) != (1 if kind == "nodes" else 2):
        raise ArtifactError(
            f"{file} holds other tensors than a circuit's: {kind}/{key:.80} is {tensor.dtype} of "
            f"shape {shape}, not channels in int32"
        )
    found = tensor.numpy()
    if kind == "edges" and shape[1] != 2:
        raise ArtifactError(f"{file}: edges/{key:.80} are no pairs of channels: damaged")
    if found.size and found.min() < 0:
        raise ArtifactError(f"{file}: {kind}/{key:.80} has channel {found.min()}: damaged")
    single = len(np.unique(found, axis=0)) == len(found)
    if not single or (kind == "nodes" and (np.diff(found) < 0).any()):
        raise ArtifactError(f"{file}: {kind}/{key:.80} are not sorted, each once: damaged")
    return found


def _ends(family: str, nodes: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The kept nodes at both ends of an edge family."""
    layer, _, name = family.partition(".")
    source, destination = name.split("-")
    return nodes[f"{layer}.{source}"], nodes[f"{layer}.{destination}"]


def _place(key: str) -> tuple[int, int, str]:
    """Where a key stands from input to output; the file keeps them by name."""
    layer, _, name = key.partition(".")
    if key == FINAL_SITE:
        return (10**6, 0, key)
    if not layer.isdecimal() or len(layer) > 5:
        raise ValueError(f"{key!r:.80} is no site")
    return (int(layer), BLOCK_SITES.index(name.split("-")[-1]), key)
