"""Loops over the few entries of every row that are not zero (see `sparse_rows`)."""

import numpy as np

from lacewing.kernels.jit import prange


def pick(dense: np.ndarray, index: np.ndarray, value: np.ndarray) -> None:
    """The nonzeros of every row, in order; where there are fewer, zeros at channel 0."""
    for r in prange(dense.shape[0]):
        place = 0
        for c in range(dense.shape[1]):
            if dense[r, c] != 0 and place < index.shape[1]:
                index[r, place] = c
                value[r, place] = dense[r, c]
                place += 1
        for rest in range(place, index.shape[1]):
            index[r, rest] = 0
            value[r, rest] = 0


def gather(index: np.ndarray, value: np.ndarray, weight: np.ndarray, out: np.ndarray) -> None:
    """out[r] = sum over a row's entries of value * weight[index]."""
    for r in prange(index.shape[0]):
        row = out[r]
        row[:] = 0
        for j in range(index.shape[1]):
            scale = value[r, j]
            if scale != 0:
                source = weight[index[r, j]]
                for c in range(row.shape[0]):
                    row[c] += scale * source[c]


def dots(
    index: np.ndarray, value: np.ndarray, weight: np.ndarray, rows: np.ndarray, out: np.ndarray
) -> None:
    """out[r, j] = weight[index[r, j]] . rows[r] where value is not zero, else 0."""
    for r in prange(index.shape[0]):
        row = rows[r]
        for j in range(index.shape[1]):
            total = np.float32(0)
            if value[r, j] != 0:
                source = weight[index[r, j]]
                for c in range(row.shape[0]):
                    total += source[c] * row[c]
            out[r, j] = total


def scatter(
    start: np.ndarray, order: np.ndarray, value: np.ndarray, rows: np.ndarray, out: np.ndarray
) -> None:
    """out[l] = sum of value * rows over the entries of latent l, in the order of their rows."""
    width = value.shape[1]
    for latent in prange(out.shape[0]):
        row = out[latent]
        row[:] = 0
        for at in range(start[latent], start[latent + 1]):
            token, place = order[at] // width, order[at] % width
            scale = value[token, place]
            if scale != 0:
                source = rows[token]
                for c in range(row.shape[0]):
                    row[c] += scale * source[c]


def sort(index: np.ndarray, start: np.ndarray, order: np.ndarray) -> None:
    """Entries by latent (a counting sort): those of latent l are order[start[l]:start[l + 1]]."""
    flat = index.ravel()
    start[:] = 0
    for at in range(flat.shape[0]):
        start[flat[at] + 1] += 1
    for latent in range(1, start.shape[0]):
        start[latent] += start[latent - 1]
    following = start.copy()
    for at in range(flat.shape[0]):
        latent = flat[at]
        order[following[latent]] = at
        following[latent] += 1
