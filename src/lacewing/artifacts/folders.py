"""Folders: whole or absent, exclusive where that is asked for, never gone while one is replaced.

A folder is written beside its place, its manifest last, and renamed into it. Two writers of one
name: one wins, the other is told. An older folder of the same kind changes places with its
successor in one step where the system can do that (Linux, macOS); elsewhere in two.
"""

import ctypes
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lacewing.artifacts.files import beside, clear, write_bytes, writing
from lacewing.artifacts.locks import LOCK, alone
from lacewing.artifacts.manifest import FORMAT, MANIFEST, Manifest, describe, own
from lacewing.artifacts.tensors import write_tensors
from lacewing.artifacts.values import read, write_json, write_summed
from lacewing.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from torch import Tensor


UNFINISHED = ".unfinished"
"""What the name of a folder on its way ends with."""


def write_folder(
    path: Path,
    kind: str,
    *,
    files: Mapping[str, bytes] | None = None,
    json: Mapping[str, object] | None = None,
    tensors: Mapping[str, Mapping[str, "Tensor"]] | None = None,
    replace: bool = False,
    keep: Collection[str] = (),
) -> None:
    """Write a whole folder, or nothing.

    Args:
        path: Where.
        kind: What it is, such as "circuit"; readers ask for it by this word.
        files: Raw contents by file name.
        json: Values by file name.
        tensors: Named tensors by file name.
        replace: Whether an older folder of the same kind gives way; otherwise it is an error, also
            where another process makes it meanwhile.
        keep: Files that people write beside the others, taken over from an older folder. Whoever
            writes them does it under `locks.alone`, so that none is lost.

    Raises:
        ArtifactError: the folder exists, or holds something else than what may be replaced; the
            disk is full, or the place cannot be written.
    """
    if not replace:
        check_free(path, "another place")
    if path.exists() and not _may_replace(path, kind):
        raise ArtifactError(
            f"{path} holds something else than a {kind} of lacewing: choose another place; "
            "nothing was overwritten"
        )
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        clear(path)
        new = Path(tempfile.mkdtemp(dir=path.parent, prefix=beside(path)))
        try:
            for name, content in (files or {}).items():
                write_bytes(new / name, content)
            for name, value in (json or {}).items():
                write_json(new / name, value)
            for name, group in (tensors or {}).items():
                write_tensors(new / name, group)
            seal(new, kind, [*(files or {}), *(json or {}), *(tensors or {})])
            os.chmod(new, 0o755)  # noqa: S103 - mkdtemp makes folders private
            place(new, path, replace=replace, keep=keep)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def seal(path: Path, kind: str, names: Sequence[str]) -> None:
    """Write the manifest of a folder whose files were written in place; this makes it whole."""
    from lacewing import __version__

    listed = {name: describe(path / name) for name in names}
    manifest = {"format": FORMAT, "kind": kind, "lacewing": __version__, "files": listed}
    write_summed(path / MANIFEST, manifest)


def place(new: Path, path: Path, *, replace: bool, keep: Collection[str] = ()) -> None:
    """Rename a finished folder into place; `new` is gone or holds the older one afterwards.

    Raises:
        ArtifactError: there is one already, and it is not to be replaced.
    """
    if not path.exists():
        try:
            os.rename(new, path)  # refuses a folder that is not empty, on every system
            return
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.EACCES):
                raise
            if not path.exists():
                raise
    if not replace:
        check_free(path, "another place")
    with alone(path) if keep else nullcontext():
        for name in keep:
            if (path / name).is_file() and not (path / name).is_symlink():
                shutil.copy2(path / name, new / name)
        if not _exchanged(new, path):
            old = path.with_name(f".{path.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            os.replace(path, old)
            os.replace(new, path)
            shutil.rmtree(old, ignore_errors=True)


def recover(path: Path) -> None:
    """Mend what a crash left beside a folder that `write_folder` was replacing.

    The old folder comes back where its successor had not yet taken its place; half-written ones go.
    """
    old = path.with_name(f".{path.name}.old")
    if old.exists() and not path.exists():
        os.replace(old, path)
    if path.parent.is_dir():
        for rest in path.parent.iterdir():
            if rest.name.startswith(f".{path.name}.") and rest.is_dir():
                shutil.rmtree(rest, ignore_errors=True)


def check_same(
    folder: Path,
    what: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    ignoring: Collection[str] = (),
) -> None:
    """Refuse a folder whose content was made with other settings.

    Args:
        folder: The folder.
        what: What it holds: "a run", "a sweep", ...
        old: The settings that what is there was made with.
        new: Those of what is to be made there.
        ignoring: Settings that may differ.

    Raises:
        ConfigError: naming the first setting that differs, and both of its values.
    """
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        if key not in ignoring and was != now:
            raise ConfigError(
                f"{folder} holds {what} with {key} {was!r}, this one has {now!r}: choose another "
                "--output; nothing was written"
            )


def check_free(path: Path, other: str = "another --output") -> None:
    """Refuse a place where something is.

    Args:
        path: The place.
        other: What to choose instead.

    Raises:
        ArtifactError: something is there.
    """
    if path.exists():
        raise ArtifactError(f"{path} exists already: choose {other}; nothing was overwritten")


def unfinished(path: Path) -> Path:
    """Where the work on a folder is kept until it is done: PATH.unfinished, beside it.

    Raises:
        ArtifactError: the path has no name to which that could be added, such as "" or "..", or
            somebody left a link there, which would lead what is written elsewhere.

    Example:
        >>> unfinished(Path("runs/quotes")).as_posix()
        'runs/quotes.unfinished'
    """
    if path.name in ("", ".."):
        raise ArtifactError(f"{path} is no name for a new folder: choose another --output")
    made = path.with_name(path.name + UNFINISHED)
    if made.is_symlink():
        raise ArtifactError(
            f"{made} is a link, and was not followed: take it away, or choose another --output"
        )
    return made


def _may_replace(path: Path, kind: str) -> bool:
    """Whether a place is ours to empty: nothing in it, or a folder of the kind, even damaged."""
    if not path.is_dir():
        return False
    if not (path / MANIFEST).exists():
        return all(inner.name == LOCK for inner in path.iterdir())
    try:
        return read(own(path, MANIFEST), Manifest).kind == kind
    except ArtifactError:
        return True


def _exchanged(one: Path, other: Path) -> bool:
    """Whether two folders changed places in one step; False where the system cannot."""
    first, second, exchange, here = os.fsencode(one), os.fsencode(other), 2, -100
    try:
        system = ctypes.CDLL(None)
        if sys.platform == "darwin":
            return bool(system.renamex_np(first, second, exchange) == 0)
        return bool(system.renameat2(here, first, here, second, exchange) == 0)
    except (OSError, AttributeError, TypeError):  # no such call, or a Windows without libc
        return False
