"""What lies in the served folder: its runs, its circuits, its sweeps, each under an id.

The page names things by id only. An id is found in a dictionary made by reading the folder, so no
text of a request ever becomes a path.
"""

import hashlib
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.bridges import folder as bridges
from lacewing.circuit.folder import FACTS, KIND, read_facts, source_in
from lacewing.circuit.shipped import circuit_names
from lacewing.circuit.shipped import folder_of as circuit_folder
from lacewing.errors import ArtifactError, LacewingError
from lacewing.model.registry import SPLICED
from lacewing.model.shipped import BUILTIN, folder_of
from lacewing.model.store import same_model
from lacewing.progress import printable
from lacewing.sae import folder as saes
from lacewing.sweep.emergence import RESULT
from lacewing.viewer.things import Across, Contents, Found, Latents, Run, check_links, copies

DEEPEST = 8
"""Levels of folders searched below the served one; a sweep has six of its own."""
MOST = 5000
"""Folders looked at; a viewer started in a home folder must not walk a disk."""
LONGEST_REASON = 600
"""Characters of what is told of a folder that cannot be read."""
FRESH = 2.0
"""Seconds for which what was read of the folder is taken to be so still."""
SHIPPED = (
    "builtin:sparse",
    "builtin:dense",
    "builtin:taught-sparse",
    "builtin:taught-dense",
    "builtin:taught-small",
    "builtin:taught-tiny",
)
SKIPPED = {"node_modules", "__pycache__", "site-packages", "tokens", "checkpoint"}


class Library:
    """The served folder, read again when it may have changed."""

    def __init__(self, root: Path) -> None:
        """Serve a folder: a run, a circuit, or any folder above them.

        Raises:
            ArtifactError: there is no such folder.
        """
        if not root.is_dir():
            raise ArtifactError(f"no folder at {root}: give --run a run, or a folder of circuits")
        self.root = artifacts.real(root)
        self._lock = threading.Lock()
        self._contents, self._until = Contents(), float("-inf")

    def contents(self) -> Contents:
        """What there is; a few seconds old at most, less where reading is quick."""
        with self._lock:
            start = time.monotonic()
            if start > self._until:
                self._contents = read(self.root)
                now = time.monotonic()
                self._until = now + max(FRESH, 20 * (now - start))
            return self._contents

    def changed(self) -> None:
        """Read the folder again next time: something was written."""
        with self._lock:
            self._until = float("-inf")

    def place_for(self, name: str, beside: Path) -> Path:
        """Where a new circuit is saved: beside another, or under the served folder.

        Raises:
            ArtifactError: something of that name is there.
        """
        parent = artifacts.real(beside.parent)
        if not parent.is_relative_to(self.root):
            parent = artifacts.own(self.root, "circuits")
        if (parent / name).exists():
            raise ArtifactError(f"there is already something named {name!r}: choose another name")
        return parent / name


def read(root: Path) -> Contents:
    """Everything under a folder, and the models that come with the package.

    Whatever is wrong with one folder is told of that folder alone.
    """
    contents = Contents()
    folders = list(_walk(root, contents.broken))
    for source in SHIPPED:
        folder = folder_of(source)
        contents.runs[slug(source)] = _run(slug(source), source, folder)
    known = ("run", KIND, bridges.KIND, saes.KIND)
    ours = {folder: kind for folder in folders if (kind := _kind(folder)) in known}
    names = _slugs(root, ours)
    for folder in (folder for folder, kind in ours.items() if kind == "run"):
        with _told(root, folder, contents.broken):
            check_links(folder)
            contents.runs[names[folder]] = _run(names[folder], str(folder), folder)
    _tell_apart(root, contents.runs)
    by_model = {run.model_id: run for run in reversed(contents.runs.values())}
    # Circuits and runs of old know the weights alone.
    by_model |= {_weights(run.model_id): run for run in reversed(contents.runs.values())}
    for folder in (folder for folder, kind in ours.items() if kind == saes.KIND):
        with _told(root, folder, contents.broken):
            check_links(folder)
            contents.latents[folder] = _latents(root, names[folder], folder, by_model)
    for folder in (folder for folder, kind in ours.items() if kind == KIND):
        with _told(root, folder, contents.broken):
            check_links(folder)
            contents.circuits[names[folder]] = _circuit(
                names[folder], folder, by_model, contents.latents
            )
    for name in circuit_names():
        with _told(root, Path(name), contents.broken):
            folder = circuit_folder(name)
            contents.shipped[slug(name)] = _circuit(slug(name), folder, by_model, {}, links=True)
    for folder in (folder for folder, kind in ours.items() if kind == bridges.KIND):
        with _told(root, folder, contents.broken):
            check_links(folder)
            contents.bridges[names[folder]] = _across(root, names[folder], folder, by_model)
    contents.copies.update(copies(contents.circuits.values()))
    for names_of, places in ((SWEEP_FILES, contents.sweeps), ((RESULT,), contents.emergences)):
        files = [f / name for f in folders for name in names_of if os.path.isfile(f / name)]
        places.update((name, path) for path, name in _slugs(root, files).items())
    return contents


def each(
    library: Library, places: Mapping[str, Path], read: Callable[[str, Path, dict[Path, str]], Any]
) -> tuple[list[Any], list[dict[str, str]]]:
    """What some files hold, with the ids of the circuits they name; those that cannot be read.

    Args:
        library: The served folder.
        places: Files by id.
        read: Takes an id, its file, and circuits' ids by folder; None for nothing to show.
    """
    contents = library.contents()
    ids = {f.folder: contents.copies.get(f.id, f.id) for f in contents.circuits.values()}
    found, broken = [], []
    for id, path in places.items():
        try:
            if (value := read(id, path, ids)) is not None:
                found.append(value)
        except Exception as error:  # whatever is wrong with one file
            where = f"{shown(library.root, path.parent)}/{path.name}"
            broken.append({"folder": where, "error": reason(error)})
    return found, broken


@contextmanager
def _told(root: Path, folder: Path, broken: dict[str, str]) -> Iterator[None]:
    """Keep what goes wrong with one folder, whatever it is, as its reason."""
    try:
        yield
    except Exception as error:
        broken[shown(root, folder)] = reason(error)


def reason(error: Exception) -> str:
    """Why a folder or a file could not be read, in one line that can be shown."""
    said = " ".join(str(error).split())
    line = said if isinstance(error, LacewingError) else f"{type(error).__name__}: {said}"
    return printable(line)[:LONGEST_REASON]


def _tell_apart(root: Path, runs: dict[str, Run]) -> None:
    """Name runs by their path where several folders have the same name."""
    names = Counter(run.name for run in runs.values())
    for id, run in runs.items():
        if names[run.name] > 1 and not run.source.startswith(BUILTIN):
            runs[id] = replace(run, name=shown(root, Path(run.source)))


SWEEP_FILES = ("frontier.json", "comparison.json")


def _walk(root: Path, broken: dict[str, str]) -> Iterator[Path]:
    """The folder and those below it, without hidden ones; links are told, not followed."""
    waiting, seen = [(root, 0)], 0
    while waiting and seen < MOST:
        folder, depth = waiting.pop()
        seen += 1
        yield folder
        try:
            inside = sorted(os.scandir(folder), key=lambda entry: entry.name, reverse=True)
        except OSError:
            continue
        for entry in inside if depth < DEEPEST else ():
            if entry.name.startswith(".") or entry.name in SKIPPED:
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append((Path(entry.path), depth + 1))
            elif entry.is_symlink() and os.path.isdir(entry.path):  # false of a link to itself
                place = shown(root, Path(entry.path))
                broken[place] = "a link, which is not followed: serve the folder it leads to"


def _kind(folder: Path) -> str:
    """What a folder looks like, else what it says that it is; empty where it is none of ours.

    What looks like ours and says something else is damaged, and gets a row that tells why.
    """
    looks = KIND if os.path.isfile(folder / FACTS) else ""
    if not os.path.isfile(folder / artifacts.MANIFEST):
        return looks
    looks = looks or ("run" if os.path.isfile(folder / "summary.json") else "")
    try:
        manifest = artifacts.read_json(artifacts.own(folder, artifacts.MANIFEST))
    except ArtifactError:
        return looks
    said = manifest.get("kind") if isinstance(manifest, dict) else ""
    return looks or str(said)


def _run(id: str, source: str, folder: Path) -> Run:
    artifacts.read_manifest(folder, "run")
    config = artifacts.read_json(folder / "config.json")
    summary = artifacts.read_json(folder / "summary.json")
    tasks = None
    if os.path.isfile(folder / "tasks.json"):
        tasks = list(artifacts.read_json(folder / "tasks.json")["tasks"])
    name = source if source.startswith(BUILTIN) else folder.name
    return Run(id, source, name, str(summary["id"]), config, summary, tasks)


def _circuit(
    id: str,
    folder: Path,
    by_model: dict[str, Run],
    latents: Mapping[Path, Latents],
    *,
    links: bool = False,
) -> Found:
    facts = read_facts(folder, links=links)
    stamps = _stamps(folder)
    run = _served(str(facts["model_id"]), by_model)
    stamp, core, own = max(stamps.values()), stamps[artifacts.MANIFEST], None
    if run is None and (place := autoencoders_of(folder, facts)):
        own = latents.get(artifacts.real(place))
        run = own.run if own else None
        stamp, core = max(stamp, own.stamp if own else 0), core + (own.stamp if own else 0)
    return Found(id, folder, facts, run, own, stamp, core)


def autoencoders_of(folder: Path, facts: Mapping[str, Any]) -> Path | None:
    """Where a circuit says that its autoencoders are; none where its nodes are no latents."""
    said = str(facts.get("model_source"))
    if not said.startswith(SPLICED):
        return None
    return Path(source_in(folder, said).removeprefix(SPLICED))


def _latents(root: Path, id: str, folder: Path, by_model: dict[str, Run]) -> Latents:
    facts, source = saes.facts_of(folder), f"{SPLICED}{folder}"
    run, stamp = _served(facts.model_id, by_model), _stamps(folder)[artifacts.MANIFEST]
    if run is not None:
        name = f"{run.name} + latents in {shown(root, folder)}"
        run = replace(run, id=id, source=source, name=name, tasks=None, under=run, stamp=stamp)
    return Latents(folder, facts, run, stamp)


def _across(root: Path, id: str, folder: Path, by_model: dict[str, Run]) -> Across:
    facts = bridges.facts_of(folder)
    dense, sparse = (_served(one.id, by_model) for one in (facts.dense, facts.sparse))
    stamp = _stamps(folder)[artifacts.MANIFEST]
    return Across(id, folder, shown(root, folder), facts, dense, sparse, stamp)


def _served(model_id: str, by_model: dict[str, Run]) -> Run | None:
    """The served model of an id; those of old say the weights alone."""
    run = by_model.get(model_id) or by_model.get(_weights(model_id))
    return run if run is not None and same_model(run.model_id, model_id) else None


def _stamps(folder: Path) -> dict[str, int]:
    """When each file was last written; not of those that are being written, which soon are gone."""
    found = {}
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):
            if not entry.name.startswith("."):
                found[entry.name] = entry.stat(follow_symlinks=False).st_mtime_ns
    return found


def _weights(model_id: str) -> str:
    return model_id.partition("-")[0]


def _slugs(root: Path, paths: Iterable[Path]) -> dict[Path, str]:
    """Ids that stay the same as long as the paths do; a hash joins those that would be equal."""
    plain = {path: slug(shown(root, path)) for path in paths}
    taken = [*plain.values(), *map(slug, (*SHIPPED, *circuit_names()))]
    return {
        path: id if taken.count(id) == 1 else f"{id}-{_digest(shown(root, path))}"
        for path, id in plain.items()
    }


def slug(text: str) -> str:
    """A text as an id: letters, digits, dots, dashes."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip(".-") or "here"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:6]


def shown(root: Path, path: Path) -> str:
    """A path as seen from the served folder; that folder itself by its name."""
    name = root.name if path == root else path.relative_to(root).as_posix()
    return name.encode("utf-8", "backslashreplace").decode()  # Linux takes any bytes for a name
