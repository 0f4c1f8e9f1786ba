"""Locks on folders, which end with the process that holds them, however that ends.

    with locked(run, "another training is running in ..."):     one process at a time, or an error
    with alone(circuit):                                        one writer at a time, waited for

Both are filelock's, on FOLDER/.lock; a folder that is replaced while one waits is waited for anew.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lacewing.artifacts.files import real, writing
from lacewing.errors import ArtifactError, ConfigError

LOCK = ".lock"
PAUSE = 0.1
"""Seconds between two looks at a lock that is held for long."""
SOON = 0.002
"""The same where it is held for milliseconds."""
PATIENCE = 60.0
"""Seconds after which a lock that should be held for milliseconds is given up."""
_here = threading.Lock()


@contextmanager
def locked(folder: Path, message: str, patience: float = 0.0) -> Iterator[None]:
    """Hold FOLDER/.lock while the block runs.

    Args:
        folder: The folder; made if it is not there.
        message: The error if another process holds it.
        patience: Seconds to wait for that process.

    Raises:
        ConfigError: another process held the lock all this time.
        ArtifactError: the folder cannot be written, or a link leads out of it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, timeout=patience, poll_interval=PAUSE, thread_local=False)
    begun = not folder.exists()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout as error:
            raise ConfigError(message) from error
    try:
        refuse_links(folder)
        yield
    finally:
        lock.release()
        if begun and [inner.name for inner in folder.iterdir()] == [LOCK]:  # nothing came of it
            with suppress(OSError):
                (folder / LOCK).unlink()
                folder.rmdir()


def refuse_links(folder: Path) -> None:
    """Refuse links out of a folder that work goes on in: nothing is read or written elsewhere.

    Raises:
        ArtifactError: a link leads out, or nowhere.
    """
    root = real(folder)
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            if not os.path.islink(inner := os.path.join(place, name)):
                continue
            if not os.path.exists(inner) or not real(inner).is_relative_to(root):
                raise ArtifactError(
                    f"{inner} is a link out of its folder, or leads nowhere: copy there what it "
                    "leads to, or choose another folder"
                )


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other threads and processes from writing into a folder, or replacing it, meanwhile.

    Raises:
        ArtifactError: there is no such folder, it cannot be written, or another process has held it
            for a minute.
    """
    from filelock import FileLock, Timeout

    with _here:
        while True:
            lock = FileLock(folder / LOCK, timeout=PATIENCE, poll_interval=SOON, thread_local=False)
            with writing(folder):
                before = _number(folder)
                try:
                    lock.acquire()
                except Timeout as error:
                    raise ArtifactError(
                        f"another process has been writing in {folder} for a minute: end it, and "
                        "do the same again"
                    ) from error
            try:
                if _number(folder) == before:
                    yield
                    return
            finally:
                lock.release()


def _number(folder: Path) -> int:
    """What tells a folder from the one that takes its place."""
    try:
        return os.stat(folder).st_ino
    except OSError as error:
        raise ArtifactError(f"{folder} is gone: nothing was written") from error
