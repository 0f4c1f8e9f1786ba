"""What a pruning has found so far, kept in a folder, so that the same command goes on after a kill.

    FOLDER/of/         which pruning this is: model, task, configuration, prompts
    FOLDER/NAME/       one result or one stage on its way, replaced in one step

All that follows from a seed is found again, bit for bit: what is kept is only where the work
stands. It is kept at most every few seconds, so that a pruning of seconds writes nothing.
"""

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lacewing import __version__, artifacts
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import ArtifactError
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts

KIND = "pruning on its way"
VALUES, TENSORS = "values.json", "tensors.safetensors"
EVERY = 5.0
"""Seconds between two writes; a kill loses at most these and what was not divisible."""

Kept = tuple[dict[str, Any], dict[str, Tensor]]
"""Plain values, and tensors by name."""


@dataclass
class State:
    """Where one pruning stands; without a folder nothing is kept."""

    folder: Path | None = None
    earlier: float = 0.0
    """Seconds that were spent before an interruption."""
    began: float = field(default_factory=time.monotonic)
    written: float = field(default_factory=time.monotonic)

    @classmethod
    def open(
        cls, folder: Path, model: Model, circuit: Mapping[str, Any], sets: PromptSets
    ) -> "State":
        """The state in a folder, or a new one there.

        Args:
            folder: Where.
            model: The model that is pruned.
            circuit: What is wanted: task and configuration, as plain values.
            sets: The prompts.

        Raises:
            ArtifactError: the folder holds another pruning, or is damaged.
        """
        facts = {"lacewing": __version__, "model": model.id, "prompts": digest(sets), **circuit}
        state = cls(folder)
        known = state.get("of")
        if known is None:
            artifacts.write_folder(folder / "of", KIND, json={VALUES: facts})
        elif known[0] != facts:
            other = [name for name in facts if known[0].get(name) != facts[name]]
            raise ArtifactError(
                f"{folder} holds an unfinished pruning with another {', '.join(other)}: finish it "
                "with its own command, delete it, or choose another output"
            )
        with artifacts.foreign(folder):
            state.earlier = max((float(k["seconds"]) for k in state._all()), default=0.0)
        return state

    @property
    def seconds(self) -> float:
        """Seconds spent in all."""
        return self.earlier + time.monotonic() - self.began

    def start(self, earlier: float | None = None) -> None:
        """Count seconds from now on: the work was waiting until now.

        Args:
            earlier: Seconds that were spent before, where it was elsewhere.
        """
        self.earlier = self.earlier if earlier is None else earlier
        self.began = self.written = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to keep something."""
        return self.folder is not None and time.monotonic() - self.written >= EVERY

    def get(self, name: str) -> Kept | None:
        """What was kept under a name; none where nothing was.

        Raises:
            ArtifactError: it is damaged, or a link that leads out of the folder.
        """
        if self.folder is None or not (self.folder / name).exists():
            return None
        whole = artifacts.open_folder(artifacts.own(self.folder, name), KIND)
        tensors = whole.tensors(TENSORS) if TENSORS in whole else {}
        values = whole.json(VALUES)
        if not isinstance(values, dict):
            raise ArtifactError(f"{self.folder / name / VALUES} holds no object: damaged")
        return values, tensors

    def put(self, name: str, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Keep something under a name, in place of what was kept there; ask `due` before."""
        assert self.folder is not None
        # Copied, because safetensors refuses tensors that share memory.
        whole = {key: tensor.detach().clone() for key, tensor in tensors.items()}
        artifacts.write_folder(
            artifacts.own(self.folder, name),
            KIND,
            json={VALUES: {**values, "seconds": round(self.seconds, 2)}},
            tensors={TENSORS: whole} if whole else None,
            replace=True,
        )
        self.written = time.monotonic()

    def _all(self) -> Iterable[dict[str, Any]]:
        assert self.folder is not None
        for place in sorted(self.folder.glob("[!.]*")):  # a hidden one was being written
            if place.is_dir() and place.name != "of" and (found := self.get(place.name)):
                yield found[0]


def digest(sets: PromptSets) -> str:
    """What identifies prompts: their tokens and answers."""
    digest = hashlib.sha256()

    def add(prompts: Prompts) -> None:
        for tensor in (prompts.tokens, prompts.last, prompts.answer, prompts.other):
            digest.update(tensor.contiguous().numpy().tobytes())

    for prompts in (sets.train, sets.validation, sets.test):
        add(prompts)
    return digest.hexdigest()[:16]


def moments(name: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an Adam optimizer remembers of each of its parameters, by place."""
    return artifacts.moments(optimizer, _by_place(optimizer), f"{name}/{{name}}/{{moment}}")


def set_moments(name: str, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `moments` took.

    Raises:
        ArtifactError: it is damaged.
    """
    parameters, key = _by_place(optimizer), f"{name}/{{name}}/{{moment}}"
    try:
        found = artifacts.checked_moments(tensors, parameters, Path(TENSORS), key)
    except ArtifactError as error:
        raise ArtifactError(f"a pruning on its way: {error}; delete its folder") from error
    for place, values in found.items():
        optimizer.state[parameters[place]] = values


def _by_place(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's parameters, by their places."""
    every = (p for group in optimizer.param_groups for p in group["params"])
    return {str(place): parameter for place, parameter in enumerate(every)}


def put_back(place: Tensor, tensors: Mapping[str, Tensor], name: str) -> None:
    """Copy a kept tensor into its place.

    Raises:
        ArtifactError: it is missing or of another shape.
    """
    found = tensors.get(name)
    if found is None or found.shape != place.shape:
        raise ArtifactError(f"{name} of a pruning on its way is damaged: delete its folder")
    with torch.no_grad():
        place.copy_(found)


def named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under a common prefix."""
    return {f"{prefix}/{key}": tensor for key, tensor in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that `named` put under a prefix."""
    start = f"{prefix}/"
    return {k.removeprefix(start): t for k, t in tensors.items() if k.startswith(start)}
