"""Adam in two passes over memory: one for the size of all gradients, one for everything else."""

import numpy as np
from numba import carray

from lacewing.kernels.cpu.vector import as_floats
from lacewing.kernels.jit import prange


def squares(address: np.ndarray, size: np.ndarray, sums: np.ndarray) -> None:
    """sums[piece] = sum of squares of a piece of the gradients, added in float64 by lines."""
    for piece in prange(address.shape[0]):
        values = carray(as_floats(address[piece]), (size[piece],))
        whole = np.float64(0)
        for start in range(0, size[piece], 256):
            part = np.float32(0)
            for i in range(start, min(start + 256, size[piece])):
                part += values[i] * values[i]
            whole += part
        sums[piece] = whole


def update(
    addresses: np.ndarray,
    size: np.ndarray,
    shrink: np.ndarray,
    factor: np.float32,
    betas: tuple[np.float32, np.float32],
    rate: np.float32,
    root: np.float32,
    epsilon: np.float32,
) -> None:
    """Both moments, then the weights, piece by piece; the gradients are zeroed on the way.

    addresses[:, piece] are those of weights, gradients, first and second moments.
    """
    for piece in prange(size.shape[0]):
        count = (size[piece],)
        weight = carray(as_floats(addresses[0, piece]), count)
        gradient = carray(as_floats(addresses[1, piece]), count)
        first = carray(as_floats(addresses[2, piece]), count)
        second = carray(as_floats(addresses[3, piece]), count)
        keep = shrink[piece]
        left, right = np.float32(1) - betas[0], np.float32(1) - betas[1]
        for i in range(size[piece]):
            g = gradient[i] * factor
            m = betas[0] * first[i] + left * g
            v = betas[1] * second[i] + right * g * g
            first[i], second[i] = m, v
            weight[i] = (weight[i] - rate * m / (np.sqrt(v) * root + epsilon)) * keep
            gradient[i] = np.float32(0)
