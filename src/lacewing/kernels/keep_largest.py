"""Keep the largest: zero all but the k entries of largest magnitude of a weight matrix, exactly.

    bits of |w| (integers that order exactly like |w|)
        -> the entries the floor protects, found line by line, rank above everything else
        -> a histogram of the leading 16 bits finds the bin of the k-th largest
        -> a partial sort of that one bin finds the k-th largest itself
        -> zero everything below it, and of the ties those with the highest flat index

Three passes over the matrix in all, on every core, and the same entries as a full stable sort.

The floor keeps `floor` weights alive in every row of c_fc and c_attn and in every column of both
projections (method: `minimum_alive_per_neuron`); protected entries count inside k.
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lacewing.errors import ConfigError
from lacewing.kernels import cuda
from lacewing.kernels.jit import jitted, prange

Axis = Literal["row", "column"]

MAGNITUDE = np.int32(0x7FFFFFFF)
"""All bits of a float32 but its sign."""
INFINITE = np.int32(0x7F800000)
"""The bits of infinity: above those of every finite weight."""
LEADING, TRAILING = 1 << 16, 15
"""Bins of the histogram, and how far |w|'s bits are shifted to give the bin."""


def keep_largest_(
    weight: Float[Tensor, "row column"], k: int, floor: int = 0, axis: Axis = "row"
) -> None:
    """Zero all but the k largest |w|, in place; ties by lowest flat index.

    Args:
        weight: Finite floats; contiguous float32 takes the fast path.
        k: Entries to keep in the whole matrix.
        floor: Entries to keep in each row (or column) whatever their rank; counted inside k.
        axis: Whether the floor protects rows or columns.

    Raises:
        ConfigError: the floor alone needs more than k entries.

    Source: train.py of openai/circuit_sparsity (projection after every optimizer step).
    """
    check_floor(weight.shape, k, floor, axis)
    if k >= weight.numel():
        return
    with torch.no_grad():
        if weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.is_contiguous():
            _on_cpu(weight.detach().numpy().view(np.int32), k, floor, axis)
        elif not _on_gpu(weight, k, floor, axis):
            weight.masked_fill_(~largest_reference(weight, k, floor, axis), 0)


def _on_gpu(weight: Tensor, k: int, floor: int, axis: Axis) -> bool:
    """Select with the Triton version, where there is one for this matrix."""
    if weight.device.type != "cuda" or not cuda.available():
        return False
    from lacewing.kernels.cuda import keep_largest as gpu

    if not gpu.covers(weight, floor):
        cuda.fall_back(
            f"keeping the largest of a {weight.dtype} {tuple(weight.shape)} has no kernel"
        )
        return False
    gpu.keep_largest_([weight], [k], [floor], [axis])
    return True


def check_floor(shape: tuple[int, ...], k: int, floor: int, axis: Axis = "row") -> None:
    """Refuse a floor that k entries cannot pay for."""
    lines, length = (shape[0], shape[1]) if axis == "row" else (shape[1], shape[0])
    if floor and lines * min(floor, length) > k:
        raise ConfigError(
            f"density too small for the floor: {k} weights kept of {shape[0]}x{shape[1]}, but the "
            f"floor of {floor} per {axis} needs {lines * min(floor, length)}; raise the density "
            f"to {lines * min(floor, length) / (shape[0] * shape[1]):.3g} or lower the floor"
        )


def _on_cpu(bits: np.ndarray, k: int, floor: int, axis: Axis) -> None:
    flat = bits.reshape(-1)
    if floor:
        protected = _protected(bits, floor, axis)
        saved = flat[protected]
        flat[protected] = INFINITE
    cut = _kth_largest(flat, k)
    chunks = torch.get_num_threads()
    kept = np.empty(chunks, dtype=np.int64)
    jitted(_zero_below)(flat, cut, kept)
    surplus = int(kept.sum()) - k
    if surplus:  # ties with the k-th: dropped from the highest index down
        flat[np.flatnonzero((flat & MAGNITUDE) == cut)[-surplus:]] = 0
    if floor:
        flat[protected] = saved


def _kth_largest(flat: np.ndarray, k: int) -> np.int32:
    histograms = np.zeros((torch.get_num_threads(), LEADING), dtype=np.int32)
    jitted(_count_leading)(flat, histograms)
    # How many entries stand in the bins above each bin, from the top down.
    from_top = np.cumsum(histograms.sum(0)[::-1])
    place = int(np.searchsorted(from_top, k))
    above = int(from_top[place - 1]) if place else 0
    size = int(from_top[place]) - above
    ties = np.empty(size, dtype=np.int32)
    jitted(_gather_bin)(flat, LEADING - 1 - place, histograms, ties)
    rank = size - (k - above)
    cut: np.int32 = np.partition(ties, rank)[rank]
    return cut


def _protected(bits: np.ndarray, floor: int, axis: Axis) -> np.ndarray:
    """Flat indices of the `floor` largest entries of every line, ties by lowest index along it."""
    lines, length = bits.shape if axis == "row" else bits.shape[::-1]
    found = np.empty((lines, min(floor, length)), dtype=np.int64)
    across, along = (bits.shape[1], 1) if axis == "row" else (1, bits.shape[1])
    jitted(_top_of_lines)(bits.reshape(-1), across, along, length, found)
    return found.reshape(-1)


def _count_leading(flat: np.ndarray, histograms: np.ndarray) -> None:
    chunks = histograms.shape[0]
    for c in prange(chunks):
        counts = histograms[c]
        for i in range(c * flat.shape[0] // chunks, (c + 1) * flat.shape[0] // chunks):
            counts[(flat[i] & MAGNITUDE) >> TRAILING] += 1


def _gather_bin(flat: np.ndarray, wanted: int, histograms: np.ndarray, found: np.ndarray) -> None:
    chunks = histograms.shape[0]
    for c in prange(chunks):
        at = 0
        for before in range(c):
            at += histograms[before, wanted]
        for i in range(c * flat.shape[0] // chunks, (c + 1) * flat.shape[0] // chunks):
            if (flat[i] & MAGNITUDE) >> TRAILING == wanted:
                found[at] = flat[i] & MAGNITUDE
                at += 1


def _zero_below(flat: np.ndarray, cut: np.integer, kept: np.ndarray) -> None:
    chunks = kept.shape[0]
    for c in prange(chunks):
        count = 0
        for i in range(c * flat.shape[0] // chunks, (c + 1) * flat.shape[0] // chunks):
            stays = (flat[i] & MAGNITUDE) >= cut
            flat[i] = flat[i] if stays else np.int32(0)
            count += stays
        kept[c] = count


def _top_of_lines(
    flat: np.ndarray, across: int, along: int, length: int, found: np.ndarray
) -> None:
    lines, floor = found.shape
    for line in prange(lines):
        least, held = np.int32(-1), 0
        for i in range(length):
            at = line * across + i * along
            value = flat[at] & MAGNITUDE
            if held == floor and value <= least:
                continue
            held = min(held + 1, floor)
            place = held - 1  # insertion from the end; an equal entry that came first stays first
            while place > 0 and (flat[found[line, place - 1]] & MAGNITUDE) < value:
                found[line, place] = found[line, place - 1]
                place -= 1
            found[line, place] = at
            least = flat[found[line, held - 1]] & MAGNITUDE


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
