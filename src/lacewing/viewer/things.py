"""What a served folder holds: models, circuits, bridges; and circuits that lie there twice."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.bridges import folder as bridges
from lacewing.circuit.folder import ARRAYS
from lacewing.circuit.pairs import PAIRS
from lacewing.circuit.shipped import is_shipped, name_of
from lacewing.errors import ArtifactError
from lacewing.sae import folder as saes
from lacewing.verification.verify import VERIFICATION

PLACE = ("model_source", "seconds")
"""What circuit.json says that is another thing in every folder."""


@dataclass(frozen=True)
class Run:
    """A model that can be loaded."""

    id: str
    source: str
    """A folder, or builtin:NAME."""
    name: str
    """As people write it."""
    model_id: str
    config: dict[str, Any]
    summary: dict[str, Any]
    tasks: list[dict[str, Any]] | None
    """What `lacewing tasks --run` measured, where it was kept."""
    under: "Run | None" = None
    """Where nodes are latents, the model that runs under them."""
    stamp: int = 0
    """Of its autoencoders: changes when they do."""


@dataclass(frozen=True)
class Latents:
    """A folder of autoencoders, whose latents are nodes of a model."""

    folder: Path
    facts: saes.Facts
    run: Run | None
    """Their model with latents for nodes, where that model is among the served ones."""
    stamp: int


@dataclass(frozen=True)
class Found:
    """A circuit's folder and the small facts in it; its arrays are read when it is opened."""

    id: str
    folder: Path
    facts: dict[str, Any]
    """What circuit.json says, in today's layout."""
    run: Run | None
    """Its model, where that is among the served ones."""
    latents: Latents | None
    """Its autoencoders, where its nodes are latents and these are in the served folder."""
    stamp: int
    """Changes whenever a file of the folder does, notes included."""
    core: int
    """Changes whenever the circuit itself does."""

    def check_writable(self) -> None:
        """Refuse a circuit that is part of the package: nobody writes beside it.

        Raises:
            ArtifactError: saying how to have a copy.
        """
        if is_shipped(self.folder):
            name = name_of(self.folder)
            raise ArtifactError(
                f"{name} is part of lacewing, where nothing is written: make a copy under the "
                f"served folder with lacewing verify --quick --circuit {name} --output DIR"
            )
        check_links(self.folder)


@dataclass(frozen=True)
class Across:
    """A folder of bridges, and its models, where they are among the served ones."""

    id: str
    folder: Path
    name: str
    facts: bridges.Facts
    dense: Run | None
    sparse: Run | None
    stamp: int


@dataclass(frozen=True)
class Contents:
    """All that was found at one time."""

    runs: dict[str, Run] = field(default_factory=dict)
    circuits: dict[str, Found] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    """Circuits that lie in several folders: the id of every one that is not listed, with that of
    the same circuit which is."""
    shipped: dict[str, Found] = field(default_factory=dict)
    """Circuits that come with the package, to look at; nothing is written beside them."""
    sweeps: dict[str, Path] = field(default_factory=dict)
    """JSON files with points of a frontier."""
    emergences: dict[str, Path] = field(default_factory=dict)
    """JSON files with the states of a training."""
    bridges: dict[str, Across] = field(default_factory=dict)
    latents: dict[Path, Latents] = field(default_factory=dict)
    """Autoencoders by their folder."""
    broken: dict[str, str] = field(default_factory=dict)
    """Folders that say they are lacewing's and cannot be read, and why."""


def check_links(folder: Path) -> None:
    """Refuse a folder in which a link leads out of it: it is neither read nor written through.

    Raises:
        ArtifactError: naming the link.
    """
    for name in os.listdir(folder):
        if os.path.islink(folder / name):
            artifacts.own(folder, name)


def copies(circuits: Iterable[Found]) -> dict[str, str]:
    """Of circuits that are the same but for their folder, that with the newest verdict is listed.

    `lacewing demo` copies the circuits of its comparison to where its report looks for them, and
    only the copy is verified.
    """
    same: dict[str, list[Found]] = {}
    for found in circuits:
        try:
            same.setdefault(_content(found), []).append(found)
        except (ArtifactError, OSError):  # gone, or replaced, since it was read
            continue
    return {
        other.id: group[0].id
        for group in (sorted(found, key=_rank) for found in same.values())
        for other in group[1:]
    }


def _content(found: Found) -> str:
    """What makes two folders the same circuit: model, task, nodes, edges, pairs and losses."""
    files = artifacts.read_json(found.folder / artifacts.MANIFEST)["files"]
    hashes = [files[name]["sha256"] for name in (ARRAYS, PAIRS) if name in files]
    facts = {key: value for key, value in found.facts.items() if key not in PLACE}
    return json.dumps([facts, hashes], sort_keys=True, default=str)


def _rank(found: Found) -> tuple[float, int, str]:
    """The newest verdict first, then the folder that is nearest."""
    verdict = found.folder / VERIFICATION
    judged = verdict.stat().st_mtime if os.path.isfile(verdict) else 0.0
    return -judged, len(found.folder.parts), found.id
