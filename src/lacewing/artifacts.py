"""The only writer of folders and of the files in them.

A folder is whole or absent: its manifest.json, which lists every file with size and SHA-256, is
written last. Files are written beside their place and renamed into it, so a crash leaves the old
or the new. Nothing here is a pickle: JSON, safetensors and plain bytes only.
"""

import errno
import hashlib
import json as jsonlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lacewing.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
"""Version of the folder layout; older programs refuse newer folders."""
MANIFEST = "manifest.json"


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file's content in one step, or leave it as it was.

    Raises:
        ArtifactError: the disk is full, or the place cannot be written.
    """
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_json(path: Path, value: object) -> None:
    """Write a JSON file in one step."""
    write_bytes(path, (jsonlib.dumps(value, indent=1) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ArtifactError: missing, or not JSON.
    """
    try:
        return jsonlib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path} is missing: the folder is incomplete or not lacewing's"
        ) from error
    except (jsonlib.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is not JSON ({error}): damaged or foreign") from error


def write_tensors(
    path: Path, tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file in one step."""
    from safetensors.torch import save

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(whole, dict(metadata) if metadata else None))


def read_tensors(path: Path) -> dict[str, "Tensor"]:
    """Read a safetensors file.

    Raises:
        ArtifactError: missing, truncated, or of another format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(_existing(path).read_bytes())
    except SafetensorError as error:
        raise ArtifactError(f"{path} is truncated or no safetensors file ({error})") from error


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; empty if it has none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(_existing(path), "pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise ArtifactError(f"{path} is truncated or no safetensors file ({error})") from error


def write_folder(
    path: Path,
    kind: str,
    *,
    files: Mapping[str, bytes] | None = None,
    json: Mapping[str, object] | None = None,
    tensors: Mapping[str, Mapping[str, "Tensor"]] | None = None,
    replace: bool = False,
) -> None:
    """Write a whole folder, or nothing.

    Args:
        path: Where.
        kind: What it is, such as "circuit"; readers ask for it by this word.
        files: Raw contents by file name.
        json: Values by file name.
        tensors: Named tensors by file name.
        replace: Whether an older folder of the same kind gives way; otherwise it is an error.

    Raises:
        ArtifactError: the folder exists, or holds something else than what may be replaced; the
            disk is full, or the place cannot be written.
    """
    if path.exists() and not replace:
        raise ArtifactError(f"{path} exists already: choose another place; nothing was overwritten")
    if path.exists() and not _may_replace(path, kind):
        raise ArtifactError(
            f"{path} holds something else than a {kind} of lacewing: choose another place; "
            "nothing was overwritten"
        )
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            for name, content in (files or {}).items():
                write_bytes(new / name, content)
            for name, value in (json or {}).items():
                write_json(new / name, value)
            for name, group in (tensors or {}).items():
                write_tensors(new / name, group)
            seal(new, kind, [*(files or {}), *(json or {}), *(tensors or {})])
            os.chmod(new, 0o755)  # noqa: S103 - mkdtemp makes folders private
            _swap(new, path)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def seal(path: Path, kind: str, names: Sequence[str]) -> None:
    """Write the manifest of a folder whose files were written in place; this makes it whole."""
    from lacewing import __version__

    listed = {name: _describe(path / name) for name in names}
    manifest = {"format": FORMAT, "kind": kind, "lacewing": __version__, "files": listed}
    write_json(path / MANIFEST, manifest)


def read_manifest(path: Path, kind: str, check_hash: bool = False) -> dict[str, Any]:
    """Check that a folder is whole and of a kind.

    Args:
        path: The folder.
        kind: What it has to be.
        check_hash: Whether to read every file and compare its SHA-256, not only its size.

    Raises:
        ArtifactError: saying which file is missing, damaged or foreign.
    """
    if not path.is_dir():
        raise ArtifactError(f"no {kind} at {path}: there is no such folder")
    if not (path / MANIFEST).exists():
        raise ArtifactError(
            f"{path} has no {MANIFEST}: it is not a finished {kind}; run the command that makes "
            "it again"
        )
    manifest = read_json(path / MANIFEST)
    if not _is_manifest(manifest):
        raise ArtifactError(f"{path / MANIFEST} is no manifest of lacewing")
    if manifest["kind"] != kind:
        raise ArtifactError(f"{path} holds a {manifest['kind']}, not a {kind}")
    if manifest["format"] > FORMAT:
        raise ArtifactError(
            f"{path} has format {manifest['format']}, this lacewing reads up to {FORMAT}: update it"
        )
    for name, facts in manifest["files"].items():
        _check(path / name, facts, check_hash)
    return manifest


def _may_replace(path: Path, kind: str) -> bool:
    """Whether a place is ours to empty: nothing in it, or a folder of the kind, even damaged."""
    if not path.is_dir():
        return False
    if not (path / MANIFEST).exists():
        return next(path.iterdir(), None) is None
    try:
        manifest = read_json(path / MANIFEST)
    except ArtifactError:
        return True
    return not _is_manifest(manifest) or manifest["kind"] == kind


def _is_manifest(value: object) -> bool:
    """Whether a JSON value has the shape of a manifest, so that the rest may trust its types."""
    if not isinstance(value, dict) or not isinstance(value.get("files"), dict):
        return False
    facts = value["files"].values()
    return (
        isinstance(value.get("format"), int)
        and isinstance(value.get("kind"), str)
        and all(isinstance(f, dict) and {"size", "sha256"} <= f.keys() for f in facts)
    )


def _check(path: Path, facts: Mapping[str, Any], check_hash: bool) -> None:
    if not path.exists():
        raise ArtifactError(f"{path} is missing, though the manifest lists it")
    size = path.stat().st_size
    if size != facts["size"]:
        raise ArtifactError(f"{path} has {size} bytes, the manifest says {facts['size']}: damaged")
    if check_hash and _describe(path)["sha256"] != facts["sha256"]:
        raise ArtifactError(f"{path} has another content than the manifest says: damaged")


def _describe(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ArtifactError(f"{path} is missing: the folder is incomplete or not lacewing's")
    return path


def _swap(new: Path, path: Path) -> None:
    """Rename `new` into place; the folder that was there goes only once its successor is whole."""
    if not path.exists():
        os.replace(new, path)
        return
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    os.replace(path, old)
    os.replace(new, path)
    shutil.rmtree(old, ignore_errors=True)


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


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ArtifactError(
                f"disk full while writing {path}: free some space and run the same command again"
            ) from error
        raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from error
