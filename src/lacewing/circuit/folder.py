"""A circuit's folder, read as plain values, in this layout and in older ones.

    circuit.json             everything but arrays and pairs
    nodes.safetensors        kept channels per site, edges per family
    pairs.jsonl              the test pairs, so that it can be verified without the corpus
    certificate.json         of a minimal circuit, with certificate_pairs.jsonl

In folders of the first layout, circuit.json has the search's configuration under `settings`, with
what it cost, and its seed and target loss stand beside that.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lacewing import artifacts
from lacewing.circuit.certificate import CERTIFICATE, Certificate
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.pairs import CERTIFICATE_PAIRS, read_pairs
from lacewing.errors import ArtifactError
from lacewing.model.config import BLOCK_SITES
from lacewing.model.registry import prefix_of
from lacewing.model.shipped import BUILTIN
from lacewing.model.sites import FINAL_SITE

KIND = "circuit"
FACTS, ARRAYS = "circuit.json", "nodes.safetensors"
HISTORY = ("seconds", "nodes_only", "edited_from", "edits")
"""What stood beside the configuration among the settings of the first layout."""


def read_facts(folder: Path) -> dict[str, Any]:
    """What circuit.json says, in today's layout; `config` holds seed and target loss.

    Raises:
        ArtifactError: it is missing or damaged.
    """
    plain = artifacts.read_json(folder / FACTS)
    if not isinstance(plain, dict):
        raise ArtifactError(f"{folder / FACTS} holds no circuit: damaged or foreign")
    settings = plain.pop("settings", None)
    if isinstance(settings, Mapping):
        plain |= {name: settings[name] for name in HISTORY if name in settings}
        beside = {name: plain.pop(name) for name in ("seed", "target_loss") if name in plain}
        plain["config"] = PruneConfig.known(settings) | beside
    return plain


def read_arrays(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """The `nodes` and `edges` in a circuit's tensor file.

    Raises:
        ArtifactError: it is missing, damaged or no circuit's.
    """
    file = folder / ARRAYS
    arrays: dict[str, dict[str, np.ndarray]] = {"nodes": {}, "edges": {}}
    try:
        for name, tensor in artifacts.read_tensors(file).items():
            kind, _, key = name.partition("/")
            arrays[kind][key] = tensor.numpy()
        return {
            kind: {key: group[key] for key in sorted(group, key=_place)}
            for kind, group in arrays.items()
        }
    except (KeyError, ValueError) as error:
        raise ArtifactError(f"{file} holds other tensors than a circuit's ({error})") from error


def read_certificate(folder: Path) -> Certificate | None:
    """The certificate of a minimal circuit; None where there is none.

    Raises:
        ArtifactError: it is damaged, or its pairs are.
    """
    file, beside = folder / CERTIFICATE, folder / CERTIFICATE_PAIRS
    if not (file.exists() and beside.exists()):
        return None
    try:
        return Certificate.from_json(artifacts.read_json(file), read_pairs(beside))
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{file} holds no certificate ({error!r})") from error


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


def _place(key: str) -> tuple[int, int, str]:
    """Where a key stands from input to output; the file keeps them by name."""
    layer, _, name = key.partition(".")
    if key == FINAL_SITE:
        return (10**6, 0, key)
    return (int(layer), BLOCK_SITES.index(name.split("-")[-1]), key)
