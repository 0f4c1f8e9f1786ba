"""Selections that were measured, on disk: one that goes on asks for the same again.

In a large model a selection takes seconds to measure, and a search asks for hundreds.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from lacewing import artifacts
from lacewing.ablation.masks import Masks
from lacewing.errors import ArtifactError
from lacewing.pruning.selection import Target


@dataclass(frozen=True)
class Tried:
    """One line of the file."""

    __pydantic_config__ = artifacts.EXACT

    selection: str
    """A hash of the nodes it keeps."""
    reaches: bool
    sum: str
    """A hash of both: no manifest lists a file that grows."""

    @classmethod
    def of(cls, selection: str, reaches: bool) -> "Tried":
        """A line with its sum."""
        both = f"{selection} {reaches}".encode()
        return cls(selection, reaches, hashlib.sha256(both).hexdigest()[:16])

    def __post_init__(self) -> None:
        both = f"{self.selection} {self.reaches}".encode()
        if self.sum != hashlib.sha256(both).hexdigest()[:16]:
            raise ArtifactError("another content than was written: delete the folder")


@dataclass
class Remembering:
    """A target that never measures the same selection twice."""

    target: Target
    file: Path
    known: dict[str, bool]

    @classmethod
    def of(cls, target: Target, file: Path) -> "Remembering":
        """A target with what a file says of it; a last line that was cut short does not count."""
        file = artifacts.own(file.parent, file.name)
        content = artifacts.read_bytes(file, artifacts.LARGEST) if file.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            artifacts.write_bytes(file, whole)
        tried = artifacts.parse_lines(whole, Tried, file)
        return cls(target, file, {one.selection: one.reaches for one in tried})

    def reaches(self, masks: Masks) -> bool:
        """Whether the nodes that masks keep reach it."""
        bits = torch.cat([masks[key] for key in sorted(masks)]).numpy()
        name = hashlib.sha256(bits.tobytes()).hexdigest()[:24]
        if name not in self.known:
            self.known[name] = self.target.reaches(masks)
            line = json.dumps(asdict(Tried.of(name, self.known[name])))
            with self.file.open("a", encoding="utf-8") as opened:
                opened.write(line + "\n")
        return self.known[name]
