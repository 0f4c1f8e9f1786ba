"""Source without its prose, remembered between processes: parsing a library takes seconds.

What was cleaned once is kept in the user's cache folder, under the hash of what it was, with a sum
of what it became. A damaged entry counts as none; where nothing can be kept, all is cleaned anew.
"""

import hashlib
import sqlite3
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lacewing.artifacts import cache_folder
from lacewing.data.code import without_prose

VERSION = 1
"""To be raised when `without_prose` gives something else."""
LARGEST = 2**28
"""Bytes of the file beyond which nothing is added."""
WAIT = 2.0
"""Seconds that another process may be writing."""


class Cleaner:
    """`without_prose` of texts that may have been cleaned before."""

    def __init__(self, known: sqlite3.Connection | None) -> None:
        self._known = known
        self._new: list[tuple[bytes, bytes, bytes]] = []

    def __call__(self, text: str) -> str | None:
        """The source without comments and docstrings; None where it is not valid Python 3.11."""
        raw = text.encode("utf-8", "surrogatepass")
        key = hashlib.sha256(b"%d %d.%d " % (VERSION, *sys.version_info[:2]) + raw).digest()
        if (row := self._row(key)) and (found := _opened(*row)):
            return found[0]
        clean = without_prose(text)
        if self._known:
            self._new.append((key, *_packed(clean)))
        return clean

    def keep(self) -> None:
        """Keep what is new, in one step; not while another process writes for long."""
        if self._known and self._new:
            with suppress(sqlite3.Error), self._known:
                rows = "insert or replace into cleaned values (?, ?, ?)"
                self._known.executemany(rows, self._new)

    def _row(self, key: bytes) -> tuple[bytes, bytes] | None:
        if self._known is None:
            return None
        try:
            found = self._known.execute("select text, sum from cleaned where key = ?", (key,))
            row: tuple[bytes, bytes] | None = found.fetchone()
        except sqlite3.Error:
            self._known = None
            return None
        return row


@contextmanager
def cleaner(file: Path | None = None) -> Iterator[Cleaner]:
    """What cleans source, for the length of the block; what is new is kept at its end.

    Args:
        file: Where it is kept; by default in the user's cache folder.
    """
    file = file or cache_folder() / "cleaned.sqlite"
    known = _connected(file)
    made = Cleaner(known)
    try:
        yield made
    finally:
        with suppress(OSError):
            if known and file.stat().st_size <= LARGEST:
                made.keep()
        if known:
            known.close()


def _connected(file: Path) -> sqlite3.Connection | None:
    """The file's table; none where there can be none. A file that is none is made anew."""
    for _ in range(2):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            known = sqlite3.connect(file, timeout=WAIT, check_same_thread=False)
            known.execute(
                "create table if not exists cleaned (key blob primary key, text blob, sum blob)"
            )
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, or not to be written
                return None
            with suppress(OSError):
                file.unlink(missing_ok=True)
        except (OSError, RuntimeError):  # no home
            return None
        else:
            return known
    return None


def _packed(clean: str | None) -> tuple[bytes, bytes]:
    """What is kept: nothing for source that is not valid."""
    raw = b"" if clean is None else clean.encode("utf-8", "surrogatepass")
    return (b"" if clean is None else zlib.compress(raw, 1)), hashlib.sha256(raw).digest()


def _opened(text: bytes, checked: bytes) -> tuple[str | None] | None:
    """What was kept; none where it is damaged."""
    try:
        raw = zlib.decompress(text) if text else b""
        whole = hashlib.sha256(raw).digest() == checked
        return (raw.decode("utf-8", "surrogatepass") if text else None,) if whole else None
    except (zlib.error, TypeError, ValueError):
        return None
