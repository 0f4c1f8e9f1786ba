"""Lines of a corpus list for a folder of wheels: version, hash, licence, and a split by name.

    pip download --no-deps --only-binary :all: --dest WHEELS NAME ...
    python recipes/pin.py WHEELS > corpus.txt

A wheel that names no licence of the list, or one off it, gets a comment instead of a line.
The split follows from a hash of the name: 88 % train, 5 % validation, 7 % task.
"""

import hashlib
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

from lacewing.data.packages import LICENCES, Package, normal
from lacewing.data.wheels import Wheel
from lacewing.errors import DataError

SPDX = {"MIT": "MIT", "BSD": "BSD-3-Clause", "Apache": "Apache-2.0", "PSF": "PSF-2.0", "ISC": "ISC"}
SHARES = (("validation", 0.05), ("task", 0.12), ("train", 1.0))


def split_of(name: str) -> str:
    """The split of a package."""
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    return next(split for split, end in SHARES if share < end)


def line(path: Path) -> str:
    """The line of one wheel, or a comment that says why it has none."""
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(name))
    name, version = normal(str(metadata["Name"])), str(metadata["Version"])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    said = str(metadata.get("License-Expression") or "")
    for licence in (said, *SPDX.values()):
        if licence in LICENCES:
            split = split_of(name)
            try:
                Wheel(path, Package(name, version, digest, licence, split))  # type: ignore[arg-type]
            except DataError as error:
                reason = str(error)
                continue
            return f"{name}=={version} --hash=sha256:{digest}  # {licence}, {split}"
    return f"# left out: {reason}"


if __name__ == "__main__":
    lines = {line(path) for path in Path(sys.argv[1]).glob("*.whl")}
    print("\n".join(sorted(lines)))
