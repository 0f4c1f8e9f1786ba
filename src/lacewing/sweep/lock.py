"""A lock on a folder that ends with the process that holds it, however that ends."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lacewing.errors import ConfigError

NAME = ".lock"
PAUSE = 0.1


@contextmanager
def locked(folder: Path, message: str, patience: float = 0.0) -> Iterator[None]:
    """Hold FOLDER/.lock while the block runs.

    The operating system frees it when the process dies, so a killed sweep leaves no lock behind.

    Args:
        folder: The folder; made if it is not there.
        message: The error if another process holds it.
        patience: Seconds to wait for that process.

    Raises:
        ConfigError: another process held the lock all this time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        end = time.monotonic() + patience
        while not _taken(handle):
            if time.monotonic() >= end:
                raise ConfigError(message)
            time.sleep(PAUSE)
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    """Take the lock, unless another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
