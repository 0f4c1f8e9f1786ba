"""Keep the largest: zero all but the k entries of largest magnitude of a weight matrix, exactly.

    |w| -> the entries the floor protects rank above everything else
        -> partial sort for the k-th largest
        -> keep everything above it, and of the ties the ones with the lowest flat index

The floor keeps `floor` weights alive in every row of c_fc and c_attn and in every column of both
projections (method: `minimum_alive_per_neuron`); protected entries count inside k.
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lacewing.errors import ConfigError

Axis = Literal["row", "column"]


def keep_largest_(
    weight: Float[Tensor, "row column"], k: int, floor: int = 0, axis: Axis = "row"
) -> Bool[Tensor, "row column"]:
    """Zero all but the k largest |w|, in place.

    Args:
        weight: Float32 matrix.
        k: Entries to keep in the whole matrix.
        floor: Entries to keep in each row (or column) whatever their rank; counted inside k.
        axis: Whether the floor protects rows or columns.

    Returns:
        The mask of what was kept.

    Raises:
        ConfigError: the floor alone needs more than k entries.

    Source: train.py of openai/circuit_sparsity (projection after every optimizer step).
    """
    check_floor(weight.shape, k, floor, axis)
    mask = largest(weight, k, floor, axis)
    with torch.no_grad():
        weight.masked_fill_(~mask, 0)
    return mask


def check_floor(shape: tuple[int, ...], k: int, floor: int, axis: Axis = "row") -> None:
    """Refuse a floor that k entries cannot pay for."""
    lines, length = (shape[0], shape[1]) if axis == "row" else (shape[1], shape[0])
    if floor and lines * min(floor, length) > k:
        raise ConfigError(
            f"density too small for the floor: {k} weights kept of {shape[0]}x{shape[1]}, but the "
            f"floor of {floor} per {axis} needs {lines * min(floor, length)}; raise the density "
            f"to {lines * min(floor, length) / (shape[0] * shape[1]):.3g} or lower the floor"
        )


def largest(
    weight: Float[Tensor, "row column"], k: int, floor: int = 0, axis: Axis = "row"
) -> Bool[Tensor, "row column"]:
    """The mask of the k largest |w|, with the floor; ties by lowest flat index."""
    if k >= weight.numel():
        return torch.ones_like(weight, dtype=torch.bool)
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return largest_reference(weight, k, floor, axis)
    # For finite floats the bits of |w| order like |w|.
    key = weight.detach().contiguous().numpy().view(np.int32) & np.int32(0x7FFFFFFF)
    if floor:
        key[_protected(key, floor, axis)] = np.iinfo(np.int32).max
    flat = key.ravel()
    cut = np.partition(flat, flat.size - k)[flat.size - k]
    mask = flat >= cut
    surplus = int(np.count_nonzero(mask)) - k
    if surplus:
        mask[np.flatnonzero(flat == cut)[-surplus:]] = False
    return torch.from_numpy(mask.reshape(key.shape))


def _protected(key: np.ndarray, floor: int, axis: Axis) -> np.ndarray:
    """The `floor` largest keys of every line, ties by lowest index along it."""
    lines = key if axis == "row" else key.T
    floor = min(floor, lines.shape[1])
    cut = np.partition(lines, lines.shape[1] - floor, axis=1)[:, -floor][:, None]
    mask = lines >= cut
    for line in np.flatnonzero(mask.sum(1) > floor):
        ties = np.flatnonzero(lines[line] == cut[line])
        mask[line, ties[-(int(mask[line].sum()) - floor) :]] = False
    return mask if axis == "row" else mask.T


def largest_reference(
    weight: Float[Tensor, "row column"], k: int, floor: int = 0, axis: Axis = "row"
) -> Bool[Tensor, "row column"]:
    """The same by full stable sorts: slow, and plainly right."""
    score = weight.detach().abs()
    if floor:
        dim = 1 if axis == "row" else 0
        order = torch.sort(score, dim=dim, descending=True, stable=True).indices
        score = score.scatter(dim, order.narrow(dim, 0, min(floor, weight.shape[dim])), torch.inf)
    order = torch.sort(score.flatten(), descending=True, stable=True).indices
    mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
    mask[order[:k]] = True
    return mask.view(weight.shape)
