"""The samples of an Inspect eval log: a zip with one JSON file per sample, or one JSON document.

Newer versions compress with zstd, which Python before 3.14 cannot read by itself: the extra
`inspect` of this package brings what is missing.
"""

import io
import json
import struct
import sys
import zipfile
import zlib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from lacewing_blame.errors import DataError

ZSTD = 93
"""The compression method's number in a zip."""
LARGEST = 2**30
"""Bytes of samples that are read."""
UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading an archive may raise: damage, a password, a way of packing nobody knows."""


def is_eval(path: Path) -> bool:
    """Whether a file is a zip that holds an eval log.

    >>> is_eval(Path("missing.eval"))
    False
    """
    return path.suffix.lower() == ".eval" and path.is_file()


def samples(path: Path) -> dict[str, dict[str, Any]]:
    """The samples of an `.eval` file, by their names in it.

    Raises:
        DataError: it is no zip, holds no samples, or is compressed in a way that cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.eval"
    ...     with zipfile.ZipFile(path, "w") as file:
    ...         file.writestr("samples/7_epoch_1.json", '{"id": 7}')
    ...     samples(path)
    {'7_epoch_1': {'id': 7}}
    """
    try:
        with zipfile.ZipFile(path) as file:
            names = [i for i in file.infolist() if i.filename.startswith("samples/")]
            names = [i for i in names if i.filename.endswith(".json")]
            if sum(info.file_size for info in names) > LARGEST:
                raise DataError(f"{path.name} unpacks to more than {LARGEST:,} bytes")
            found = {Path(info.filename).stem: _read(path, file, info) for info in names}
    except UNREADABLE as error:
        raise DataError(
            f"{path.name} is no eval log of Inspect ({error!s:.80}); give one that was finished"
        ) from error
    if not found:
        raise DataError(f"{path.name} holds no finished samples; give the log of a finished eval")
    return found


def listed(value: object) -> dict[str, dict[str, Any]] | None:
    """The samples of a JSON document; none where it is no eval log.

    >>> listed({"eval": {}, "samples": [{"id": 7, "epoch": 1, "messages": []}]}).keys()
    dict_keys(['7_epoch_1'])
    """
    if not isinstance(value, Mapping) or "eval" not in value:
        return None
    given = value.get("samples")
    if not isinstance(given, list):
        return None
    return {
        f"{one.get('id')}_epoch_{one.get('epoch', 1)}": dict(one)
        for one in given
        if isinstance(one, Mapping) and "messages" in one
    }


def _read(path: Path, file: zipfile.ZipFile, info: zipfile.ZipInfo) -> dict[str, Any]:
    if info.file_size > LARGEST:
        raise DataError(f"{path.name}: {info.filename} is larger than {LARGEST:,} bytes")
    content = _unpacked(path, info) if info.compress_type == ZSTD else file.read(info)
    value = json.loads(content)
    if not isinstance(value, dict):
        raise DataError(f"{path.name}: {info.filename} is no sample")
    return value


def _unpacked(path: Path, info: zipfile.ZipInfo) -> bytes:
    """A file of the zip that is compressed with zstd."""
    try:
        zstd = import_module(
            "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
        )
    except ImportError as error:
        raise DataError(
            f"{path.name} is compressed with zstd: pip install 'lacewing-blame[inspect]', or write "
            "it anew with inspect log convert --to json"
        ) from error
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name, extra = struct.unpack("<26xHH", file.read(30))
        file.seek(info.header_offset + 30 + name + extra)
        packed = file.read(info.compress_size)
    with zstd.ZstdFile(io.BytesIO(packed)) as whole:
        content: bytes = whole.read(LARGEST + 1)
    return content
