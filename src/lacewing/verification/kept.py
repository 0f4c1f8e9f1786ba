"""What a suite has found so far, kept as it goes: DIR/verification/NAME.json.

With every result its conditions are kept: circuit, seed, corpus, version, and a sum over all. A
result is read again only under the same conditions, and where it is what was written.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lacewing import __version__, artifacts
from lacewing.errors import ArtifactError

FOLDER = "verification"


class Kept:
    """The finished parts of one circuit's suite."""

    def __init__(self, folder: Path, asked: Mapping[str, Any]) -> None:
        """Where they are kept.

        Args:
            folder: The circuit's folder.
            asked: What the parts are found under, beside circuit and version.

        Raises:
            ArtifactError: there is no circuit, or its `verification` is a link out of its folder.
        """
        circuit = artifacts.read_bytes(folder / artifacts.MANIFEST)
        self.folder = artifacts.own(folder, FOLDER)
        self.asked = {
            "circuit": hashlib.sha256(circuit).hexdigest()[:16],
            "lacewing": __version__,
        } | dict(asked)

    def read(self, name: str, **more: Any) -> dict[str, Any] | None:
        """A part that was finished under the same conditions, of which it may have `more`."""
        path = self.folder / f"{name}.json"
        try:
            value = artifacts.read_json(path)
            saved = artifacts.read_summed(path)
        except ArtifactError:
            return None
        whole = artifacts.SUM in value and isinstance(saved.get("found"), dict)
        return saved["found"] if whole and saved.get("asked") == self.asked | more else None

    def write(self, name: str, part: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Keep a finished part; what will be read of it."""
        path = self.folder / f"{name}.json"
        artifacts.write_summed(path, {"asked": self.asked | more, "found": dict(part)})
        found: dict[str, Any] = artifacts.read_json(path)["found"]
        return found
