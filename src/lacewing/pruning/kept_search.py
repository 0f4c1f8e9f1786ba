"""Where a search for nodes stands, written to the state of its pruning and put back from it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lacewing import artifacts
from lacewing.ablation.masks import Masks
from lacewing.errors import ArtifactError
from lacewing.pruning.kept_parts import calibration_state, set_calibration
from lacewing.pruning.node_search import Search
from lacewing.pruning.remembering import Remembering
from lacewing.pruning.selection import Selection
from lacewing.pruning.state import State, moments, named, put_back, set_moments, under

SEARCH, SELECTED = "search", "selected"
TRIED = "tried.jsonl"
"""Of every selection that was measured, whether it reaches the target."""


def keep_search(state: State, search: Search) -> None:
    """Keep where a mask of nodes stands on its path."""
    values: dict[str, Any] = {"step": search.step}
    if search.pressure:
        values["pressure"] = [search.pressure.cost, search.pressure.running]
    state.put(SEARCH, values, _mask(search) | _learners(search))


def keep_selected(state: State, search: Search, selection: Selection) -> None:
    """Keep what was selected at the end of the path."""
    assert search.best
    sizes = {"best": search.best.nodes, "selected": selection.nodes}
    masks = named("best", search.best.masks) | named("selected", selection.masks)
    state.put(SELECTED, sizes, _mask(search) | masks)


def keep_end(nodes: State, search: Search, selection: Selection) -> None:
    """Keep the end of a search for nodes where others that begin with it look for it."""
    if nodes.folder and not (nodes.folder / SELECTED).exists():
        nodes.start(search.wanted.state.seconds)
        keep_selected(nodes, search, selection)


def start_from(state: State, nodes: State) -> None:
    """Let a pruning that has not begun start where a search for the same nodes ended.

    Raises:
        ArtifactError: what was kept is damaged.
    """
    if state.get(SELECTED) or state.get(SEARCH) or not (found := nodes.get(SELECTED)):
        return
    with artifacts.foreign(nodes.folder or Path()):
        state.start(float(found[0]["seconds"]))
    state.put(SELECTED, *found)


def resume_search(state: State, search: Search) -> Selection | None:
    """Bring a search to where it stood; what was selected at its end, if it had come so far.

    Raises:
        ArtifactError: what was kept is damaged.
    """
    if state.folder and not search.robust:  # what a robust target asks for changes on the way
        search.target = Remembering.of(search.target, state.folder / TRIED)
    with artifacts.foreign(state.folder or Path()):
        if found := state.get(SELECTED):
            sizes, tensors = found
            _set_mask(search, tensors)
            search.step = search.wanted.config.steps
            search.best = Selection(_masks(search, "best", tensors), int(sizes["best"]))
            return Selection(_masks(search, "selected", tensors), int(sizes["selected"]))
        if found := state.get(SEARCH):
            if ("pressure" in found[0]) != bool(search.pressure):
                raise ArtifactError(
                    f"{state.folder} holds an unfinished pruning whose penalties are set in "
                    "another way than now: delete it, or choose another output"
                )
            search.step = int(found[0]["step"])
            if search.pressure:
                search.pressure.cost, search.pressure.running = map(float, found[0]["pressure"])
            _set_mask(search, found[1])
            _set_learners(search, found[1])
    return None


def _mask(search: Search) -> dict[str, Tensor]:
    rankings = {str(place): tau for place, tau in enumerate(search.rankings)}
    return {"tau": search.mask.tau.detach(), **named("ranking", rankings)}


def _set_mask(search: Search, tensors: Mapping[str, Tensor]) -> None:
    put_back(search.mask.tau, tensors, "tau")
    rankings = under("ranking", tensors)
    search.rankings = [rankings[str(place)] for place in range(len(rankings))]


def _learners(search: Search) -> dict[str, Tensor]:
    """What learns beside the mask, and what it was attacked with."""
    tensors = {"generator": search.generator.get_state()} | moments("mask", search.optimizer)
    for asked, calibration in search.calibrations.items():
        tensors |= named(f"calibration/{asked}", calibration_state(calibration))
    if search.robust:
        adversary = search.robust.inputs.adversary
        tensors["adversary"] = adversary.mask.tau.detach()
        tensors |= moments("climb", adversary.optimizer)
        for place, running in enumerate(search.robust.subsets):
            tensors |= named(f"subset/{place}", running)
    return tensors


def _set_learners(search: Search, tensors: Mapping[str, Tensor]) -> None:
    search.generator.set_state(tensors["generator"])
    set_moments("mask", search.optimizer, tensors)
    for asked, calibration in search.calibrations.items():
        set_calibration(calibration, under(f"calibration/{asked}", tensors))
    if search.robust:
        adversary = search.robust.inputs.adversary
        put_back(adversary.mask.tau, tensors, "adversary")
        set_moments("climb", adversary.optimizer, tensors)
        while any(key.startswith(f"subset/{len(search.robust.subsets)}/") for key in tensors):
            place = len(search.robust.subsets)
            search.robust.also(_masks(search, f"subset/{place}", tensors))


def _masks(search: Search, prefix: str, tensors: Mapping[str, Tensor]) -> Masks:
    """Masks by site, in the order of the model's sites."""
    found = under(prefix, tensors)
    widths = search.mask.widths
    if found.keys() != widths.keys() or any(len(found[k]) != width for k, width in widths.items()):
        raise ArtifactError(f"{prefix} of a pruning on its way is damaged: delete its folder")
    return {key: found[key].bool() for key in widths}
