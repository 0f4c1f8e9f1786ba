"""One linear map between two masked sites, forward and backward, a tile of tokens at a time.

A tile is transposed into a table once; norm, AbsTopK, mask, product, AbsTopK and mask again happen
there, in the cache. Sixty-four tokens stand side by side, so that every channel that is off is
skipped for all of them at once: what it adds is a constant, and what comes back to it is zero.

The arguments of `forward`:

    rows: Inputs [token, channel]; or none, and `x` has them.
    x: Inputs in tiles [tile, channel, TILE]. With `gain` they are normed.
    activation: What they go through first: 0 nothing, GELU or RELU.
    beside: More channels, in tiles, which are not normed; or none.
    gain: Of the norm; empty for no norm.
    epsilon: Of the norm.
    keep: How many inputs AbsTopK leaves; 0 for all.
    pointer: Where the weights of each row begin: only those of inputs that are on.
    index: Their inputs.
    value: The weights.
    start: By row, its bias and what the inputs that are off add.
    parts: AbsTopK of each part of the rows; 0 for all. All parts are of one width.
    on: Which rows are on; empty for no mask.
    fill: What stands for the others.
    base: Added to the outputs, in tiles; or empty.
    read: Gets the inputs as they are before their mask, in tiles; or empty.
    size: Gets the norm's factor of every token.
    raw: Gets the outputs before their mask, in tiles; or empty.
    out: Gets the outputs in tiles; or empty.
    out_rows: Gets them as [part, token, row]; or empty.
    chunks: Pieces that threads share.

Those of `backward` that are not there:

    given: Gradients of the outputs, one of each part [token, row]; or none, and `grad` has
        them in tiles.
    grad: The same in tiles.
    raw: As `forward` left it.
    pointer: Where the weights of each column begin: only those of rows that are on.
    index: Their rows.
    value: The weights.
    read: As `forward` left it.
    lit: The mask of the inputs.
    mean: What stands for those that are off.
    x: As in `forward`; needed with a norm or an activation.
    activation: As there. Behind one, the rows of inputs that are off are not written.
    size: As `forward` left it.
    slope: Gets the gradient of the inputs in tiles; or empty.
    slope_rows: Gets it as [token, channel]; or empty.
    row_sums: Gets the gradient of the mask of the outputs.
    read_sums: Gets that of the inputs.
"""

import numpy as np

from lacewing.kernels.cpu.lanes import LANES, TILE
from lacewing.kernels.cpu.piece import piece
from lacewing.kernels.cpu.tables import (
    along,
    drop_below,
    fill_off,
    gelu,
    gelu_slope,
    mask_slopes,
    most,
    norm_slope,
    pass_on,
    reaching,
    scale_by,
    squares,
    zero_off,
)
from lacewing.kernels.cpu.vector import load_block, sparse_row, store_block
from lacewing.kernels.jit import prange

WORD, ROW = 4, 4 * TILE
"""Bytes of a float32 or an int32, and of a table's row."""
NEAR = 1 << 21
"""A quarter of an octave, in patterns."""
GELU, RELU = 1, 2
"""Activations."""


def forward(
    rows: np.ndarray,
    x: np.ndarray,
    activation: int,
    beside: np.ndarray,
    gain: np.ndarray,
    epsilon: np.float32,
    keep: int,
    pointer: np.ndarray,
    index: np.ndarray,
    value: np.ndarray,
    start: np.ndarray,
    parts: np.ndarray,
    on: np.ndarray,
    fill: np.ndarray,
    base: np.ndarray,
    read: np.ndarray,
    size: np.ndarray,
    raw: np.ndarray,
    out: np.ndarray,
    out_rows: np.ndarray,
    chunks: int,
) -> None:
    """Fill `out` or `out_rows`; what the backward pass needs goes to `read`, `size` and `raw`."""
    tiles, plain = max(x.shape[0], (rows.shape[0] + TILE - 1) // TILE), x.shape[0] == 0
    wide, many = rows.shape[1] if plain else x.shape[1], start.shape[0]
    width = wide + beside.shape[1]
    values, indices = value.ctypes.data, index.ctypes.data
    each = many // parts.shape[0]
    for chunk in prange(chunks):
        spare, other = np.empty((width, TILE), np.float32), np.empty((many, TILE), np.float32)
        line, cuts = np.empty(TILE, np.float32), np.zeros((1 + parts.shape[0], 2, TILE), np.int32)
        lying = np.empty(TILE * max(width, each), np.float32)
        for tile in range(chunk * tiles // chunks, (chunk + 1) * tiles // chunks):
            table = read[tile] if read.shape[0] > 0 else spare
            found = raw[tile] if raw.shape[0] > 0 else (out[tile] if out.shape[0] > 0 else other)
            held, got = table.ctypes.data, found.ctypes.data
            if plain:
                load_tile(rows, tile * TILE, table, 0)
            elif activation == GELU:
                gelu(x[tile].ctypes.data, wide, held)
            else:
                copy_tile(x[tile], table, 0, activation == RELU)
            if beside.shape[1] > 0:
                copy_tile(beside[tile], table, wide, False)
            if gain.shape[0] > 0:
                squares(held, wide, line.ctypes.data)
                for t in range(TILE):
                    line[t] = np.float32(1) / np.sqrt(line[t] / np.float32(wide) + epsilon)
                    size[tile, t] = line[t]
                scale_by(held, gain.ctypes.data, wide, line.ctypes.data)
            if keep > 0:
                survive(table, 0, width, keep, cuts[0], lying)
            for r in range(many):
                at, end = pointer[r], pointer[r + 1]
                sparse_row(
                    values + WORD * at, indices + WORD * at, end - at, held, start[r], got + ROW * r
                )
            for part in range(parts.shape[0]):
                if parts[part] > 0:
                    survive(found, part * each, each, parts[part], cuts[1 + part], lying)
            last = found
            if on.shape[0] > 0:
                last = out[tile] if out.shape[0] > 0 else other
                copy_tile(found, last, 0, False)
                fill_off(last.ctypes.data, many, on.ctypes.data, fill.ctypes.data)
            if base.shape[0] > 0:
                for c in range(many):
                    for t in range(TILE):
                        last[c, t] += base[tile, c, t]
            if out_rows.shape[0] > 0:
                for part in range(parts.shape[0]):
                    store_tile(last, part * each, out_rows[part], tile * TILE)


def backward(
    given: tuple[np.ndarray, np.ndarray, np.ndarray],
    grad: np.ndarray,
    raw: np.ndarray,
    parts: np.ndarray,
    on: np.ndarray,
    fill: np.ndarray,
    pointer: np.ndarray,
    index: np.ndarray,
    value: np.ndarray,
    read: np.ndarray,
    keep: int,
    lit: np.ndarray,
    mean: np.ndarray,
    x: np.ndarray,
    activation: int,
    gain: np.ndarray,
    size: np.ndarray,
    slope: np.ndarray,
    slope_rows: np.ndarray,
    row_sums: np.ndarray,
    read_sums: np.ndarray,
) -> None:
    """Gradients: of the inputs where they are wanted; sums [chunk, channel] of both masks."""
    plain, chunks = grad.shape[0] == 0, row_sums.shape[0]
    tiles = max(grad.shape[0], (given[0].shape[0] + TILE - 1) // TILE)
    many, width = row_sums.shape[1], pointer.shape[0] - 1
    each, wide = many // parts.shape[0], max(slope.shape[1], slope_rows.shape[1])
    values, indices = value.ctypes.data, index.ctypes.data
    for chunk in prange(chunks):
        spare, above = np.empty((many, TILE), np.float32), np.empty((many, TILE), np.float32)
        below = np.empty((width, TILE), np.float32)
        held, moved = below.ctypes.data, np.empty(TILE, np.float32)
        for tile in range(chunk * tiles // chunks, (chunk + 1) * tiles // chunks):
            first, table = tile * TILE, spare if plain else grad[tile]
            if plain:
                for part in range(parts.shape[0]):
                    load_tile(given[part], first, spare, part * each)
            from_above = table.ctypes.data
            if on.shape[0] > 0:
                known, to = raw[tile].ctypes.data, above.ctypes.data
                sums = row_sums[chunk].ctypes.data
                mask_slopes(from_above, known, many, fill.ctypes.data, sums)
                for part in range(parts.shape[0]):
                    down = part * each * ROW
                    own = on.ctypes.data + WORD * part * each
                    pass_on(from_above + down, known + down, each, own, parts[part], to + down)
                from_above = to
            for c in range(width):
                at, end = pointer[c], pointer[c + 1]
                sparse_row(
                    values + WORD * at,
                    indices + WORD * at,
                    end - at,
                    from_above,
                    np.float32(0),
                    held + ROW * c,
                )
            if read.shape[0] > 0:
                seen = read[tile].ctypes.data
                mask_slopes(held, seen, width, mean.ctypes.data, read_sums[chunk].ctypes.data)
                pass_on(held, seen, width, lit.ctypes.data, keep, held)
                if activation == 0:
                    zero_off(held, width, lit.ctypes.data)
            if slope_rows.shape[0] > 0:
                store_tile(below, 0, slope_rows, first)
            elif slope.shape[0] > 0:
                if activation == GELU:
                    gelu_slope(held, x[tile].ctypes.data, width, lit.ctypes.data)
                if gain.shape[0] > 0:
                    entries, gains = x[tile].ctypes.data, gain.ctypes.data
                    along(held, entries, gains, wide, moved.ctypes.data)
                    for t in range(TILE):
                        moved[t] *= size[tile, t] * size[tile, t] / np.float32(wide)
                    sizes = size[tile].ctypes.data
                    norm_slope(held, entries, gains, wide, sizes, moved.ctypes.data)
                if activation == 0:
                    copy_tile(below[:wide], slope[tile], 0, False)
                else:
                    give_lit(below, lit, x[tile], activation == RELU, slope[tile])


@piece
def copy_tile(source: np.ndarray, table: np.ndarray, below: int, positive: bool) -> None:
    """The rows of one table into another, from its row `below` on; or what of them is positive."""
    for c in range(source.shape[0]):
        for t in range(TILE):
            value = source[c, t]
            table[below + c, t] = max(value, np.float32(0)) if positive else value


@piece
def give_lit(
    below: np.ndarray, lit: np.ndarray, x: np.ndarray, relu: bool, slope: np.ndarray
) -> None:
    """The rows of a table that are lit, zeros for the others and where a relu gives zero."""
    for c in range(slope.shape[0]):
        if lit[c] == 0:
            slope[c] = np.float32(0)
        else:
            for t in range(TILE):
                slope[c, t] = below[c, t] if not relu or x[c, t] > 0 else np.float32(0)


@piece
def load_tile(rows: np.ndarray, first: int, table: np.ndarray, below: int) -> None:
    """TILE tokens from `first` on into a table from row `below` on; zeros after the last token."""
    count, width = rows.shape[0] - first, rows.shape[1]
    if count >= TILE:
        for c in range(0, width, LANES):
            for t in range(0, TILE, LANES):
                place = table.ctypes.data + WORD * ((below + c) * TILE + t)
                load_block(rows, (first + t) * width + c, width, place, TILE)
    else:
        for t in range(TILE):
            for c in range(width):
                table[below + c, t] = rows[first + t, c] if t < count else np.float32(0)


@piece
def store_tile(table: np.ndarray, below: int, rows: np.ndarray, first: int) -> None:
    """Rows of a table from `below` on, one per channel of `rows`, as tokens from `first` on."""
    count, width = rows.shape[0] - first, rows.shape[1]
    if count >= TILE:
        for c in range(0, width, LANES):
            for t in range(0, TILE, LANES):
                place = table.ctypes.data + WORD * ((below + c) * TILE + t)
                store_block(place, TILE, rows, (first + t) * width + c, width)
    else:
        for t in range(count):
            for c in range(width):
                rows[first + t, c] = table[below + c, t]


@piece
def survive(
    table: np.ndarray, below: int, width: int, keep: int, lines: np.ndarray, rows: np.ndarray
) -> None:
    """AbsTopK of some rows of a table, token by token: all but the `keep` largest become zero.

    The cuts are found in a copy that has the entries of a token side by side, in `rows`. `lines`
    has room for the cuts, and how many entries reach them; its first cut is where to look first.
    """
    place, vectors = table.ctypes.data + ROW * below, width // LANES
    cut, reached, line = lines[0], lines[1], WORD * width
    for c in range(0, width, LANES):
        for t in range(0, TILE, LANES):
            store_block(place + ROW * c + WORD * t, TILE, rows, t * width + c, width)
    surplus = False
    for t in range(TILE):
        guess = cut[t - 1] if t > 0 else cut[0]
        cut[t], reached[t] = kth_largest(rows.ctypes.data + line * t, vectors, keep, guess)
        surplus = surplus or (reached[t] > keep and cut[t] > 0)
    drop_below(place, width, cut.ctypes.data)
    if surplus:
        drop_ties(table, below, width, keep, cut, reached)


@piece
def kth_largest(row: int, vectors: int, keep: int, guess: int) -> tuple[np.int64, np.int64]:
    """The pattern of the `keep`-th largest magnitude of a row, and how many reach it.

    At least `keep` entries reach the lower bound, fewer exceed the upper. It is looked first around
    a guess, then where the counts at the bounds say, every fourth time in the middle.
    """
    low, high = np.int64(0), most(row, vectors)
    reached, over = np.int64(vectors * LANES), np.int64(0)
    turn = 0
    while reached != keep and low < high:
        span = high - low
        step = (span + 1) // 2
        if turn == 0 and guess > 0:
            step = guess - low
        elif turn < 3 and guess > 0:
            step = NEAR if over == 0 else span - NEAR
        elif turn % 4 != 3:
            share = np.float32(reached - keep + 0.5) / np.float32(reached - over)
            step = np.int64(np.float32(span) * share)
        tried = low + max(min(step, span), 1)
        found = reaching(row, vectors, tried)
        if found >= keep:
            low, reached = tried, found
        else:
            high, over = tried - 1, found
        turn += 1
    return low, reached


@piece
def drop_ties(
    table: np.ndarray, below: int, width: int, keep: int, cut: np.ndarray, count: np.ndarray
) -> None:
    """Of equal magnitudes at the cut the last go, until as few are left as are to be kept."""
    bits = table.view(np.int32)
    for t in range(TILE):
        c = below + width - 1
        while count[t] > keep and cut[t] > 0:
            if bits[c, t] & np.int32(0x7FFFFFFF) == cut[t]:
                table[c, t] = 0
                count[t] -= 1
            c -= 1


def part_on(
    pointer: np.ndarray,
    index: np.ndarray,
    value: np.ndarray,
    lit: np.ndarray,
    fill: np.ndarray,
    fewer: np.ndarray,
    places: np.ndarray,
    weights: np.ndarray,
    start: np.ndarray,
) -> None:
    """The entries whose column is lit; what the others add goes to `start`, times `fill`."""
    count = 0
    for r in range(pointer.shape[0] - 1):
        whole = start[r]
        for n in range(pointer[r], pointer[r + 1]):
            c = index[n]
            if lit[c] != 0:
                places[count], weights[count] = c, value[n]
                count += 1
            else:
                whole += value[n] * fill[c]
        start[r] = whole
        fewer[r + 1] = count
