"""Attention where beginnings are shared: keys lie where some sequence first had them.

As `sink_attention`, sixteen queries side by side; but each sequence asks only for its own queries,
which lie one after the other, and reads its keys through a table of rows. Threads share the heads,
so that two sequences never add to one row at the same time. Where a sequence has fewer than sixteen
queries left, the rows after them are filled too: they belong to later sequences, which overwrite
them.
"""

import numpy as np

from lacewing.kernels.cpu.lanes import LANES
from lacewing.kernels.cpu.rows import hide_later, mix, scores, slopes, soften, widen_row
from lacewing.kernels.cpu.vector import load_block, store_block
from lacewing.kernels.jit import prange

WORD, VECTOR = 4, 64
"""Bytes of a float32, and of a vector."""
NEVER = 1e30
"""A log-sum-exp that leaves nothing of any score."""


def forward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    rows: np.ndarray,
    place: np.ndarray,
    sink: np.ndarray,
    scale: np.float32,
    skip: np.ndarray,
    out: np.ndarray,
    level: np.ndarray,
) -> None:
    """Fill `out` with the mix of values and `level` [head, query] with log-sum-exp.

    `rows` [sequence, token] has the row of `k` and `v` of every token; `place` [sequence, 3] the
    row of a sequence's first query, that query's token, and how many queries there are. `q`, `out`
    and `level` are LANES rows longer than they need be. Heads to `skip` are left alone.
    """
    heads, wide = level.shape[0], q.shape[1]
    size = wide // heads
    for head in prange(heads):
        own = head * size
        keys = np.zeros((rows.shape[1] + LANES, size), np.float32)
        values = np.zeros((rows.shape[1] + LANES, size), np.float32)
        query = np.empty((size, LANES), np.float32)
        mixed = np.empty((size, LANES), np.float32)
        strip = np.empty((rows.shape[1] + LANES, LANES), np.float32)
        first, top = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
        sum_ = np.empty(LANES, np.float32)
        first[:] = sink[head]
        for sequence in range(0 if skip[head] else rows.shape[0]):
            start, begin, count = place[sequence]
            for t in range(begin + count if count > 0 else 0):
                at = rows[sequence, t] * wide + own
                widen_row(k, at, size // LANES, keys.ctypes.data + t * size * WORD)
                widen_row(v, at, size // LANES, values.ctypes.data + t * size * WORD)
            for done in range(0, count, LANES):
                t = begin + done
                seen, here = t + LANES, (start + done) * wide + own
                for c in range(0, size, LANES):
                    load_block(q, here + c, wide, query.ctypes.data + c * VECTOR, LANES)
                query *= scale
                mixed[:] = 0
                strip[:seen] = 0
                for c in range(0, size, LANES):
                    table, line = query.ctypes.data + c * VECTOR, keys.ctypes.data + c * WORD
                    scores(table, LANES, line, size, seen, strip.ctypes.data, LANES)
                hide_later(strip.ctypes.data + t * VECTOR)
                soften(
                    strip.ctypes.data, seen, first.ctypes.data, top.ctypes.data, sum_.ctypes.data
                )
                for c in range(0, size, LANES):
                    table, line = mixed.ctypes.data + c * VECTOR, values.ctypes.data + c * WORD
                    mix(strip.ctypes.data, seen, line, size, table, LANES)
                for c in range(size):
                    for i in range(LANES):
                        mixed[c, i] /= sum_[i]
                for c in range(0, size, LANES):
                    store_block(mixed.ctypes.data + c * VECTOR, LANES, out, here + c, wide)
                for i in range(LANES):
                    level[head, start + done + i] = top[i] + np.log(sum_[i])


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
    skip: np.ndarray,
    dq: np.ndarray,
    dk: np.ndarray,
    dv: np.ndarray,
) -> None:
    """Gradients, into zeros; `moved` [head, query] is the sum over channels of out x grad."""
    heads, wide, size = level.shape[0], q.shape[1], q.shape[1] // level.shape[0]
    for head in prange(heads):
        own, line, piece = head * size, size * WORD, size // LANES
        keys = np.zeros((rows.shape[1] + LANES, size), np.float32)
        values = np.zeros((rows.shape[1] + LANES, size), np.float32)
        key_slope = np.empty((rows.shape[1] + LANES, size), np.float32)
        value_slope = np.empty((rows.shape[1] + LANES, size), np.float32)
        # sixteen queries and the gradients of what they mixed, channel by channel and row by row
        table = np.empty((2, size, LANES), np.float32)
        lines = np.empty((2, LANES, size), np.float32)
        # one row more, so that the two do not lie a whole number of pages apart
        strip = np.empty((2, rows.shape[1] + LANES + 1, LANES), np.float32)
        query_slope = np.empty((size, LANES), np.float32)
        levels, moves = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
        weights, slope = strip[0].ctypes.data, strip[1].ctypes.data
        for sequence in range(0 if skip[head] else rows.shape[0]):
            start, begin, count = place[sequence]
            tokens = begin + count if count > 0 else 0
            for t in range(tokens):
                at = rows[sequence, t] * wide + own
                widen_row(k, at, piece, keys.ctypes.data + t * line)
                widen_row(v, at, piece, values.ctypes.data + t * line)
            key_slope[: tokens + LANES] = 0
            value_slope[: tokens + LANES] = 0
            for done in range(0, count, LANES):
                t = begin + done
                seen, here = t + LANES, (start + done) * wide + own
                for i in range(LANES):
                    widen_row(q, here + i * wide, piece, lines[0].ctypes.data + i * line)
                    widen_row(grad, here + i * wide, piece, lines[1].ctypes.data + i * line)
                    inside = done + i < count
                    levels[i] = level[head, start + done + i] if inside else NEVER
                    moves[i] = moved[head, start + done + i] if inside else 0
                for c in range(0, size, LANES):
                    load_block(q, here + c, wide, table[0].ctypes.data + c * VECTOR, LANES)
                    load_block(grad, here + c, wide, table[1].ctypes.data + c * VECTOR, LANES)
                table[0] *= scale
                lines[0] *= scale
                strip[:, :seen] = 0
                query_slope[:] = 0
                for c in range(0, size, LANES):
                    down, along = c * VECTOR, c * WORD
                    left, right = keys.ctypes.data + along, values.ctypes.data + along
                    scores(table[0].ctypes.data + down, LANES, left, size, seen, weights, LANES)
                    scores(table[1].ctypes.data + down, LANES, right, size, seen, slope, LANES)
                hide_later(weights + t * VECTOR)
                slopes(weights, slope, seen, levels.ctypes.data, moves.ctypes.data)
                for c in range(0, size, LANES):
                    along = c * WORD
                    target = query_slope.ctypes.data + c * VECTOR
                    mix(slope, seen, keys.ctypes.data + along, size, target, LANES)
                    left, right = key_slope.ctypes.data + along, value_slope.ctypes.data + along
                    scores(lines[0].ctypes.data + along, size, slope, LANES, seen, left, size)
                    scores(lines[1].ctypes.data + along, size, weights, LANES, seen, right, size)
                query_slope *= scale
                for c in range(0, size, LANES):
                    store_block(query_slope.ctypes.data + c * VECTOR, LANES, dq, here + c, wide)
            for t in range(tokens):
                at = rows[sequence, t]
                for c in range(size):
                    dk[at, own + c] += key_slope[t, c]
                    dv[at, own + c] += value_slope[t, c]


def forward_at_ends(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    rows: np.ndarray,
    last: np.ndarray,
    sink: np.ndarray,
    scale: np.float32,
    out: np.ndarray,
    shares: np.ndarray,
) -> None:
    """The same of one query a sequence, that of its last token, in float32.

    `shares` [head, sequence, token] gets what each token has of the softmax.
    """
    heads, size = sink.shape[0], q.shape[1] // sink.shape[0]
    for head in prange(heads):
        first, end = head * size, head * size + size
        mixed = np.empty(size, np.float32)
        for sequence in range(rows.shape[0]):
            tokens, share = last[sequence] + 1, shares[head, sequence]
            own, top = q[sequence, first:end], sink[head]
            for t in range(tokens):
                key, score = k[rows[sequence, t], first:end], np.float32(0)
                for c in range(size):
                    score += own[c] * key[c]
                share[t] = score * scale
                top = max(top, share[t])
            whole = np.exp(sink[head] - top)
            for t in range(tokens):
                share[t] = np.exp(share[t] - top)
                whole += share[t]
            mixed[:] = 0
            for t in range(tokens):
                share[t] /= whole
                value, part = v[rows[sequence, t], first:end], share[t]
                for c in range(size):
                    mixed[c] += part * value[c]
            out[sequence, first:end] = mixed


def backward_at_ends(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    grad: np.ndarray,
    rows: np.ndarray,
    last: np.ndarray,
    shares: np.ndarray,
    moved: np.ndarray,
    scale: np.float32,
    skip: np.ndarray,
    dq: np.ndarray,
    dk: np.ndarray,
    dv: np.ndarray,
) -> None:
    """Gradients of that; `moved` [head, sequence] is the sum over channels of out x grad.

    All are float32; those of queries, keys and values arrive zeroed. Heads to `skip` are left
    alone.
    """
    heads, size = shares.shape[0], q.shape[1] // shares.shape[0]
    for head in prange(heads):
        first, end = head * size, head * size + size
        query_slope = np.empty(size, np.float32)
        for sequence in range(0 if skip[head] else rows.shape[0]):
            share, move = shares[head, sequence], moved[head, sequence]
            own, above = q[sequence, first:end].copy(), grad[sequence, first:end].copy()
            query_slope[:] = 0
            for t in range(last[sequence] + 1):
                at = rows[sequence, t]
                key, value, given = k[at, first:end], v[at, first:end], np.float32(0)
                for c in range(size):
                    given += above[c] * value[c]
                part = share[t]
                slope = part * (given - move) * scale
                for c in range(size):
                    query_slope[c] += slope * key[c]
                to_key, to_value = dk[at, first:end], dv[at, first:end]
                for c in range(size):
                    to_key[c] += slope * own[c]
                for c in range(size):
                    to_value[c] += part * above[c]
            dq[sequence, first:end] = query_slope
