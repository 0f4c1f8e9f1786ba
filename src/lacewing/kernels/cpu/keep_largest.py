"""The largest entries of a matrix: candidates above a bar, and what a floor protects.

Entries are compared by the bits of |w|, integers that order like |w|. Candidates come in the order
of their flat index, protected ones with the key INFINITE. One thread does a whole matrix.
"""

import numpy as np
from numba import carray

from lacewing.kernels.cpu.lanes import LANES
from lacewing.kernels.cpu.piece import piece
from lacewing.kernels.cpu.vector import as_floats, as_pointer, at_least, first_bit
from lacewing.kernels.jit import prange

MAGNITUDE, INFINITE = np.int32(0x7FFFFFFF), np.int32(0x7F800000)
"""All bits of a float32 but its sign; the bits of infinity, above those of every finite weight."""
TRAILING = 15
"""Bits of a key below the leading sixteen, by which keys are counted."""
SAMPLE, SPREADS = 8192, 4
"""Entries looked at for the bar, and how many standard deviations it stays on the safe side."""


def keep_all(
    addresses: np.ndarray,
    shapes: np.ndarray,
    kept: np.ndarray,
    floors: np.ndarray,
    by_row: np.ndarray,
    scale: np.ndarray,
    owner: np.ndarray,
    threads: int,
) -> None:
    """Zero all but the `kept` largest of every matrix; owner[j] is the thread that does it."""
    for thread in prange(threads):
        for j in range(addresses.shape[0]):
            if owner[j] == thread:
                bits = carray(as_pointer(addresses[j]), (shapes[j, 0], shapes[j, 1]))
                values = carray(as_floats(addresses[j]), (bits.size,))
                keep_one(bits, values, kept[j], floors[j], by_row[j], scale[j])


@piece
def keep_one(
    bits: np.ndarray, values: np.ndarray, k: int, floor: int, by_row: bool, scale: np.float32
) -> None:
    """Zero all but the k largest of one matrix, whose entries `values` are."""
    lines = bits.shape[0] if by_row else bits.shape[1]
    share, room = k / bits.size, 2 * k + SAMPLE
    found, cut = np.zeros(2, np.int64), np.zeros(2, np.int64)
    counts = np.empty(1 << (31 - TRAILING), np.int32)
    while True:
        bar = guess(bits, share, counts, cut)
        index = np.empty(room + floor * lines, np.int32)
        key = np.empty(room + floor * lines, np.int32)
        collect(bits, bar, index[:room], key[:room], found)
        if found[0] > room:
            room = found[0]
        elif found[0] >= k or bar == 1:
            break
        else:
            share *= 2
    if floor:
        top = np.zeros((floor, lines), np.int32)
        protect(index[: found[0]], key[: found[0]], bits.shape[1], by_row, top)
        fill_short_lines(bits, bar, by_row, top, index, key, found)
    k -= found[1]  # protected zeros count inside k
    cut[:] = 0  # every candidate, where no more than k are not zero
    if found[0] > k:
        kth_largest(key[: found[0]], k, counts, cut)
    write_back(values, index[: found[0]], key[: found[0]], cut, scale)


@piece
def guess(bits: np.ndarray, share: float, counts: np.ndarray, out: np.ndarray) -> np.int32:
    """A size that a little more than `share` of the entries reach, most likely; 1 reaches all."""
    flat = bits.reshape(-1)
    step = max(1, flat.shape[0] // SAMPLE) | 1  # odd, so that it walks through all columns
    sample = flat[::step] & MAGNITUDE
    expected = share * sample.shape[0]
    rank = int(expected + SPREADS * np.sqrt(expected) + SPREADS)
    if rank >= sample.shape[0]:
        return np.int32(1)
    kth_largest(sample, rank, counts, out)
    return max(np.int32(1), np.int32(out[0]))


@piece
def collect(
    bits: np.ndarray, bar: np.int32, index: np.ndarray, key: np.ndarray, found: np.ndarray
) -> None:
    """Every entry that reaches the bar; found[0] counts them all, stored or not."""
    flat, size = bits.reshape(-1), bits.size
    count = 0
    for start in range(0, size, LANES):
        if start + LANES <= size:
            mask = at_least(flat, start, bar)
        else:
            mask = np.int64((1 << (size - start)) - 1)
        while mask:
            i = start + first_bit(mask)
            mask &= mask - 1
            value = flat[i] & MAGNITUDE
            if value >= bar:
                if count < index.shape[0]:
                    index[count], key[count] = i, value
                count += 1
    found[0] = count


@piece
def protect(
    index: np.ndarray, key: np.ndarray, columns: int, by_row: bool, top: np.ndarray
) -> None:
    """Give the largest candidates of every line, as many as `top` has rows, the key INFINITE.

    `top` [floor, line] arrives zeroed and leaves with their sizes; ties go to the lowest index.
    """
    floor, row, start = top.shape[0], 0, 0
    lines = np.empty_like(index)
    for i in range(index.shape[0]):
        while index[i] >= start + columns:  # cheaper than dividing
            row, start = row + 1, start + columns
        line = row if by_row else index[i] - start
        lines[i], new = line, key[i]
        for n in range(floor):
            held = top[n, line]
            top[n, line] = max(held, new)
            new = min(held, new)
    left = np.zeros(top.shape[1], dtype=np.int32)  # how many of the least size are protected
    for n in range(floor):
        for line in range(top.shape[1]):
            left[line] += top[n, line] == top[floor - 1, line]
    for i in range(index.shape[0]):
        least = top[floor - 1, lines[i]]
        if key[i] > least:
            key[i] = INFINITE
        elif key[i] == least and left[lines[i]] > 0:
            left[lines[i]] -= 1
            key[i] = INFINITE


@piece
def fill_short_lines(
    bits: np.ndarray,
    bar: np.int32,
    by_row: bool,
    top: np.ndarray,
    index: np.ndarray,
    key: np.ndarray,
    found: np.ndarray,
) -> None:
    """Append the largest entries below the bar of lines with too few candidates, as protected.

    found = [candidates, protected entries that are zero]; both grow.
    """
    floor, lines = top.shape
    length = bits.shape[1] if by_row else bits.shape[0]
    values, places = np.empty(floor, np.int32), np.empty(floor, np.int32)
    for line in range(lines):
        need = 0
        while need < floor and top[floor - 1 - need, line] == 0:
            need += 1
        for n in range(need):
            values[n] = -1
        for i in range(length if need else 0):
            value = (bits[line, i] if by_row else bits[i, line]) & MAGNITUDE
            if value < bar and value > values[need - 1]:
                n = need - 1
                while n > 0 and value > values[n - 1]:
                    values[n], places[n] = values[n - 1], places[n - 1]
                    n -= 1
                values[n] = value
                places[n] = line * length + i if by_row else i * lines + line
        for n in range(need):
            if values[n] > 0:
                index[found[0]], key[found[0]] = places[n], INFINITE
                found[0] += 1
            else:
                found[1] += 1


@piece
def kth_largest(key: np.ndarray, k: int, counts: np.ndarray, out: np.ndarray) -> None:
    """Out = [the k-th largest key, how many of that very key are among the k]."""
    for i in range(counts.shape[0]):
        counts[i] = 0
    for i in range(key.shape[0]):
        counts[key[i] >> TRAILING] += 1
    place, above = counts.shape[0] - 1, np.int64(0)
    while above + counts[place] < k:  # from the top down
        above += counts[place]
        place -= 1
    low, high, rank = place << TRAILING, ((place + 1) << TRAILING) - 1, k - above
    while low < high:  # the bin's own numbers, by bisection
        middle = (low + high + 1) >> 1
        reach, low_next, high_next = 0, high, low
        for i in range(key.shape[0]):
            if low <= key[i] <= high:
                if key[i] >= middle:
                    reach += 1
                    low_next = min(low_next, np.int64(key[i]))
                else:
                    high_next = max(high_next, np.int64(key[i]))
        if reach >= rank:
            low = low_next
        else:
            high, rank = high_next, rank - reach
    out[0], out[1] = low, rank


@piece
def write_back(
    flat: np.ndarray, index: np.ndarray, key: np.ndarray, cut: np.ndarray, scale: np.float32
) -> None:
    """Zero everything but the candidates above the cut, and as many at it as belong to the k."""
    kept, ties, held = 0, cut[1], np.empty(index.shape[0], np.float32)
    for i in range(index.shape[0]):
        at_cut = key[i] == cut[0]
        if key[i] > cut[0] or (at_cut and ties > 0):
            ties -= at_cut
            index[kept], held[kept] = index[i], flat[index[i]] * scale
            kept += 1
    flat[:] = 0
    for i in range(kept):
        flat[index[i]] = held[i]
