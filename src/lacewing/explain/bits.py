"""Truth columns as packed bits, and the one loop that the search spends its time in."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from lacewing.kernels.cpu.piece import piece
from lacewing.kernels.jit import jitted

WORD = 64
FEW = 32
"""Words are taken one by one where at most one in so many holds anything: each is a miss of the
cache, which costs as much as some thirty in a row."""


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


def packed_sets(
    here: Int64[np.ndarray, " token"], sets: Sequence[Sequence[int]], vocab: int
) -> UInt64[np.ndarray, "row column"]:
    """For each set of ids the tokens that have one of them; an id below 0 is in no set."""
    ids = np.array([id for each in sets for id in each], dtype=np.int64)
    rows = np.repeat(np.arange(len(sets)), [len(each) for each in sets])
    order = np.argsort(ids, kind="stable")
    first = np.searchsorted(ids[order], np.arange(vocab + 1))
    content = np.zeros((len(sets), -(-len(here) // WORD)), dtype=np.uint64)
    jitted(_mark, parallel=False)(here, first, rows[order], content)
    return content


def _mark(here: np.ndarray, first: np.ndarray, rows: np.ndarray, content: np.ndarray) -> None:
    for i in range(len(here)):
        id = here[i]
        if id >= 0:
            for k in range(first[id], first[id + 1]):
                content[rows[k], i // WORD] |= np.uint64(1) << np.uint64(i % WORD)


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
    rows, words = beams.shape
    place = np.empty((rows, words), dtype=np.int64)
    held = np.zeros(rows, dtype=np.int64)
    for b in range(rows):
        for w in range(words):
            if beams[b, w]:
                place[b, held[b]] = w
                held[b] += 1
    for m in range(len(atoms)):  # an atom is read once for all beams
        for b in range(rows):
            right, every = np.int64(0), np.int64(0)
            if FEW * held[b] > words:
                for w in range(words):
                    both = beams[b, w] & atoms[m, w]
                    every += _population(both)
                    right += _population(both & positive[w])
            else:
                for i in range(held[b]):
                    w = place[b, i]
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
