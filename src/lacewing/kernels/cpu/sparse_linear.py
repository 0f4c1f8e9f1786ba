"""Products with a sparse matrix, TILE tokens at a time.

A tile of the input is transposed into a table that fits the cache, channel by channel, so that one
weight multiplies whole vectors of tokens. Every output channel then is a short sum of table rows,
kept in registers. Where the last tile would run over the end it starts earlier instead and does
some tokens twice: the same numbers are written twice.
"""

import numpy as np

from lacewing.kernels.cpu.lanes import LANES, TILE
from lacewing.kernels.cpu.vector import add_totals, load_block, sparse_row, store_block, support_row
from lacewing.kernels.jit import prange

WORD = 4
"""Bytes of a float32 or an int32."""


def multiply(
    x: np.ndarray,
    pointer: np.ndarray,
    index: np.ndarray,
    value: np.ndarray,
    bias: np.ndarray,
    out: np.ndarray,
    sums: np.ndarray,
) -> None:
    """out[token, row] = bias[row] + sum of value x[token, index].

    `x` and `out` are float32, or the bits of bfloat16 as int16. Where `sums` [chunk, channel] has
    channels and the tiles do not overlap, it gathers the sums of x over tokens.
    """
    tokens, width = x.shape
    tiles, chunks = (tokens + TILE - 1) // TILE, sums.shape[0]
    values, indices = value.ctypes.data, index.ctypes.data
    for chunk in prange(chunks):
        table, block = np.empty((width, TILE), np.float32), np.empty((LANES, TILE), np.float32)
        held, row = table.ctypes.data, block.ctypes.data
        for tile in range(chunk * tiles // chunks, (chunk + 1) * tiles // chunks):
            first = min(tile * TILE, tokens - TILE)
            for c in range(0, width, LANES):
                for t in range(0, TILE, LANES):
                    start = (first + t) * width + c
                    load_block(x, start, width, held + WORD * (c * TILE + t), TILE)
            add_totals(held, sums.shape[1], sums[chunk].ctypes.data)
            for r in range(0, out.shape[1], LANES):
                for i in range(LANES):
                    at, end = pointer[r + i], pointer[r + i + 1]
                    sparse_row(
                        values + WORD * at,
                        indices + WORD * at,
                        end - at,
                        held,
                        bias[r + i],
                        row + WORD * i * TILE,
                    )
                for t in range(0, TILE, LANES):
                    start = (first + t) * out.shape[1] + r
                    store_block(row + WORD * t, TILE, out, start, out.shape[1])


def support_gradient(
    gradient: np.ndarray,
    x: np.ndarray,
    pointer: np.ndarray,
    index: np.ndarray,
    out: np.ndarray,
    first: np.ndarray,
) -> None:
    """out[chunk, n] = sum over the chunk's tokens of gradient[token, row of n] x[token, index[n]].

    `first` has the tiles' first tokens, all different and none overlapping.
    """
    rows, width, chunks = gradient.shape[1], x.shape[1], out.shape[0]
    for chunk in prange(chunks):
        table, block = np.empty((width, TILE), np.float32), np.empty((LANES, TILE), np.float32)
        held, own, sums = table.ctypes.data, block.ctypes.data, out[chunk].ctypes.data
        tiles = first.shape[0]
        for tile in range(chunk * tiles // chunks, (chunk + 1) * tiles // chunks):
            at = first[tile]
            for c in range(0, width, LANES):
                for t in range(0, TILE, LANES):
                    load_block(x, (at + t) * width + c, width, held + WORD * (c * TILE + t), TILE)
            for r in range(0, rows, LANES):
                for t in range(0, TILE, LANES):
                    load_block(gradient, (at + t) * rows + r, rows, own + WORD * t, TILE)
                for i in range(LANES):
                    begin = pointer[r + i]
                    support_row(
                        own + WORD * i * TILE,
                        index.ctypes.data + WORD * begin,
                        pointer[r + i + 1] - begin,
                        held,
                        sums + WORD * begin,
                    )


def put(pointer: np.ndarray, index: np.ndarray, value: np.ndarray, out: np.ndarray) -> None:
    """Write the entries of a sparse matrix into a dense one."""
    for r in prange(out.shape[0]):
        for n in range(pointer[r], pointer[r + 1]):
            out[r, index[n]] = value[n]


def count_rows(weight: np.ndarray, pointer: np.ndarray) -> None:
    """pointer[row + 1] = how many entries of the row are not zero."""
    for r in prange(weight.shape[0]):
        count = np.int32(0)
        for c in range(weight.shape[1]):
            count += np.int32(weight[r, c] != 0)
        pointer[r + 1] = count


def fill_rows(
    weight: np.ndarray, pointer: np.ndarray, index: np.ndarray, value: np.ndarray
) -> None:
    """Columns and values of the entries that are not zero, row by row."""
    for r in prange(weight.shape[0]):
        at = pointer[r]
        for c in range(weight.shape[1]):
            if weight[r, c] != 0:
                index[at], value[at] = c, weight[r, c]
                at += 1


def fill_columns(
    pointer: np.ndarray,
    index: np.ndarray,
    value: np.ndarray,
    pointer_t: np.ndarray,
    index_t: np.ndarray,
    value_t: np.ndarray,
) -> None:
    """The same entries column by column; `pointer_t` arrives zeroed."""
    for n in range(index.shape[0]):
        pointer_t[index[n] + 1] += 1
    for c in range(pointer_t.shape[0] - 1):
        pointer_t[c + 1] += pointer_t[c]
    at = pointer_t.copy()
    for r in range(pointer.shape[0] - 1):  # in one thread: rows share columns
        for n in range(pointer[r], pointer[r + 1]):
            place = at[index[n]]
            index_t[place], value_t[place] = r, value[n]
            at[index[n]] = place + 1
