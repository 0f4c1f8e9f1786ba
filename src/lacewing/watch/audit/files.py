"""The files of a model and of a circuit, and their sums: what an audit is about.

Of a run folder or a circuit, the files that its manifest lists, and the manifest; of a model of
Hugging Face, all that a library would open; of autoencoders, theirs and those of their model.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from lacewing import artifacts
from lacewing.artifacts.files import READ
from lacewing.circuit.folder import KIND as CIRCUIT
from lacewing.circuit.folder import source_in
from lacewing.circuit.shipped import is_shipped
from lacewing.errors import ArtifactError, ConfigError
from lacewing.model.huggingface.folder import READ as READ_BY_LIBRARIES
from lacewing.model.registry import HUGGING_FACE, SPLICED, prefix_of
from lacewing.model.shipped import BUILTIN, folder_of
from lacewing.sae.folder import FACTS, Facts
from lacewing.sae.folder import KIND as AUTOENCODERS
from lacewing.verification.verify import VERIFICATION
from lacewing.watch.audit.schema import File

Place = tuple[str, Path]
"""A file's name in the audit, and where it is."""


def of_model(source: str) -> list[Place]:
    """The files of a model, in the order of their names.

    Raises:
        ConfigError: it is opened by a loader of somebody's own, whose files are not known.
        ArtifactError: its folder is not whole.
    """
    prefix = prefix_of(source)
    place = source.removeprefix(prefix)
    if prefix == HUGGING_FACE:
        from lacewing.model.huggingface.load import place_of  # its libraries are an extra

        return sorted(_of_hub(place_of(source)))
    if prefix == SPLICED:
        folder = Path(place)
        inner = artifacts.open_folder(folder, AUTOENCODERS).read(FACTS, Facts).model_source
        under = [(f"model/{name}", path) for name, path in of_model(source_in(folder, inner))]
        return sorted([*_listed(folder, AUTOENCODERS), *under])
    if prefix:
        raise ConfigError(
            f"{source}: which files a loader of your own reads is not known, so that they cannot "
            "be audited; save the model as a run folder or for Hugging Face"
        )
    return sorted(_listed(folder_of(source), "run", links=source.startswith(BUILTIN)))


def of_circuit(folder: Path) -> list[Place]:
    """The files of a circuit, with what `verify` found."""
    found = _listed(folder, CIRCUIT, links=is_shipped(folder))
    beside = artifacts.own(folder, VERIFICATION)
    if os.path.lexists(beside):
        found.append((VERIFICATION, beside))
    return sorted(found)


def summed(places: Sequence[Place]) -> tuple[File, ...]:
    """The files with their sizes and sums.

    Raises:
        ArtifactError: one is missing, or no plain file.
    """
    return tuple(File(name, *_sum(path)) for name, path in places)


def differing(places: Sequence[Place], known: Sequence[File]) -> Iterator[str]:
    """Which files are not those that were audited, each in a line; sizes are compared first."""
    there = dict(places)
    names = [file.name for file in known]
    if len(set(names)) != len(names):
        yield "the audit lists a file twice"
        return
    yield from (f"{there[name]} is not in the audit" for name in there if name not in names)
    for file in known:
        path = there.get(file.name)
        if path is None:
            yield f"{file.name} is missing, or is no longer listed"
        elif (size := _facts(path).st_size) != file.size:
            yield f"{path} has {size:,} bytes, in the audit {file.size:,}"
        elif (found := _sum(path)[1]) != file.sha256:
            yield f"{path} has another content than in the audit: {found[:12]}, {file.sha256:.12}"


def _listed(folder: Path, kind: str, links: bool = False) -> list[Place]:
    """What a folder's manifest lists, and the manifest."""
    whole = artifacts.open_folder(folder, kind, links=links)
    names = [artifacts.MANIFEST, *whole.manifest.files]
    return [(name, folder / name) for name in names]


def _of_hub(folder: Path) -> Iterator[Place]:
    for entry in os.scandir(folder):
        if entry.name.endswith(READ_BY_LIBRARIES) and not entry.is_dir():
            yield entry.name, Path(entry.path)


def _facts(path: Path) -> os.stat_result:
    try:
        facts = path.stat()
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise ArtifactError(f"{path} is no plain file: damaged or foreign")
    return facts


def _sum(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a plain file, read piece by piece."""
    size = _facts(path).st_size
    try:
        with os.fdopen(os.open(path, READ), "rb") as file:
            return size, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
