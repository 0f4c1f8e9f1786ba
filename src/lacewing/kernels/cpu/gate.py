"""The node mask's forward and backward pass, each in one pass over the activations."""

import numpy as np

from lacewing.kernels.cpu.vector import as_float
from lacewing.kernels.jit import prange


def forward(
    value: np.ndarray, on: np.ndarray, fill: np.ndarray, group: np.ndarray, out: np.ndarray
) -> None:
    """Out = value where on[group of the row], else `fill`, which has the type of `value`."""
    for r in prange(value.shape[0]):
        lit = on[group[r]]
        for c in range(value.shape[1]):
            out[r, c] = value[r, c] if lit[c] else fill[c]


def backward(
    grad: np.ndarray,
    value: np.ndarray,
    on: np.ndarray,
    mean: np.ndarray,
    group: np.ndarray,
    out: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Out = grad where on; sums[chunk, group] += (value - mean) grad over the chunk's rows."""
    rows, chunks = value.shape[0], sums.shape[0]
    for chunk in prange(chunks):
        for r in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            lit, own = on[group[r]], sums[chunk, group[r]]
            for c in range(value.shape[1]):
                own[c] += as_float(grad[r, c]) * (as_float(value[r, c]) - mean[c])
                out[r, c] = grad[r, c] if lit[c] else out.dtype.type(0)
