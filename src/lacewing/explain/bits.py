"""Truth columns as packed bits, and the one loop that the search spends its time in."""

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from lacewing.kernels.cpu.piece import piece
from lacewing.kernels.jit import jitted

WORD = 64


def packed(truth: Bool[np.ndarray, "row token"]) -> UInt64[np.ndarray, "row column"]:
    """Columns of truth as rows of 64-bit words, padded with false."""
    rows, tokens = truth.shape
    words = -(-tokens // WORD)
    content = np.zeros((rows, 8 * words), dtype=np.uint8)
    content[:, : -(-tokens // 8)] = np.packbits(truth, axis=1, bitorder="little")
    return content.view(np.uint64)


def unpacked(words: UInt64[np.ndarray, " column"], tokens: int) -> Bool[np.ndarray, " token"]:
    """The inverse of `packed`, for one row."""
    return np.unpackbits(words.view(np.uint8), count=tokens, bitorder="little").astype(bool)


@piece
def _population(x: np.uint64) -> np.int64:
    """How many bits are set; the compiler knows this idiom."""
    one = np.uint64(1)
    x = x - ((x >> one) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


def _overlaps(
    beams: np.ndarray, atoms: np.ndarray, positive: np.ndarray, hits: np.ndarray, total: np.ndarray
) -> None:
    words = beams.shape[1]
    place = np.empty(words, dtype=np.int64)
    for b in range(len(beams)):
        count = 0
        for w in range(words):
            if beams[b, w]:
                place[count] = w
                count += 1
        if 4 * count > words:  # many words: in a row, sixteen at once
            for m in range(len(atoms)):
                right, every = np.int64(0), np.int64(0)
                for w in range(words):
                    both = beams[b, w] & atoms[m, w]
                    every += _population(both)
                    right += _population(both & positive[w])
                hits[b, m], total[b, m] = right, every
        else:
            for m in range(len(atoms)):
                right, every = np.int64(0), np.int64(0)
                for i in range(count):
                    w = place[i]
                    both = beams[b, w] & atoms[m, w]
                    every += _population(both)
                    right += _population(both & positive[w])
                hits[b, m], total[b, m] = right, every


def overlaps(
    beams: UInt64[np.ndarray, "batch column"],
    atoms: UInt64[np.ndarray, "row column"],
    positive: UInt64[np.ndarray, " column"],
) -> tuple[Int64[np.ndarray, "batch row"], Int64[np.ndarray, "batch row"]]:
    """For every beam and atom how many positive tokens, and how many at all, both hold at."""
    shape = len(beams), len(atoms)
    hits, total = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    jitted(_overlaps, parallel=False)(beams, atoms, positive, hits, total)
    return hits, total
