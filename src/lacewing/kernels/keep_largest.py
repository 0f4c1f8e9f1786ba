"""Keep the largest: zero all but the k entries of largest magnitude of a weight matrix, exactly.

    bits of |w| (integers that order exactly like |w|)
        -> a bar a little below the k-th largest, guessed from a sample
        -> the entries above the bar, a few more than k, in one pass
        -> the floor: the largest of every line, nearly always found among those
        -> the k-th largest of all these
        -> zero everything, write the k back

The guess only costs time when it is wrong: with fewer than k above the bar, it is lowered. The same
entries remain as after a full stable sort, ties by lowest flat index.

The floor keeps `floor` weights alive in every row of c_fc and c_attn and in every column of both
projections (method: `minimum_alive_per_neuron`); protected entries count inside k.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lacewing.errors import ConfigError
from lacewing.kernels import cuda
from lacewing.kernels.jit import jitted

Axis = Literal["row", "column"]


class Matrix(NamedTuple):
    """A weight matrix and what is to be kept of it."""

    weight: Tensor
    k: int
    floor: int = 0
    axis: Axis = "row"
    scale: float = 1.0
    """What the kept entries are multiplied by: a decay."""


def keep_largest_(
    weight: Float[Tensor, "row column"], k: int, floor: int = 0, axis: Axis = "row"
) -> None:
    """Zero all but the k largest |w|, in place; ties by lowest flat index.

    Args:
        weight: Finite floats; contiguous float32 on a CPU takes the fast path.
        k: Entries to keep in the whole matrix.
        floor: Entries to keep in each row (or column) whatever their rank; counted inside k.
        axis: Whether the floor protects rows or columns.

    Raises:
        ConfigError: the floor alone needs more than k entries.

    Source: train.py of openai/circuit_sparsity (projection after every optimizer step).
    """
    keep_largest_of_all_([Matrix(weight, k, floor, axis)])


def keep_largest_of_all_(matrices: Iterable[Matrix]) -> None:
    """The same for many matrices at once, each with its own k.

    Raises:
        ConfigError: a floor alone needs more than k entries.
    """
    jobs, others = [], []
    for matrix in matrices:
        weight, k, floor, axis, scale = matrix
        check_floor(weight.shape, k, floor, axis)
        if k >= weight.numel():
            if scale != 1:
                weight.mul_(scale)
            continue
        if weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.is_contiguous():
            jobs.append(matrix)
        elif _on_gpu(matrix):
            others.append(matrix)
        else:
            with torch.no_grad():
                weight.masked_fill_(~largest_reference(weight, k, floor, axis), 0).mul_(scale)
    if jobs:
        _on_cpu(jobs)
    for scale in dict.fromkeys(matrix.scale for matrix in others):
        _together([matrix for matrix in others if matrix.scale == scale], scale)


def _on_gpu(matrix: Matrix) -> bool:
    """Whether the Triton version takes this matrix."""
    weight, floor = matrix.weight, matrix.floor
    if weight.device.type != "cuda" or not cuda.available():
        return False
    from lacewing.kernels.cuda import keep_largest as gpu

    if not gpu.covers(weight, floor):
        cuda.fall_back(
            f"keeping the largest of a {weight.dtype} {tuple(weight.shape)} has no kernel"
        )
        return False
    return True


def _together(matrices: list[Matrix], scale: float) -> None:
    """All matrices of one GPU with one decay, in one go."""
    from lacewing.kernels.cuda import keep_largest as gpu

    weights, ks, floors, axes, _ = zip(*matrices, strict=True)
    gpu.keep_largest_(weights, ks, floors, axes, factor=scale)


def check_floor(shape: tuple[int, ...], k: int, floor: int, axis: Axis = "row") -> None:
    """Refuse a floor that k entries cannot pay for."""
    lines, length = (shape[0], shape[1]) if axis == "row" else (shape[1], shape[0])
    if floor and lines * min(floor, length) > k:
        raise ConfigError(
            f"density too small for the floor: {k} weights kept of {shape[0]}x{shape[1]}, but the "
            f"floor of {floor} per {axis} needs {lines * min(floor, length)}; raise the density "
            f"to {lines * min(floor, length) / (shape[0] * shape[1]):.3g} or lower the floor"
        )


def _on_cpu(matrices: list[Matrix]) -> None:
    from lacewing.kernels.cpu import keep_largest as loops

    shapes = np.array([m.weight.shape for m in matrices], dtype=np.int64)
    threads = min(torch.get_num_threads(), len(matrices))
    lengths = np.where([m.axis == "row" for m in matrices], shapes[:, 1], shapes[:, 0])
    jitted(loops.keep_all)(
        np.array([m.weight.data_ptr() for m in matrices], dtype=np.int64),
        shapes,
        np.array([m.k for m in matrices], dtype=np.int64),
        np.minimum([m.floor for m in matrices], lengths).astype(np.int64),
        np.array([m.axis == "row" for m in matrices]),
        np.array([m.scale for m in matrices], dtype=np.float32),
        _owners(shapes.prod(1), threads),
        threads,
    )


def _owners(sizes: np.ndarray, threads: int) -> np.ndarray:
    """Which thread takes which matrix: the largest first, each to whoever has least."""
    load, owner = np.zeros(threads), np.empty(len(sizes), dtype=np.int64)
    for job in np.argsort(-sizes, kind="stable"):
        owner[job] = load.argmin()
        load[owner[job]] += sizes[job]
    return owner


def largest_reference(
    weight: Float[Tensor, "row column"], k: int, floor: int = 0, axis: Axis = "row"
) -> Bool[Tensor, "row column"]:
    """The mask of what is kept, by full stable sorts: slow, and plainly right."""
    score = weight.detach().abs()
    if floor:
        dim = 1 if axis == "row" else 0
        order = torch.sort(score, dim=dim, descending=True, stable=True).indices
        score = score.scatter(dim, order.narrow(dim, 0, min(floor, weight.shape[dim])), torch.inf)
    order = torch.sort(score.flatten(), descending=True, stable=True).indices
    mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
    mask[order[:k]] = True
    return mask.view(weight.shape)
