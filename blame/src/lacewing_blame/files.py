"""The only writer of files: each is written beside its place and renamed into it.

So a crash leaves the old file or the new one. Nothing here is a pickle: JSON and plain bytes only.
"""

import errno
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lacewing_blame.errors import ArtifactError

LARGEST = 2**28
"""Bytes of the largest JSON file that is read whole."""


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file's content in one step, or leave it as it was.

    Raises:
        ArtifactError: the disk is full, or the place cannot be written or is no file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_bytes(Path(folder) / "a", b"four")
    ...     (Path(folder) / "a").read_bytes()
    b'four'
    """
    with _writing(path):
        _refuse_special(path)
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


def _refuse_special(path: Path) -> None:
    """Refuse to replace a device or a pipe: `/dev/null` would be an ordinary file afterwards."""
    with suppress(FileNotFoundError, NotADirectoryError):
        mode = os.lstat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
            raise ArtifactError(f"{path} is a device or a pipe: name a file to write")


def write_json(path: Path, value: object) -> None:
    """Write a JSON file in one step.

    Raises:
        ArtifactError: the disk is full, or the place cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_json(Path(folder) / "a.json", {"step": 4})
    ...     read_json(Path(folder) / "a.json")
    {'step': 4}
    """
    write_bytes(path, (json.dumps(value, indent=1) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ArtifactError: missing, unreadable, or not JSON.

    >>> try:
    ...     read_json(Path("missing.json"))
    ... except ArtifactError as error:
    ...     print(error)
    missing.json is missing: give the place of an existing file
    """
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise ArtifactError(f"{path} has {size:,} bytes, at most {LARGEST:,} are read")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} is missing: give the place of an existing file") from error
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not JSON ({error}): damaged or foreign") from error


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
