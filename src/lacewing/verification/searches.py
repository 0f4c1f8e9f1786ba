"""The searches of a suite, kept in one folder, which the suites of several circuits can share.

    FOLDER/KEY.json          what one found
    FOLDER/KEY.unfinished/   where one stands that was interrupted: it goes on from there

`stability` and `controls` search for nodes alone, so the plain and the minimal circuit of a task
ask for the same. A search is read again only where everything that decides it is the same: model,
configuration, prompts, forbidden nodes, version.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lacewing import __version__, artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes
from lacewing.errors import ArtifactError, ConfigError, DataError
from lacewing.model.store import Model
from lacewing.pruning.node_search import Wanted
from lacewing.pruning.prune import prune_many
from lacewing.pruning.state import State, digest


@dataclass(frozen=True)
class Found:
    """What a suite asks of a circuit that a search found."""

    nodes: Nodes
    n_edges: int

    @property
    def n_nodes(self) -> int:
        """How many nodes it keeps."""
        return sum(len(kept) for kept in self.nodes.values())


def searched(
    model: Model,
    wanted: Sequence[Wanted],
    folder: Path | None = None,
    *,
    done: Callable[[int, Found], None] = lambda number, found: None,
    quiet: bool = False,
) -> list[Found | DataError]:
    """Search as `prune_many` does, and read what was searched for before.

    Args:
        model: The model.
        wanted: What to find, with prompts.
        folder: Where searches are kept; by default nowhere.
        done: Called with the place in `wanted` of every circuit as soon as it is there.
        quiet: Report no progress.

    Returns:
        In the order of `wanted`, what was found or why nothing was.

    Example:
        >>> searched(model, [Wanted(task, config, sets)], Path("searches"))  # doctest: +SKIP
        [Found(nodes={...}, n_edges=8)]
    """
    asked = [_asked(model, one) for one in wanted]
    results = {i: found for i, facts in enumerate(asked) if (found := _read(folder, facts))}
    for number, found in results.items():
        if isinstance(found, Found):
            done(number, found)
    missing = [number for number in range(len(wanted)) if number not in results]

    def keep(place: int, circuit: Circuit) -> None:
        number = missing[place]
        found = results[number] = Found(circuit.nodes, circuit.n_edges)
        plain = {key: kept.tolist() for key, kept in found.nodes.items()}
        _write(folder, asked[number], {"nodes": plain, "edges": found.n_edges})
        done(number, found)

    with ExitStack() as held:
        begun = [_begun(model, wanted[number], folder, asked[number], held) for number in missing]
        made = prune_many(model, begun, done=keep, quiet=quiet) if begun else []
    for number, one, search in zip(missing, made, begun, strict=True):
        if isinstance(one, DataError):
            results[number] = one
            _write(folder, asked[number], {"error": str(one)})
        if search.state.folder:
            shutil.rmtree(search.state.folder, ignore_errors=True)
    return [results[number] for number in range(len(wanted))]


def _begun(
    model: Model, one: Wanted, folder: Path | None, facts: dict[str, Any], held: ExitStack
) -> Wanted:
    """A search that keeps where it stands, unless another process makes the same one just now."""
    if folder is None:
        return one
    assert one.sets is not None
    place = artifacts.unfinished(_path(folder, facts).with_suffix(""))
    try:
        held.enter_context(artifacts.locked(place, "another process makes this search"))
    except ConfigError:
        return one
    try:
        return replace(one, state=State.open(place, model, facts, one.sets))
    except ArtifactError:  # damaged: it is begun anew
        for part in (part for part in place.iterdir() if part.is_dir()):
            shutil.rmtree(part)
        return replace(one, state=State.open(place, model, facts, one.sets))


def _asked(model: Model, one: Wanted) -> dict[str, Any]:
    """All that decides what a search finds."""
    assert one.sets is not None
    forbidden = {key: kept.tolist() for key, kept in (one.forbidden or {}).items()}
    return {
        "lacewing": __version__,
        "model": model.id,
        "corpus": model.corpus,
        "task": one.task.name,
        "prompts": digest(one.sets),
        "config": one.config.as_json(),
        "anyway": one.anyway,
        "forbidden": forbidden,
    }


def _path(folder: Path, facts: dict[str, Any]) -> Path:
    return artifacts.own(folder, f"{artifacts.sum_of(facts)[:24]}.json")


def _read(folder: Path | None, facts: dict[str, Any]) -> Found | DataError | None:
    """What was found under the same conditions, where the file is what was written."""
    if folder is None or not (path := _path(folder, facts)).exists():
        return None
    try:
        saved = artifacts.read_summed(path)
        if artifacts.SUM not in artifacts.read_json(path) or saved.get("asked") != facts:
            return None
        found = saved["found"]
        if "error" in found:
            return DataError(str(found["error"]))
        nodes = {key: np.array(some, dtype=np.int32) for key, some in found["nodes"].items()}
        return Found(nodes, int(found["edges"]))
    except (ArtifactError, AttributeError, KeyError, TypeError, ValueError):
        return None  # it is searched for again


def _write(folder: Path | None, facts: dict[str, Any], found: dict[str, Any]) -> None:
    if folder is not None:
        artifacts.write_summed(_path(folder, facts), {"asked": facts, "found": found})
