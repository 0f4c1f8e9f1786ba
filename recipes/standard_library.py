"""Signatures of the standard library, so that a corpus has no copy of a file held out there.

    python recipes/standard_library.py LIB [LIB ...]

LIB is the Lib folder of an interpreter (lib/python3.11). The signatures of all their files, each
once, go to src/lacewing/data/standard_library.safetensors; the one that ships was made from
Python 3.11.7, 3.12.1 and 3.13.0. Signatures tell whether a file is like another, not what it says.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from lacewing import artifacts
from lacewing.data.build import LIBRARY
from lacewing.data.code import without_prose
from lacewing.data.corpus import TESTS, decoded
from lacewing.data.near import signature

TARGET = Path(__file__).parents[1] / "src" / "lacewing" / "data" / LIBRARY


def main(folders: list[str]) -> None:
    """Write the signatures of some libraries."""
    rows: dict[bytes, np.ndarray] = {}
    for path in sorted(path for folder in folders for path in Path(folder).rglob("*.py")):
        text = None if TESTS.intersection(path.parts) else decoded(path.read_bytes())
        # A file in newer syntax than this interpreter's is compared with its prose.
        values = None if text is None else signature(without_prose(text) or text)
        if values is not None:
            rows[values.tobytes()] = values
    stacked = torch.from_numpy(np.stack(list(rows.values())).astype(np.int64)).to(torch.uint32)
    artifacts.write_tensors(TARGET, {"values": stacked})
    print(f"{len(rows)} files, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
