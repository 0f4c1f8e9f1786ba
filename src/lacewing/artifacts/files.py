"""Bytes in files: written in one step, and read only from plain files of a bounded size."""

import errno
import hashlib
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lacewing.errors import ArtifactError

READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""A pipe under a file's name is opened without waiting for its other end, and then refused."""

HERE = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]
"""This machine, in the names of what is being written: disks may be shared."""


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file's content in one step, or leave it as it was.

    Raises:
        ArtifactError: the disk is full, or the place cannot be written or is no file.
    """
    with writing(path):
        refuse_special(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        clear(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=beside(path))
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


def refuse_special(path: Path) -> None:
    """Refuse to replace a device or a pipe: `/dev/null` would be an ordinary file afterwards.

    Raises:
        ArtifactError: it is one.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        mode = os.lstat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
            raise ArtifactError(f"{path} is a device or a pipe: name a file to write")


def utf8(text: str) -> bytes:
    r"""The bytes of a text that may hold names of files, which need not be UTF-8.

    Example:
        >>> utf8("report/\udcff")
        b'report/\\udcff'
    """
    return text.encode("utf-8", "backslashreplace")


def cache_folder() -> Path:
    """Where what can be made anew is kept for this user.

    >>> cache_folder().name
    'lacewing'
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lacewing"


def beside(path: Path) -> str:
    """How the name of what is written beside a path begins: with this machine and process."""
    return f".{path.name}.{HERE}.{os.getpid()}."


def real(path: str | Path) -> Path:
    """A path without its links, absolute; one that leads in a circle, or is none, stays as it is.

    `Path.resolve` raises where links lead in a circle; whoever opens such a path says so in a line.

    Example:
        >>> real("/usr/../etc") == real("/etc")
        True
    """
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # signs that no path has
        return Path(path)


def clear(path: Path) -> None:
    """Delete what killed processes of this machine left half written beside a path."""
    start = f".{path.name}.{HERE}."
    for rest in list(os.scandir(path.parent)):
        writer = rest.name.removeprefix(start).partition(".")[0]
        if not rest.name.startswith(start) or not writer.isdecimal() or _lives(int(writer)):
            continue
        if rest.is_dir(follow_symlinks=False):
            shutil.rmtree(rest.path, ignore_errors=True)
        else:
            with suppress(OSError):
                os.unlink(rest.path)


def _lives(process: int) -> bool:
    """Whether a process runs; where nobody can say, it does."""
    if os.name != "posix":  # elsewhere signal 0 ends it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """The content of a plain file.

    Args:
        path: The file.
        most: Bytes it may have; larger ones are refused before they are read.

    Raises:
        ArtifactError: missing, unreadable, too large, or something else than a file.
    """
    try:
        with os.fdopen(os.open(path, READ), "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise ArtifactError(f"{path} is no plain file: damaged or foreign")
            if most is not None and facts.st_size > most:
                raise ArtifactError(
                    f"{path} has {facts.st_size:,} bytes, where at most {most:,} are read: damaged "
                    "or foreign"
                )
            return file.read()
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path} is missing: the folder is incomplete or not lacewing's"
        ) from error
    except (OSError, ValueError, MemoryError) as error:  # a name with a NUL is a ValueError
        reason = getattr(error, "strerror", None) or str(error) or "too large for the memory"
        raise ArtifactError(f"cannot read {path}: {reason}") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one line what the system refused while something is written at a place.

    Raises:
        ArtifactError: the disk is full, or the place cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ArtifactError(
                f"disk full while writing {path}: free some space and run the same command again"
            ) from error
        raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from error
