"""Root-mean-square norm of many rows and its gradient, each in one pass over them."""

import numpy as np

from lacewing.kernels.jit import prange


def forward(
    x: np.ndarray, gain: np.ndarray, epsilon: np.float32, out: np.ndarray, size: np.ndarray
) -> None:
    """Out = x size gain, where size = 1 / root mean square of the row."""
    width = np.float32(x.shape[1])
    for r in prange(x.shape[0]):
        squares = np.float32(0)
        for c in range(x.shape[1]):
            squares += x[r, c] * x[r, c]
        scale = np.float32(1) / np.sqrt(squares / width + epsilon)
        size[r] = scale
        for c in range(x.shape[1]):
            out[r, c] = x[r, c] * scale * gain[c]


def backward(
    grad: np.ndarray,
    x: np.ndarray,
    gain: np.ndarray,
    size: np.ndarray,
    slope: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Gradients: `slope` of x; sums[chunk] of the gain over the chunk's rows."""
    rows, chunks, width = x.shape[0], sums.shape[0], np.float32(x.shape[1])
    for chunk in prange(chunks):
        own = sums[chunk]
        for r in range(chunk * rows // chunks, (chunk + 1) * rows // chunks):
            scale, along = size[r], np.float32(0)
            for c in range(x.shape[1]):
                along += grad[r, c] * gain[c] * x[r, c]
            along *= scale * scale / width
            for c in range(x.shape[1]):
                own[c] += grad[r, c] * x[r, c] * scale
                slope[r, c] = scale * (grad[r, c] * gain[c] - along * x[r, c])
