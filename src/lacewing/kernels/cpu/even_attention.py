"""Heads that a mask has turned off: every query, key and value is the same.

Then every score is the same, and a query at token t gives each of its t + 1 keys the same share.
What is a sum over pairs of tokens elsewhere is a running sum here.
"""

import numpy as np

from lacewing.kernels.jit import prange


def find_even(q: np.ndarray, k: np.ndarray, v: np.ndarray, queries: int, even: np.ndarray) -> None:
    """Which heads are so; of `q` only the first rows count."""
    size = q.shape[1] // even.shape[0]
    for head in prange(even.shape[0]):
        first, end, same = head * size, head * size + size, True
        for rows, count in ((k, k.shape[0]), (v, v.shape[0]), (q, queries)):
            r = 1
            while same and r < count:
                for c in range(first, end):
                    same = same and rows[r, c] == rows[0, c]
                r += 1
        even[head] = same


def find_idle(grad: np.ndarray, queries: int, idle: np.ndarray) -> None:
    """Of which heads no output has a gradient."""
    size = grad.shape[1] // idle.shape[0]
    for head in prange(idle.shape[0]):
        none, r = True, 0
        while none and r < queries:
            for c in range(head * size, head * size + size):
                none = none and grad[r, c] == 0
            r += 1
        idle[head] = none


def forward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    place: np.ndarray,
    sink: np.ndarray,
    scale: np.float32,
    even: np.ndarray,
    out: np.ndarray,
    level: np.ndarray,
) -> None:
    """As `prefix_attention.forward`, of the heads that are even."""
    size = q.shape[1] // even.shape[0]
    for head in prange(even.shape[0]):
        if even[head]:
            first, end, score = head * size, head * size + size, np.float32(0)
            for c in range(first, end):
                score += q[0, c] * scale * k[0, c]
            top = max(score, sink[head])
            each, other = np.exp(score - top), np.exp(sink[head] - top)
            for sequence in range(place.shape[0]):
                start, begin, count = place[sequence]
                for i in range(count):
                    seen = np.float32(begin + i + 1) * each
                    level[head, start + i] = top + np.log(seen + other)
                    share = seen / (seen + other)
                    for c in range(first, end):
                        out[start + i, c] = share * v[0, c]


def backward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    grad: np.ndarray,
    rows: np.ndarray,
    place: np.ndarray,
    level: np.ndarray,
    moved: np.ndarray,
    scale: np.float32,
    even: np.ndarray,
    dq: np.ndarray,
    dk: np.ndarray,
    dv: np.ndarray,
) -> None:
    """As `prefix_attention.backward`, of the heads that are even."""
    size = q.shape[1] // even.shape[0]
    for head in prange(even.shape[0]):
        if even[head]:
            first, end, score = head * size, head * size + size, np.float32(0)
            for c in range(first, end):
                score += q[0, c] * scale * k[0, c]
            above = np.empty(size, np.float32)
            for sequence in range(place.shape[0]):
                start, begin, count = place[sequence]
                along = np.float32(0)
                above[:] = 0
                for t in range(begin + count - 1 if count > 0 else -1, -1, -1):
                    if t >= begin:
                        own = start + t - begin
                        share, slope = np.exp(score - level[head, own]), -moved[head, own]
                        for c in range(size):
                            slope += grad[own, first + c] * v[0, first + c]
                            above[c] += share * grad[own, first + c]
                        slope *= share * scale
                        along += slope
                        for c in range(first, end):
                            dq[own, c] = np.float32(t + 1) * slope * k[0, c]
                    at = rows[sequence, t]
                    for c in range(size):
                        dk[at, first + c] += along * q[0, first + c]
                        dv[at, first + c] += above[c]
