"""What makes a folder whole: manifest.json, with the size and SHA-256 of every file.

    whole = open_folder(path, "circuit")        # every file is there and has its size
    facts = whole.read("circuit.json", Facts)   # this one has the content that was written

A file's sum is compared as it is read, from the same bytes, so nothing is read twice and what is
not used costs nothing. A file that is mapped into memory is compared once per process. A file may
lie packed, as NAME.gz: it is listed so, and read by its plain name.
"""

import functools
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lacewing.artifacts.files import READ, read_bytes
from lacewing.artifacts.packed import PACKED, unpacked
from lacewing.artifacts.tensors import parse_metadata, parse_tensors
from lacewing.artifacts.values import (
    LARGEST,
    LOOSE,
    parse,
    parse_json,
    parse_lines,
    read_json,
    typed,
    without_sum,
)
from lacewing.errors import ArtifactError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
"""Version of the folder layout; older programs refuse newer folders."""
MANIFEST = "manifest.json"
SMALL = 2**29
"""Bytes of the largest tensor file that is read, where nobody knows how large it has to be."""

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One file of a folder."""

    __pydantic_config__ = LOOSE

    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What manifest.json says."""

    __pydantic_config__ = LOOSE

    format: int
    kind: str
    files: dict[str, Entry]
    lacewing: str = ""


@dataclass(frozen=True)
class Whole:
    """A folder whose manifest was read; its files are checked as they are read."""

    folder: Path
    manifest: Manifest = field(repr=False)

    def __contains__(self, name: str) -> bool:
        """Whether the manifest lists a file, packed or not."""
        return name in self.manifest.files or name + PACKED in self.manifest.files

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.manifest.files.values())

    def bytes(self, name: str, most: int | None = None) -> bytes:
        """The content of a file.

        Raises:
            ArtifactError: it is not listed, larger than `most`, or not what was written.
        """
        if name not in self.manifest.files and name in self:
            packed = name + PACKED
            return unpacked(self.bytes(packed, most), most or SMALL, self.folder / packed)
        entry, path = self._entry(name), self.folder / name
        content = read_bytes(path, most)
        _same_size(path, len(content), entry)
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise _damaged(path)
        return content

    def json(self, name: str) -> Any:
        """The value of a JSON file; see `values.read_json`."""
        return parse_json(self.bytes(name, LARGEST), self.folder / name)

    def read(self, name: str, kind: type[T]) -> T:
        """The value of a JSON file of a known type; see `values.read`."""
        return parse(self.bytes(name, LARGEST), kind, self.folder / name)

    def lines(self, name: str, kind: type[T], most: int | None = LARGEST) -> Iterator[T]:
        """The values of a file of JSON lines."""
        return parse_lines(self.bytes(name, most), kind, self.folder / name)

    def tensors(self, name: str, most: int = SMALL) -> dict[str, "Tensor"]:
        """The tensors of a safetensors file of at most so many bytes."""
        return parse_tensors(self.bytes(name, most), self.folder / name)

    def tensors_and_metadata(
        self, name: str, most: int = SMALL
    ) -> tuple[dict[str, "Tensor"], dict[str, str]]:
        """Both parts of a safetensors file."""
        content, path = self.bytes(name, most), self.folder / name
        return parse_tensors(content, path), parse_metadata(content, path)

    def path(self, name: str) -> Path:
        """A file that is mapped into memory: its sum was compared when it was last changed.

        Once per process and state of the file (inode, size, time): hashing a gigabyte takes about
        0.7 s, mapping it no time.
        """
        entry, path = self._entry(name), self.folder / name
        facts = os.stat(path)
        state = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)
        if _sum(path, state) != entry.sha256:
            raise _damaged(path)
        return path

    def check(self) -> None:
        """Compare every file with its sum.

        Raises:
            ArtifactError: one is not what was written.
        """
        for name in self.manifest.files:
            self.path(name)

    def _entry(self, name: str) -> Entry:
        try:
            return self.manifest.files[name]
        except KeyError as error:
            raise ArtifactError(
                f"{self.folder / MANIFEST} does not list {name}: not of a whole "
                f"{self.manifest.kind}"
            ) from error


def open_folder(path: Path, kind: str, *, links: bool = False) -> Whole:
    """Check that a folder is whole and of a kind, and read its files through what is returned.

    Args:
        path: The folder.
        kind: What it has to be.
        links: Whether its files may be links that lead out of it, as installers make them.

    Raises:
        ArtifactError: saying which file is missing, damaged, foreign or a link out of the folder.
    """
    if not path.is_dir():
        raise ArtifactError(f"no {kind} at {path}: there is no such folder")
    if not os.path.exists(path / MANIFEST):
        raise ArtifactError(
            f"{path} has no {MANIFEST}: it is not a finished {kind}; run the command that makes "
            "it again"
        )
    root = Path(os.path.realpath(path))
    inside(path, MANIFEST, None if links else root)
    plain = read_json(path / MANIFEST)
    manifest = typed(plain, Manifest, path / MANIFEST)
    if manifest.kind != kind:
        found = manifest.kind if manifest.kind.isprintable() else repr(manifest.kind)
        raise ArtifactError(f"{path} holds a {found[:40]}, not a {kind}")
    if manifest.format > FORMAT:
        raise ArtifactError(
            f"{path} has format {manifest.format}, this lacewing reads up to {FORMAT}: update it"
        )
    without_sum(plain, path / MANIFEST)
    for name, entry in manifest.files.items():
        file = inside(path, name, None if links else root)
        try:
            facts = file.stat()
        except OSError as error:
            raise ArtifactError(f"{file} is missing, though the manifest lists it") from error
        if not stat.S_ISREG(facts.st_mode):  # a pipe would be waited for
            raise ArtifactError(f"{file} is no plain file: damaged or foreign")
        _same_size(file, facts.st_size, entry)
    return Whole(path, manifest)


def read_manifest(path: Path, kind: str, check_hash: bool = False) -> dict[str, Any]:
    """Check that a folder is whole and of a kind.

    Args:
        path: The folder.
        kind: What it has to be.
        check_hash: Whether to read every file and compare its SHA-256, not only its size.

    Returns:
        The manifest, as plain values. Who reads the files does it with `open_folder` instead.

    Raises:
        ArtifactError: saying which file is missing, damaged or foreign.
    """
    from dataclasses import asdict

    whole = open_folder(path, kind)
    if check_hash:
        whole.check()
    return asdict(whole.manifest)


def inside(folder: Path, name: str, root: Path | None = None) -> Path:
    """The file of a name that came from outside; it never leads out of the folder.

    Args:
        folder: The folder.
        name: A relative path with forward slashes.
        root: The folder's real path, where links must not lead out of it either.

    Raises:
        ArtifactError: the name is absolute, empty or climbs, or a link leads out.
    """
    parts = name.split("/")
    if not set(parts).isdisjoint(("", ".", "..")) or "\\" in name or not name.isprintable():
        raise ArtifactError(f"{folder} names a file {name!r:.80}, which lies outside: not opened")
    file = folder / name
    if file.is_absolute() and not folder.is_absolute():  # a drive of Windows
        raise ArtifactError(f"{folder} names a file {name!r:.80}, which lies outside: not opened")
    if root is not None and not Path(os.path.realpath(file)).is_relative_to(root):
        raise ArtifactError(
            f"{file} is a link out of its folder, and was not opened: copy the file there instead"
        )
    return file


def own(folder: Path, name: str) -> Path:
    """A folder's own file or folder of a name, to read or to write; it may be missing yet.

    Raises:
        ArtifactError: it is a link that leads out of the folder.
    """
    return inside(folder, name, Path(os.path.realpath(folder)))


def describe(path: Path) -> dict[str, Any]:
    """A file's entry in a manifest."""
    with os.fdopen(os.open(path, READ), "rb") as file:  # which waits for no pipe
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}


@functools.lru_cache(maxsize=4096)
def _sum(path: Path, state: tuple[int, ...]) -> str:
    """The SHA-256 of a file, found once for each state of it."""
    return str(describe(path)["sha256"])


def _same_size(path: Path, size: int, entry: Entry) -> None:
    if size != entry.size:
        raise ArtifactError(f"{path} has {size} bytes, the manifest says {entry.size}: damaged")


def _damaged(path: Path) -> ArtifactError:
    return ArtifactError(
        f"{path} has another content than the manifest says: damaged or edited; restore the file, "
        "or run the command that made the folder again"
    )
