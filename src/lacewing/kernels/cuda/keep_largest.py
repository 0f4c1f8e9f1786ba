"""Keep the largest on a GPU: exact, for all matrices at once, with no word to the host.

    bars        the floor: the least entry of each line that it protects         1 read
    collect     bits of |w| at or above a little less than the last threshold    1 read
    count       histograms of 8 bits, from the leading ones down, four times     of those collected
    ties        where too many entries equal the k-th: how many in each chunk    (nearly never)
    apply       zero what lies below, scale what stays                           1 read, 1 write

The threshold moves little from step to step, so nearly always the entries collected hold the k-th
largest; where they do not, the histograms read the matrix itself. Which of the two is decided on
the device, matrix by matrix: programs of the other kind end at once. Either way the entries kept
are those of a full stable sort.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from lacewing.kernels.cuda import select
from lacewing.kernels.cuda.launch import chunks, power_of_two, upload

CHUNK = 16384
"""Entries that one program reads."""
LONGEST_LINE = 32768
"""Entries of a line that the floor can rank."""
PLANS = 64
"""Lists of matrices whose tables and thresholds are remembered."""


def covers(weight: Tensor, floor: int) -> bool:
    """Whether the kernels handle a matrix of this type, layout and size."""
    return (
        weight.dtype == torch.float32
        and weight.is_contiguous()
        and 0 < weight.numel() < 2**31 - CHUNK
        and (not floor or max(weight.shape) <= LONGEST_LINE)
    )


def keep_largest_(
    weights: Sequence[Tensor],
    ks: Sequence[int],
    floors: Sequence[int] | None = None,
    axes: Sequence[str] | None = None,
    factor: float = 1.0,
    scaled: Sequence[bool] | None = None,
) -> None:
    """Zero all but the k largest |w| of each matrix, in place; ties by lowest flat index.

    Args:
        weights: Contiguous float32 matrices on one device, finite.
        ks: Entries to keep in each; no fewer than its floor protects.
        floors: Entries to keep in each row (or column) whatever their rank, counted inside k.
        axes: For each matrix whether the floor protects a "row" or a "column".
        factor: What is left is multiplied by this, such as 1 - weight decay.
        scaled: In which matrices; all by default.
    """
    if not weights:
        return
    floors = [0] * len(weights) if floors is None else floors
    axes = ["row"] * len(weights) if axes is None else axes
    places = tuple((w.data_ptr(), *w.shape) for w in weights)
    plan = _plan(places, tuple(floors), tuple(axes), weights[0].device)
    plan.run(tuple(ks), factor, tuple([True] * len(weights) if scaled is None else scaled))


@functools.lru_cache(PLANS)
def _plan(
    places: tuple[tuple[int, ...], ...],
    floors: tuple[int, ...],
    axes: tuple[str, ...],
    device: torch.device,
) -> "_Plan":
    return _Plan(places, floors, axes, device)


class _Plan:
    """Tables of where everything lies, and the last thresholds.

    A plan outlives its matrices at worst as a guess: what stands at the same place later is
    selected exactly, whatever the thresholds were.
    """

    def __init__(
        self,
        places: tuple[tuple[int, ...], ...],
        floors: tuple[int, ...],
        axes: tuple[str, ...],
        device: torch.device,
    ) -> None:
        self.device = device
        sizes = [rows * columns for _, rows, columns in places]
        self.room = [size // 4 for size in sizes]  # beyond that, collecting saves nothing
        self.protected: list[int] = []
        facts, bar, begin = [], 0, 0
        groups: dict[tuple[bool, int], list[tuple[int, int]]] = {}
        for m, ((at, rows, columns), floor, axis) in enumerate(
            zip(places, floors, axes, strict=True)
        ):
            by_row = axis == "row"
            lines, length = (rows, columns) if by_row else (columns, rows)
            shift = columns.bit_length() - 1 if columns & (columns - 1) == 0 else -1
            here = bar if floor else -1
            facts.append(
                (at, sizes[m], columns, shift, int(by_row), here, begin, self.room[m], floor)
            )
            begin += self.room[m]
            self.protected.append(lines * min(floor, length))
            if floor:
                block = power_of_two(length)
                group = groups.setdefault((by_row, block), [])
                group.extend((m, line) for line in range(0, lines, _lines(block)))
                bar += lines
        self.facts = upload(torch.tensor(facts, dtype=torch.int64), device)
        self.groups = [
            (*kind, upload(torch.tensor(jobs, dtype=torch.int32).t().contiguous(), device))
            for kind, jobs in groups.items()
        ]
        self.whole = upload(chunks(sizes, CHUNK), device)
        self.few = upload(chunks(self.room, CHUNK), device)
        self.bars = torch.empty(2, max(1, bar), dtype=torch.int32, device=device)
        self.found = torch.empty(max(1, begin), dtype=torch.int32, device=device)
        self.ties = torch.empty(self.whole.shape[1], dtype=torch.int32, device=device)
        self.histogram = torch.zeros(len(sizes), 256, dtype=torch.int32, device=device)
        # All thresholds 0: nothing is collected until they are known.
        self.state = torch.zeros(len(sizes), 8, dtype=torch.int32, device=device)
        starts = torch.searchsorted(
            chunks(sizes, CHUNK)[0], torch.arange(len(sizes) + 1, dtype=torch.int32)
        )
        self.first = upload(starts.int(), device)
        self.aligned = all(
            at % 16 == 0 and size % 4 == 0 for (at, _, _), size in zip(places, sizes, strict=True)
        )
        self.asked: tuple[tuple[int, ...], tuple[bool, ...]] | None = None

    def run(self, ks: tuple[int, ...], factor: float, scaled: tuple[bool, ...]) -> None:
        """One selection in every matrix."""
        if self.asked != (ks, scaled):
            budget = [k - p for k, p in zip(ks, self.protected, strict=True)]
            self.budget = upload(torch.tensor(budget, dtype=torch.int32), self.device)
            self.scaled = upload(torch.tensor(scaled, dtype=torch.int32), self.device)
            self.asked = ks, scaled
        matrices, every = (len(ks),), (self.whole.shape[1],)
        given = (self.facts, self.state, self.bars, self.whole)
        sizes = (every[0], self.bars.shape[1])
        block = {"CHUNK": CHUNK, "BLOCK": select.BLOCK}
        how = {"PROTECT": bool(self.groups), "ALIGNED": self.aligned, **block}
        select.begin[matrices](self.state, self.budget, BACK=select.BACK)
        self._raise_bars()
        select.collect[every](*given, self.found, *sizes, **how)
        for shift, bits in ((23, 8), (15, 8), (7, 8), (0, 7)):
            digit = {"SHIFT": shift, "BITS": bits}
            if self.few.shape[1]:
                select.count_found[(self.few.shape[1],)](
                    *(self.facts, self.state, self.found, self.few, self.histogram),
                    self.few.shape[1],
                    **digit,
                    **block,
                )
            select.count_whole[every](*given, self.histogram, *sizes, **digit, **how)
            select.choose[matrices](self.state, self.histogram, SHIFT=shift)
        select.count_ties[every](*given, self.ties, *sizes, **how)
        select.add_up_ties[matrices](self.state, self.first, self.ties, BLOCK=1024)
        select.apply[every](*given, self.ties, self.scaled, factor, *sizes, **how)

    def _raise_bars(self) -> None:
        """Find what the floor protects, as far as there is one."""
        for by_row, block, jobs in self.groups:
            lines = _lines(block)
            select.raise_bars[(jobs.shape[1],)](
                *(self.facts, self.bars, jobs, jobs.shape[1], self.bars.shape[1]),
                ROW=by_row,
                LINES=lines,
                LENGTH=block,
                num_warps=min(16, max(1, lines * block // 2048)),
            )


def _lines(block: int) -> int:
    """Lines that one program ranks: eight columns fill a memory sector."""
    return min(8, max(1, LONGEST_LINE // block))
