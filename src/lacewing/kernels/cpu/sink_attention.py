"""Causal attention with a sink, sixteen tokens side by side: no score leaves the cache.

    forward    for 16 queries:  s = K q, softmax with the sink, o = P^T V; log-sum-exp kept
    backward   for 16 queries:  s and P again, dP = V do, dS = P (dP - o do),
                                dq = dS^T K, and to every key  dv += P do, dk += dS q

All arithmetic is in float32; arrays are [batch, token, head x channel], float32 or bfloat16 bits.
Tokens and channels are multiples of sixteen. Queries come scaled.
"""

import numpy as np

from lacewing.kernels.cpu.lanes import LANES
from lacewing.kernels.cpu.rows import hide_later, mix, narrow_row, scores, slopes, soften, widen_row
from lacewing.kernels.cpu.vector import load_block, store_block
from lacewing.kernels.jit import prange

WORD, VECTOR = 4, 64
"""Bytes of a float32, and of a vector."""


def forward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    sink: np.ndarray,
    scale: np.float32,
    out: np.ndarray,
    level: np.ndarray,
) -> None:
    """Fill `out` with the mix of values and `level` [batch, head, token] with log-sum-exp."""
    batch, heads, tokens = level.shape
    wide = q.shape[2]
    size = wide // heads
    for job in prange(batch * heads):
        start = (job // heads) * tokens * wide + (job % heads) * size
        keys = np.empty((tokens, size), np.float32)
        values = np.empty((tokens, size), np.float32)
        query = np.empty((size, LANES), np.float32)
        mixed = np.empty((size, LANES), np.float32)
        strip = np.empty((tokens, LANES), np.float32)
        first = np.empty(LANES, np.float32)
        top = np.empty(LANES, np.float32)
        sum_ = np.empty(LANES, np.float32)
        first[:] = sink[job % heads]
        for t in range(tokens):
            widen_row(k, start + t * wide, size // LANES, keys.ctypes.data + t * size * WORD)
            widen_row(v, start + t * wide, size // LANES, values.ctypes.data + t * size * WORD)
        for t in range(0, tokens, LANES):
            seen = t + LANES
            for c in range(0, size, LANES):
                place = start + t * wide + c
                load_block(q, place, wide, query.ctypes.data + c * VECTOR, LANES)
            query *= scale
            mixed[:] = 0
            strip[:seen] = 0
            for c in range(0, size, LANES):
                scores(
                    query.ctypes.data + c * VECTOR,
                    LANES,
                    keys.ctypes.data + c * WORD,
                    size,
                    seen,
                    strip.ctypes.data,
                    LANES,
                )
            hide_later(strip.ctypes.data + t * VECTOR)
            soften(strip.ctypes.data, seen, first.ctypes.data, top.ctypes.data, sum_.ctypes.data)
            for c in range(0, size, LANES):
                mix(
                    strip.ctypes.data,
                    seen,
                    values.ctypes.data + c * WORD,
                    size,
                    mixed.ctypes.data + c * VECTOR,
                    LANES,
                )
            for c in range(size):
                for i in range(LANES):
                    mixed[c, i] /= sum_[i]
            for c in range(0, size, LANES):
                place = start + t * wide + c
                store_block(mixed.ctypes.data + c * VECTOR, LANES, out, place, wide)
            for i in range(LANES):
                level[job // heads, job % heads, t + i] = top[i] + np.log(sum_[i])


def backward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    grad: np.ndarray,
    level: np.ndarray,
    moved: np.ndarray,
    scale: np.float32,
    dq: np.ndarray,
    dk: np.ndarray,
    dv: np.ndarray,
) -> None:
    """Gradients; `moved` [batch, head, token] is the sum over channels of out x grad."""
    batch, heads, tokens = level.shape
    wide = q.shape[2]
    size = wide // heads
    for job in prange(batch * heads):
        start = (job // heads) * tokens * wide + (job % heads) * size
        keys = np.empty((tokens, size), np.float32)
        values = np.empty((tokens, size), np.float32)
        key_slope = np.zeros((tokens, size), np.float32)
        value_slope = np.zeros((tokens, size), np.float32)
        # sixteen queries and the gradients of what they mixed, channel by channel and row by row
        table = np.empty((2, size, LANES), np.float32)
        rows = np.empty((2, LANES, size), np.float32)
        # one row more, so that the two do not lie a whole number of pages apart
        strip = np.empty((2, tokens + 1, LANES), np.float32)
        query_slope = np.empty((size, LANES), np.float32)
        weights, slope = strip[0].ctypes.data, strip[1].ctypes.data
        levels = level[job // heads, job % heads].ctypes.data
        moves = moved[job // heads, job % heads].ctypes.data
        line, piece = size * WORD, size // LANES
        for t in range(tokens):
            widen_row(k, start + t * wide, piece, keys.ctypes.data + t * line)
            widen_row(v, start + t * wide, piece, values.ctypes.data + t * line)
        for t in range(0, tokens, LANES):
            seen, here = t + LANES, start + t * wide
            for i in range(LANES):
                widen_row(q, here + i * wide, piece, rows[0].ctypes.data + i * line)
                widen_row(grad, here + i * wide, piece, rows[1].ctypes.data + i * line)
            for c in range(0, size, LANES):
                load_block(q, here + c, wide, table[0].ctypes.data + c * VECTOR, LANES)
                load_block(grad, here + c, wide, table[1].ctypes.data + c * VECTOR, LANES)
            table[0] *= scale
            rows[0] *= scale
            strip[0, :seen] = 0
            strip[1, :seen] = 0
            query_slope[:] = 0
            for c in range(0, size, LANES):
                down, along = c * VECTOR, c * WORD
                left, right = keys.ctypes.data + along, values.ctypes.data + along
                scores(table[0].ctypes.data + down, LANES, left, size, seen, weights, LANES)
                scores(table[1].ctypes.data + down, LANES, right, size, seen, slope, LANES)
            hide_later(weights + t * VECTOR)
            slopes(weights, slope, seen, levels + t * WORD, moves + t * WORD)
            for c in range(0, size, LANES):
                along = c * WORD
                target = query_slope.ctypes.data + c * VECTOR
                mix(slope, seen, keys.ctypes.data + along, size, target, LANES)
                left, right = key_slope.ctypes.data + along, value_slope.ctypes.data + along
                scores(rows[0].ctypes.data + along, size, slope, LANES, seen, left, size)
                scores(rows[1].ctypes.data + along, size, weights, LANES, seen, right, size)
            query_slope *= scale
            for c in range(0, size, LANES):
                store_block(query_slope.ctypes.data + c * VECTOR, LANES, dq, here + c, wide)
        for t in range(tokens):
            narrow_row(key_slope.ctypes.data + t * line, piece, dk, start + t * wide)
            narrow_row(value_slope.ctypes.data + t * line, piece, dv, start + t * wide)
