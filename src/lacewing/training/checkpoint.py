"""Checkpoints: everything the next step depends on; a crash leaves the old one or the new one.

A checkpoint is a folder RUN/checkpoint with the weights, both Adam moments and the step; batches
follow from the step. `kill -9` at any moment loses at most the time since the last one, and the
resumed run ends with the same weights, bit for bit on one CPU process.
"""

from pathlib import Path

import torch
from torch import Tensor

from lacewing import artifacts
from lacewing.errors import ArtifactError
from lacewing.model.transformer import Transformer

FOLDER = "checkpoint"


def save_checkpoint(
    folder: Path, network: Transformer, optimizer: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    """Replace a checkpoint by the present state.

    Args:
        folder: The checkpoint, RUN/checkpoint while training.
        network: The model, unwrapped.
        optimizer: Its Adam optimizer.
        step: Steps finished.
        seconds: Training time spent so far, over all resumptions.
    """
    tensors = {f"weight/{name}": p.detach() for name, p in network.named_parameters()}
    for name, parameter in network.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{moment}/{name}"] = value.detach()
    artifacts.write_folder(
        folder,
        "checkpoint",
        json={"state.json": {"step": step, "seconds": seconds}},
        tensors={"state.safetensors": tensors},
        replace=True,
    )


def load_checkpoint(
    run: Path,
    network: Transformer,
    optimizer: torch.optim.Optimizer,
    name: str | Path = FOLDER,
) -> tuple[int, float]:
    """Restore the state of RUN/checkpoint; (0, 0.0), with nothing changed, where there is none.

    A checkpoint that was kept on the way is found by its name, kept/STEP.

    Returns:
        Steps finished, and seconds spent on them.

    Raises:
        ArtifactError: the checkpoint is damaged or of another model.
    """
    folder = run / name
    if not folder.exists():
        return 0, 0.0
    artifacts.read_manifest(folder, "checkpoint")
    state = artifacts.read_json(folder / "state.json")
    tensors = artifacts.read_tensors(folder / "state.safetensors")
    for name, parameter in network.named_parameters():
        saved = tensors.get(f"weight/{name}")
        if saved is None or saved.shape != parameter.shape:
            raise ArtifactError(
                f"{folder} is a checkpoint of another model: {name} is "
                f"{'missing' if saved is None else tuple(saved.shape)}, "
                f"not {tuple(parameter.shape)}; train into a new folder"
            )
        parameter.data.copy_(saved)
        optimizer.state[parameter] = _moments(tensors, name, parameter)
    return state["step"], state["seconds"]


def _moments(tensors: dict[str, Tensor], name: str, parameter: Tensor) -> dict[str, Tensor]:
    on_device = {
        moment: tensors[f"{moment}/{name}"].to(parameter.device)
        for moment in ("exp_avg", "exp_avg_sq")
        if f"{moment}/{name}" in tensors
    }
    return {"step": tensors[f"step/{name}"].to(parameter.device)} | on_device if on_device else {}
