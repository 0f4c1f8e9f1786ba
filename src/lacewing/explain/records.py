"""What nodes do over a text: recorded site by site, and kept on disk for others to read.

    FOLDER/
      index.json                               model, tokenizer, text and nodes
      text.safetensors                         ids, window and document of every token
      latents/0.mlp_neuron/config.json         model_name, ... (delphi's layout)
      latents/0.mlp_neuron/0_1535.safetensors  locations [row, 3], activations (fp16), tokens

A location is window, position, channel; values of 0 have none. A site's file is written whole, so a
recording that was stopped goes on with the first site that is missing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from lacewing import artifacts
from lacewing.artifacts.manifest import Manifest, describe
from lacewing.errors import ArtifactError, DataError
from lacewing.explain import calls
from lacewing.explain.text import Text
from lacewing.model.sites import parse_node
from lacewing.model.store import Model
from lacewing.progress import progress

KIND, INDEX, TEXT, LATENTS = "records", "index.json", "text.safetensors", "latents"
AT_ONCE = 64 * 1024 * 1024
"""Values held for one pass over the text; more nodes are recorded in several."""

Values = Mapping[str, Float[np.ndarray, " token"]]
"""The value of each node at every token of a text."""


@dataclass(frozen=True)
class Facts:
    """index.json, as far as who reads it needs it."""

    __pydantic_config__ = artifacts.LOOSE

    text: str
    corpus: str
    nodes: dict[str, tuple[int, ...]]


def check_nodes(model: Model, nodes: Sequence[str]) -> dict[str, list[int]]:
    """Channels by site key, in the model's order.

    Raises:
        DataError: a name that is no node of the model.
    """
    widths = calls.widths(model)
    wanted: dict[str, set[int]] = {}
    for node in nodes:
        key, channel = parse_node(node)
        if key not in widths or channel >= widths[key]:
            have = f"site {key} has {widths[key]} channels" if key in widths else f"no site {key}"
            raise DataError(f"no node {node!r} in {model.source}: {have}")
        wanted.setdefault(key, set()).add(channel)
    return {key: sorted(wanted[key]) for key in widths if key in wanted}


def collect(
    model: Model, text: Text, nodes: Sequence[str], quiet: bool = True
) -> Iterator[tuple[str, Values]]:
    """The values of nodes, site by site: passes over the text that each fit in memory.

    Yields:
        A site key and the values of its nodes, float32.
    """
    sites = list(check_nodes(model, nodes).items())
    budget = max(1, AT_ONCE // len(text))
    passes: list[dict[str, list[int]]] = []
    group: dict[str, list[int]] = {}
    size = 0
    for key, channels in sites:
        if group and size + len(channels) > budget:
            passes.append(group)
            group, size = {}, 0
        group[key], size = channels, size + len(channels)
    passes.append(group)
    with progress(f"record {model.source}", len(passes) * len(text), "tokens", not quiet) as bar:
        for number, group in enumerate(filter(None, passes)):
            held = {k: np.zeros((len(c), len(text)), np.float32) for k, c in group.items()}
            for place, tokens in text.batches():
                seen = calls.activations(model, group, tokens)
                window = text.window[place] - text.window[place.start]
                position = np.arange(place.start, place.stop) - text.start[place]
                for key, channels in group.items():
                    value = seen[key][window, position][:, channels]
                    held[key][:, place] = value.numpy().T
                bar.update(number * len(text) + place.stop)
            for key, channels in group.items():
                yield key, {f"{key}.{c}": held[key][i] for i, c in enumerate(channels)}


def record(
    model: Model, text: Text, nodes: Sequence[str], folder: Path, quiet: bool = True
) -> None:
    """Record nodes into a folder; one that was begun with the same settings is gone on with.

    Raises:
        ConfigError: the folder holds records of another model, text or other nodes.
    """
    wanted = check_nodes(model, nodes)
    facts = {
        "schema": 1,
        "model": model.id,
        "model_source": model.source,
        "tokenizer": model.tokenizer.id,
        "corpus": text.corpus,
        "text": text.id,
        "language": text.language.name,
        "tokens": len(text),
        "split_by": "document",
        "parts": {part: [s.start, s.stop] for part, s in text.slices.items()},
        "documents": list(text.paths),
        "nodes": wanted,
    }
    _check_kept(folder)  # before it is sealed again
    for inside in (INDEX, TEXT, LATENTS, *(f"{LATENTS}/{key}" for key in wanted)):
        artifacts.own(folder, inside)
    if (folder / INDEX).exists():
        before = artifacts.read_json(folder / INDEX)
        if not isinstance(before, dict):
            raise ArtifactError(f"{folder / INDEX} holds no object: damaged")
        artifacts.check_same(folder, "records", before, facts)
    artifacts.write_json(folder / INDEX, facts)
    arrays = {"ids": text.ids, "window": text.window, "document": text.document}
    artifacts.write_tensors(folder / TEXT, {k: torch.from_numpy(v) for k, v in arrays.items()})
    files = {key: _file(folder, key, calls.widths(model)[key]) for key in wanted}
    missing = [key for key in wanted if not files[key].exists()]
    left = [f"{key}.{channel}" for key in missing for channel in wanted[key]]
    for key, values in collect(model, text, left, quiet) if left else ():
        config = {"model_name": model.source, "hookpoint": key, "width": calls.widths(model)[key]}
        artifacts.write_json(files[key].with_name("config.json"), config)
        artifacts.write_tensors(files[key], _latents(text, values))
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*.safetensors"))]
    artifacts.seal(folder, KIND, [INDEX, *names])


def read(folder: Path, text: Text) -> dict[str, Float[np.ndarray, " token"]]:
    """The values of every node in a folder of records, as dense arrays over its text.

    Raises:
        ArtifactError: no whole records.
        DataError: they are of another text.
    """
    whole = artifacts.open_folder(folder, KIND)
    facts = whole.read(INDEX, Facts)
    if facts.text != text.id:
        raise DataError(
            f"{folder} holds records of text {facts.text}, not of {text.id}: pass the corpus "
            f"{facts.corpus!r} and the number of tokens it was made with"
        )
    found: dict[str, Float[np.ndarray, " token"]] = {}
    for key, channels in facts.nodes.items():
        found |= {f"{key}.{c}": v for c, v in _values(whole, key, channels, text).items()}
    return found


def _values(
    whole: artifacts.Whole, key: str, channels: Sequence[int], text: Text
) -> dict[int, Float[np.ndarray, " token"]]:
    """The values of a site's channels, after its file was looked at.

    Raises:
        ArtifactError: it is not listed, or holds values of tokens that the text does not have.
    """
    named = [n for n in whole.manifest.files if n.startswith(f"{LATENTS}/{key}/0_")]
    if len(named) != 1:
        raise ArtifactError(f"{whole.folder} has {len(named)} files of site {key!r:.40}: damaged")
    latents, file = whole.tensors(named[0]), whole.folder / named[0]
    count = len(latents["activations"]) if "activations" in latents else 0
    shapes = {"locations": (count, 3), "activations": (count,)}
    rest = {name: tuple(t.shape) for name, t in latents.items() if name == "tokens"}
    types = (torch.uint32, torch.float16, torch.int64)
    artifacts.check_tensors(latents, file, shapes | rest, types)
    begins = np.flatnonzero(text.first)
    row, position, channel = (c.numpy().astype(np.int64) for c in latents["locations"].T)
    lengths = np.diff(np.append(begins, len(text)))
    if len(row) and (row.max() >= len(begins) or (position >= lengths[row]).any()):
        raise ArtifactError(f"{file} has values of tokens that its text does not have: damaged")
    at, levels = begins[row] + position, latents["activations"].numpy()
    found = {}
    for c in channels:
        found[c] = np.zeros(len(text), dtype=np.float32)
        found[c][at[channel == c]] = levels[channel == c]
    return found


def _check_kept(folder: Path) -> None:
    """Refuse files of a finished recording that were changed since; missing ones are made anew.

    Raises:
        ArtifactError: naming the file.
    """
    if not (folder / artifacts.MANIFEST).exists():
        return
    place = artifacts.own(folder, artifacts.MANIFEST)
    listed = artifacts.typed(artifacts.read_summed(place), Manifest, place)
    for name, entry in listed.files.items():
        file = artifacts.own(folder, name)
        if file.exists() and describe(file)["sha256"] != entry.sha256:
            raise ArtifactError(f"{file} is damaged or edited: delete it, and it is recorded anew")


def _file(folder: Path, key: str, width: int) -> Path:
    return folder / LATENTS / key / f"0_{width - 1}.safetensors"


def _latents(text: Text, values: Values) -> dict[str, torch.Tensor]:
    """A site's file in delphi's layout; tokens are padded windows [window, position]."""
    rows, levels = [], []
    for node, value in values.items():
        channel = int(node.rpartition(".")[2])
        at = np.flatnonzero(value.astype(np.float16))
        position = at - text.start[at]
        rows.append(np.stack([text.window[at], position, np.full(len(at), channel)], axis=1))
        levels.append(value[at].astype(np.float16))
    lengths = [len(list(group)) for _, group in groupby(text.window.tolist())]
    tokens = np.zeros((len(lengths), max(lengths)), dtype=np.int64)
    tokens[text.window, np.arange(len(text)) - text.start] = text.ids
    return {
        "locations": torch.from_numpy(np.concatenate(rows).astype(np.uint32)),
        "activations": torch.from_numpy(np.concatenate(levels)),
        "tokens": torch.from_numpy(tokens),
    }
