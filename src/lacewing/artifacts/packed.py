"""Files that lie packed, as NAME.gz: what ships with the package should be small.

Only as much is unpacked as the file may have, so a small file cannot fill the memory.
"""

import gzip
import zlib
from pathlib import Path

from lacewing.errors import ArtifactError

PACKED = ".gz"
"""What the name of a packed file ends with."""
GZIP = zlib.MAX_WBITS | 16
"""zlib's word for gzip's frame."""


def packed(content: bytes) -> bytes:
    """The same in fewer bytes; equal contents pack equally, whenever that is done.

    Example:
        >>> unpacked(packed(b"ab" * 1000), 2000, Path("letters.gz")) == b"ab" * 1000
        True
    """
    return gzip.compress(content, 9, mtime=0)


def unpacked(content: bytes, most: int, path: Path) -> bytes:
    """What was packed.

    Args:
        content: The packed bytes.
        most: Bytes it may become; more are never made.
        path: Their file, for what goes wrong.

    Raises:
        ArtifactError: it is no whole packed file, or becomes more than that.
    """
    reader = zlib.decompressobj(GZIP)
    try:
        found = reader.decompress(content, most + 1)
    except zlib.error as error:
        raise ArtifactError(f"{path} cannot be unpacked ({error}): damaged or foreign") from error
    if len(found) > most:
        raise ArtifactError(
            f"{path} unpacks to more than {most:,} bytes, which are read at most: damaged or "
            "foreign"
        )
    if not reader.eof or reader.unused_data:
        raise ArtifactError(f"{path} is no whole packed file: damaged or foreign")
    return found
