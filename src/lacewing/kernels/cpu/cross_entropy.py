"""Softmax of many rows of logits, and what the loss needs of it."""

import numpy as np

from lacewing.kernels.cpu.lanes import LANES
from lacewing.kernels.cpu.rows import softmax_row
from lacewing.kernels.jit import prange


def softmax(logits: np.ndarray, scale: np.float32, out: np.ndarray, level: np.ndarray) -> None:
    """`level` = log-sum-exp of every row; `out` = scale x softmax.

    Both arrays are float32, or the bits of bfloat16 as int16.
    """
    rows, width = logits.shape
    for r in prange(rows):
        level[r] = softmax_row(logits, r * width, width // LANES, scale, out)
