"""Checkpoints: everything the next step depends on; a crash leaves the old one or the new one.

A checkpoint is a folder RUN/checkpoint with the weights, both Adam moments and the step; batches
follow from the step. `kill -9` at any moment loses at most the time since the last one, and the
resumed run ends with the same weights, bit for bit on one CPU process.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lacewing import artifacts
from lacewing.errors import ArtifactError
from lacewing.model.store import HEADER
from lacewing.progress import say

FOLDER, KEPT = "checkpoint", "kept"
STATE, TENSORS, MORE = "state.json", "state.safetensors", "more.safetensors"


@dataclass(frozen=True)
class _State:
    """state.json."""

    __pydantic_config__ = artifacts.EXACT

    step: int
    seconds: float


def save_checkpoint(
    folder: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    seconds: float,
    more: Mapping[str, Tensor] | None = None,
) -> None:
    """Replace a checkpoint by the present state.

    Args:
        folder: The checkpoint, RUN/checkpoint while training.
        network: The model, unwrapped.
        optimizer: Its Adam optimizer.
        step: Steps finished.
        seconds: Training time spent so far, over all resumptions.
        more: What else the next step depends on.
    """
    parameters = dict(network.named_parameters())
    tensors = {f"weight/{name}": p.detach() for name, p in parameters.items()}
    tensors |= artifacts.moments(optimizer, parameters)
    artifacts.write_folder(
        folder,
        "checkpoint",
        json={STATE: {"step": step, "seconds": seconds}},
        tensors={TENSORS: tensors, **({MORE: more} if more else {})},
        replace=True,
    )


def resume(
    run: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: int,
    more: dict[str, Tensor] | None = None,
) -> tuple[int, float]:
    """Restore RUN/checkpoint or, where that is damaged, the newest whole one in RUN/kept.

    Args:
        run: The run folder.
        network: The model that gets the weights.
        optimizer: Its optimizer, which gets the moments.
        steps: Steps of the whole run.
        more: Gets what else was kept with them.

    Raises:
        ArtifactError: it is damaged, or of another model, and no other is kept.
    """
    try:
        return load_checkpoint(run, network, optimizer, steps=steps, more=more)
    except ArtifactError as error:
        kept = (p.name for p in (run / KEPT).glob("*") if p.name.isdecimal() and len(p.name) < 20)
        for name in sorted(kept, key=int, reverse=True):
            try:
                place = f"{KEPT}/{name}"
                found = load_checkpoint(run, network, optimizer, place, steps=steps, more=more)
            except ArtifactError:
                continue
            say(f"{error}; going on from {run / KEPT / name} instead")
            return found
        raise ArtifactError(
            f"{error}. Nothing else is kept: remove {run / FOLDER} to train from the beginning, or "
            "put a copy of it there"
        ) from error


def load_checkpoint(
    run: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    name: str | Path = FOLDER,
    *,
    steps: int | None = None,
    more: dict[str, Tensor] | None = None,
) -> tuple[int, float]:
    """Restore the state of RUN/checkpoint; (0, 0.0), with nothing changed, where there is none.

    A checkpoint that was kept on the way is found by its name, kept/STEP. Nothing is changed before
    all of it was looked at.

    Args:
        run: The run folder.
        network: The model that gets the weights.
        optimizer: Its optimizer, which gets the moments.
        name: The checkpoint.
        steps: Steps of the whole run; a state beyond them is no state of it.
        more: Gets what else was kept with it.

    Returns:
        Steps finished, and seconds spent on them.

    Raises:
        ArtifactError: the checkpoint is damaged or of another model.
    """
    folder = run / name
    if not folder.exists():
        return 0, 0.0
    whole = artifacts.open_folder(folder, "checkpoint")
    state = whole.read(STATE, _State)
    if state.step < 0 or state.seconds < 0 or (steps is not None and state.step > steps):
        raise ArtifactError(
            f"{folder / STATE} says {state.step} steps in {state.seconds:g} s, of a run of "
            f"{steps}: damaged"
        )
    most = 3 * 4 * sum(p.numel() for p in network.parameters()) + HEADER
    tensors = whole.tensors(TENSORS, most)
    parameters = dict(network.named_parameters())
    moments = artifacts.checked_moments(tensors, parameters, folder / TENSORS)
    _check(tensors, parameters, moments, folder)
    beside = whole.tensors(MORE) if MORE in whole else {}
    for key, parameter in parameters.items():
        parameter.data.copy_(tensors[f"weight/{key}"])
        optimizer.state[parameter] = moments.get(key, {})
    if more is not None:
        more.update(beside)
    return state.step, state.seconds


def _check(
    tensors: Mapping[str, Tensor],
    parameters: Mapping[str, Tensor],
    moments: Mapping[str, Mapping[str, Tensor]],
    folder: Path,
) -> None:
    """Refuse a state of another model, or one that no training can be in."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, parameter in parameters.items():
        saved = tensors.get(f"weight/{name}")
        if saved is None or saved.shape != parameter.shape:
            raise ArtifactError(
                f"{folder} is a checkpoint of another model: {name} is "
                f"{'missing' if saved is None else tuple(saved.shape)}, "
                f"not {tuple(parameter.shape)}; train into a new folder"
            )
        shapes[f"weight/{name}"] = tuple(parameter.shape)
        shapes |= {
            f"{moment}/{name}": tuple(t.shape) for moment, t in moments.get(name, {}).items()
        }
    artifacts.check_tensors(tensors, folder / TENSORS, shapes, (torch.float32,))
