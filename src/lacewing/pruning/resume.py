"""A search that can be interrupted: where its mask stands, and what selections reached, on disk.

    DIR/state.safetensors   mask, optimizers, draws and stages passed, rewritten at times
    DIR/tried.jsonl         of every selection that was measured, whether it reaches the target

A search is deterministic, so one that goes on asks for the same selections again, and what was
measured need not be measured twice. State of another model, task or configuration is not used.
"""

import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lacewing import artifacts
from lacewing.ablation.masks import Masks
from lacewing.errors import ArtifactError
from lacewing.model.store import Model
from lacewing.pruning.node_search import Search
from lacewing.pruning.selection import Target

STATE, TRIED = "state.safetensors", "tried.jsonl"
EVERY = 60.0
"""Seconds between two states on disk."""


@dataclass
class Remembering:
    """A target that never measures the same selection twice."""

    target: Target
    file: Path
    known: dict[str, bool]

    def reaches(self, masks: Masks) -> bool:
        """Whether the nodes that masks keep reach it."""
        bits = torch.cat([masks[key] for key in sorted(masks)]).numpy()
        name = hashlib.sha256(bits.tobytes()).hexdigest()[:24]
        if name not in self.known:
            self.known[name] = self.target.reaches(masks)
            with self.file.open("a", encoding="utf-8") as opened:
                opened.write(json.dumps([name, self.known[name]]) + "\n")
        return self.known[name]


class Resume:
    """Where one search keeps what it has."""

    def __init__(self, folder: Path, model: Model, search: Search) -> None:
        """Take up what is there, or begin.

        Args:
            folder: For this search alone.
            model: The model searched.
            search: A search at its beginning; it is brought to where it was.
        """
        self.folder, self.search, self.saved = folder, search, time.monotonic()
        asked = {
            "model": model.id,
            "task": search.wanted.task.name,
            "pairs": [list(map(str, (p.clean, p.corrupted))) for p in search.sets.train.pairs],
            "config": search.wanted.config.as_json(),
        }
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        self.asked = {"search": digest}
        folder.mkdir(parents=True, exist_ok=True)
        if not self._restore():
            (folder / TRIED).unlink(missing_ok=True)
        known = {}
        if (folder / TRIED).exists():
            lines = (folder / TRIED).read_text(encoding="utf-8").splitlines()
            known = dict(json.loads(line) for line in lines if line.endswith("]"))
        search.target = Remembering(search.target, folder / TRIED, known)
        self.save()

    def at_times(self) -> None:
        """Save where some time has passed, or the path is at its end."""
        if self.search.ended or time.monotonic() - self.saved > EVERY:
            self.save()

    def save(self) -> None:
        """Write where the search stands."""
        artifacts.write_tensors(self.folder / STATE, _tensors(self.search), metadata=self.asked)
        self.saved = time.monotonic()

    def done(self) -> None:
        """Remove everything: the circuit is there."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _restore(self) -> bool:
        """Bring the search to where it was; whether there was anything of it."""
        file = self.folder / STATE
        try:
            if not file.exists() or artifacts.read_metadata(file) != self.asked:
                return False
            _put_back(self.search, artifacts.read_tensors(file))
        except (ArtifactError, KeyError, RuntimeError):  # cut short: begin anew
            return False
        return True


def _optimizers(search: Search) -> dict[str, torch.optim.Optimizer]:
    found = {"mask": search.optimizer}
    return found | {f"calibration {name}": c.optimizer for name, c in search.calibrations.items()}


def _tensors(search: Search) -> dict[str, Tensor]:
    """Everything that moves in a search, by name."""
    tensors = {
        "tau": search.mask.tau.detach(),
        "step": torch.tensor(search.step),
        "seconds": torch.tensor(time.monotonic() - search.began),
        "generator": search.generator.get_state(),
    }
    if search.pressure:
        now = search.pressure.cost, search.pressure.running
        tensors["pressure"] = torch.tensor(now, dtype=torch.float64)
    tensors |= {f"ranking {n}": tau for n, tau in enumerate(search.rankings)}
    for asked, calibration in search.calibrations.items():
        tensors[f"scale {asked}"] = calibration.log_scale.detach()
        tensors[f"bias {asked}"] = calibration.bias.detach()
    for name, optimizer in _optimizers(search).items():
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer {name}/{number}/{key}": torch.as_tensor(value)
                for key, value in state.items()
            }
    return {name: tensor.clone().contiguous() for name, tensor in tensors.items()}


def _put_back(search: Search, tensors: dict[str, Tensor]) -> None:
    """Bring a search at its beginning to what `_tensors` said."""
    rankings = [name for name in tensors if name.startswith("ranking ")]
    with torch.no_grad():
        search.mask.tau.copy_(tensors["tau"])
        for asked, calibration in search.calibrations.items():
            calibration.log_scale.copy_(tensors[f"scale {asked}"])
            calibration.bias.copy_(tensors[f"bias {asked}"])
    if search.pressure:
        search.pressure.cost, search.pressure.running = tensors["pressure"].tolist()
    search.step = int(tensors["step"])
    search.began = time.monotonic() - float(tensors["seconds"])
    search.generator.set_state(tensors["generator"])
    search.rankings = [tensors[f"ranking {n}"] for n in range(len(rankings))]
    for name, optimizer in _optimizers(search).items():
        saved = optimizer.state_dict()
        start = f"optimizer {name}/"
        for key, value in tensors.items():
            if key.startswith(start):
                number, field = key.removeprefix(start).split("/")
                saved["state"].setdefault(int(number), {})[field] = value
        optimizer.load_state_dict(saved)
