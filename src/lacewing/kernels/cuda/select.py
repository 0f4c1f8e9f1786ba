"""The kernels of keep_largest: what each program does with its chunk of one matrix.

`facts` holds a row of FACTS whole numbers per matrix, fixed; `state` a row of STATES, worked on.
A pattern is the bits of |w|: whole numbers that order exactly like |w|.
"""

import triton.language as tl

from lacewing.kernels.cuda.launch import jit

BLOCK = 2048
"""Entries handled at once."""
BACK = 1 << 20
"""How far below the last threshold entries are collected: at least 6 % of its value."""

# Columns of `facts`.
FACTS = tl.constexpr(9)
POINTER, SIZE, COLUMNS, SHIFT_OF, BY_ROW, BAR, BEGIN, ROOM, FLOOR = (
    tl.constexpr(i) for i in range(9)
)
# Columns of `state`: entries wanted beside the protected ones; the threshold as far as its digits
# are known; entries still wanted among those that share them, and how many share them; entries
# collected, and from which pattern on.
STATES = tl.constexpr(8)
WANTED, CUT, NEED, SHARE, COLLECTED, FROM = (tl.constexpr(i) for i in range(6))
MAGNITUDE = tl.constexpr(0x7FFFFFFF)


@jit
def begin(state: tl.tensor, budget: tl.tensor, BACK: tl.constexpr) -> None:
    """Start anew: nothing known of the threshold but where the last one was."""
    m = tl.program_id(0)
    wanted = tl.load(budget + m)
    row = state + m * STATES
    last = tl.load(row + CUT)
    tl.store(row + WANTED, wanted)
    tl.store(row + NEED, wanted)
    tl.store(row + FROM, tl.maximum(last - BACK, 0))
    tl.store(row + CUT, 0)
    tl.store(row + COLLECTED, 0)


@jit
def raise_bars(
    facts: tl.tensor,
    bars: tl.tensor,
    jobs: tl.tensor,
    programs: tl.tensor,
    every_line: tl.tensor,
    ROW: tl.constexpr,
    LINES: tl.constexpr,
    LENGTH: tl.constexpr,
) -> None:
    """The least entry that the floor protects in each line: its pattern and place."""
    m = tl.load(jobs + tl.program_id(0))
    line = tl.load(jobs + programs + tl.program_id(0)) + tl.arange(0, LINES)[:, None]
    fact = facts + m * FACTS
    columns = tl.load(fact + COLUMNS).to(tl.int32)
    size = tl.load(fact + SIZE).to(tl.int32)
    base = tl.load(fact + POINTER).to(tl.pointer_type(tl.int32))
    along = tl.arange(0, LENGTH)[None, :]
    if ROW:
        lines, length = size // columns, columns
        at = line * columns + along
    else:
        lines, length = columns, size // columns
        at = along * columns + line
    inside = (line < lines) & (along < length)
    bits = tl.load(base + at, mask=inside, other=0)
    pattern = tl.where(inside, bits & MAGNITUDE, -1)
    top = tl.max(pattern, 1)
    first = tl.min(tl.where(pattern == top[:, None], along, LENGTH), 1)
    for _ in range(1, tl.load(fact + FLOOR).to(tl.int32)):
        pattern = tl.where(along == first[:, None], -1, pattern)
        top = tl.max(pattern, 1)
        first = tl.min(tl.where(pattern == top[:, None], along, LENGTH), 1)
    place = tl.load(fact + BAR).to(tl.int32) + tl.reshape(line, [LINES])
    valid = tl.reshape(line, [LINES]) < lines
    tl.store(bars + place, top, mask=valid)
    tl.store(bars + every_line + place, first, mask=valid)


@jit
def size_of(fact: tl.tensor, ALIGNED: tl.constexpr) -> tl.tensor:
    """Entries of a matrix; whole runs of four may be loaded at once where all is aligned."""
    size = tl.load(fact + SIZE).to(tl.int32)
    if ALIGNED:
        size = tl.multiple_of(size, 4)
    return size


@jit
def patterns(fact: tl.tensor, at: tl.tensor, inside: tl.tensor, ALIGNED: tl.constexpr) -> tl.tensor:
    """Bits of the weights at some flat places of a matrix."""
    base = tl.load(fact + POINTER).to(tl.pointer_type(tl.int32))
    if ALIGNED:
        base = tl.multiple_of(base, 16)
    return tl.load(base + at, mask=inside, other=0)


@jit
def protected(
    fact: tl.tensor,
    bars: tl.tensor,
    every_line: tl.tensor,
    pattern: tl.tensor,
    at: tl.tensor,
    inside: tl.tensor,
) -> tl.tensor:
    """Which entries stand at or above their line's bar."""
    bar = tl.load(fact + BAR).to(tl.int32)
    safe = at < 0  # none, where there is no floor
    if bar >= 0:
        columns = tl.load(fact + COLUMNS).to(tl.int32)
        shift = tl.load(fact + SHIFT_OF).to(tl.int32)
        if shift >= 0:  # noqa: SIM108
            row = at >> shift
        else:
            row = at // columns
        column = at - row * columns
        by_row = tl.load(fact + BY_ROW) != 0
        line = tl.where(by_row, row, column)
        along = tl.where(by_row, column, row)
        least = tl.load(bars + bar + line, mask=inside, other=0)
        place = tl.load(bars + every_line + bar + line, mask=inside, other=0)
        safe = inside & ((pattern > least) | ((pattern == least) & (along <= place)))
    return safe


@jit
def enough(row: tl.tensor, fact: tl.tensor) -> tl.tensor:
    """Whether what was collected holds the entries wanted, and all of it found room."""
    collected = tl.load(row + COLLECTED)
    return (collected >= tl.load(row + WANTED)) & (collected <= tl.load(fact + ROOM).to(tl.int32))


@jit
def collect(
    facts: tl.tensor,
    state: tl.tensor,
    bars: tl.tensor,
    table: tl.tensor,
    found: tl.tensor,
    programs: tl.tensor,
    every_line: tl.tensor,
    PROTECT: tl.constexpr,
    ALIGNED: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Gather the patterns that are likely to matter, in any order."""
    m = tl.load(table + tl.program_id(0))
    start = tl.load(table + programs + tl.program_id(0)) * CHUNK
    fact, row = facts + m * FACTS, state + m * STATES
    least, room = tl.load(row + FROM), tl.load(fact + ROOM).to(tl.int32)
    # A guess of zero would gather everything.
    if (least > 0) & (tl.load(row + WANTED) <= room):
        size = size_of(fact, ALIGNED)
        target = found + tl.load(fact + BEGIN)
        for block in range(start, tl.minimum(start + CHUNK, size), BLOCK):
            at = block + tl.arange(0, BLOCK)
            inside = at < size
            pattern = patterns(fact, at, inside, ALIGNED) & MAGNITUDE
            chosen = inside & (pattern >= least)
            if PROTECT:
                chosen = chosen & ~protected(fact, bars, every_line, pattern, at, chosen)
            count = tl.sum(chosen.to(tl.int32), 0)
            if count > 0:
                place = tl.atomic_add(row + COLLECTED, count, sem="relaxed")
                place += tl.cumsum(chosen.to(tl.int32), 0) - 1
                tl.store(target + place, pattern, mask=chosen & (place < room))


@jit
def tally(
    histogram: tl.tensor,
    pattern: tl.tensor,
    chosen: tl.tensor,
    SHIFT: tl.constexpr,
    BITS: tl.constexpr,
) -> None:
    """Add a block's digits to the histogram of its matrix."""
    count = tl.sum(chosen.to(tl.int32), 0)
    if count > 0:
        digit = tl.where(chosen, (pattern >> SHIFT) & ((1 << BITS) - 1), 0)
        bins = tl.arange(0, 256)
        counts = tl.histogram(digit, 256).to(tl.int32)
        counts -= tl.where(bins == 0, pattern.shape[0] - count, 0)  # those not chosen
        tl.atomic_add(histogram + bins, counts, mask=counts > 0, sem="relaxed")


@jit
def count_found(
    facts: tl.tensor,
    state: tl.tensor,
    found: tl.tensor,
    table: tl.tensor,
    histogram: tl.tensor,
    programs: tl.tensor,
    SHIFT: tl.constexpr,
    BITS: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """The next digit of the patterns collected that share the digits known."""
    m = tl.load(table + tl.program_id(0))
    start = tl.load(table + programs + tl.program_id(0)) * CHUNK
    fact, row = facts + m * FACTS, state + m * STATES
    size = tl.load(row + COLLECTED)
    if (start < size) & enough(row, fact):
        known = tl.load(row + CUT)
        source = found + tl.load(fact + BEGIN)
        for block in range(start, tl.minimum(start + CHUNK, size), BLOCK):
            at = block + tl.arange(0, BLOCK)
            pattern = tl.load(source + at, mask=at < size, other=0)
            chosen = (at < size) & (((pattern ^ known) >> SHIFT >> BITS) == 0)
            tally(histogram + m * 256, pattern, chosen, SHIFT, BITS)


@jit
def count_whole(
    facts: tl.tensor,
    state: tl.tensor,
    bars: tl.tensor,
    table: tl.tensor,
    histogram: tl.tensor,
    programs: tl.tensor,
    every_line: tl.tensor,
    PROTECT: tl.constexpr,
    ALIGNED: tl.constexpr,
    SHIFT: tl.constexpr,
    BITS: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """The same of the whole matrix, where what was collected does not do."""
    m = tl.load(table + tl.program_id(0))
    start = tl.load(table + programs + tl.program_id(0)) * CHUNK
    fact, row = facts + m * FACTS, state + m * STATES
    if enough(row, fact) == 0:
        size, known = size_of(fact, ALIGNED), tl.load(row + CUT)
        for block in range(start, tl.minimum(start + CHUNK, size), BLOCK):
            at = block + tl.arange(0, BLOCK)
            inside = at < size
            pattern = patterns(fact, at, inside, ALIGNED) & MAGNITUDE
            chosen = inside & (((pattern ^ known) >> SHIFT >> BITS) == 0)
            if PROTECT:
                chosen = chosen & ~protected(fact, bars, every_line, pattern, at, chosen)
            tally(histogram + m * 256, pattern, chosen, SHIFT, BITS)


@jit
def choose(state: tl.tensor, histogram: tl.tensor, SHIFT: tl.constexpr) -> None:
    """The threshold's next digit, and a clean histogram."""
    m = tl.program_id(0)
    row, bins = state + m * STATES, tl.arange(0, 256)
    counts = tl.load(histogram + m * 256 + bins)
    need = tl.load(row + NEED)
    from_top = tl.sum(counts, 0) - tl.cumsum(counts, 0) + counts
    digit = tl.maximum(tl.sum((from_top >= need).to(tl.int32), 0) - 1, 0)
    tl.store(row + NEED, need - tl.sum(tl.where(bins > digit, counts, 0), 0))
    tl.store(row + SHARE, tl.sum(tl.where(bins == digit, counts, 0), 0))
    tl.store(row + CUT, tl.load(row + CUT) | (digit << SHIFT))
    tl.store(histogram + m * 256 + bins, tl.zeros_like(counts))


@jit
def count_ties(
    facts: tl.tensor,
    state: tl.tensor,
    bars: tl.tensor,
    table: tl.tensor,
    ties: tl.tensor,
    programs: tl.tensor,
    every_line: tl.tensor,
    PROTECT: tl.constexpr,
    ALIGNED: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """How many entries of a chunk equal the threshold, where not all of those can stay."""
    m = tl.load(table + tl.program_id(0))
    start = tl.load(table + programs + tl.program_id(0)) * CHUNK
    fact, row = facts + m * FACTS, state + m * STATES
    if tl.load(row + NEED) != tl.load(row + SHARE):
        size, cut = size_of(fact, ALIGNED), tl.load(row + CUT)
        count = 0
        for block in range(start, tl.minimum(start + CHUNK, size), BLOCK):
            at = block + tl.arange(0, BLOCK)
            inside = at < size
            pattern = patterns(fact, at, inside, ALIGNED) & MAGNITUDE
            chosen = inside & (pattern == cut)
            if PROTECT:
                chosen = chosen & ~protected(fact, bars, every_line, pattern, at, chosen)
            count += tl.sum(chosen.to(tl.int32), 0)
        tl.store(ties + tl.program_id(0), count)


@jit
def add_up_ties(state: tl.tensor, first: tl.tensor, ties: tl.tensor, BLOCK: tl.constexpr) -> None:
    """For each chunk, how many ties stand in the chunks before it."""
    m = tl.program_id(0)
    row = state + m * STATES
    if tl.load(row + NEED) != tl.load(row + SHARE):
        begin_at, end, before = tl.load(first + m), tl.load(first + m + 1), 0
        for start in range(begin_at, end, BLOCK):
            at = start + tl.arange(0, BLOCK)
            counts = tl.load(ties + at, mask=at < end, other=0)
            tl.store(ties + at, before + tl.cumsum(counts, 0) - counts, mask=at < end)
            before += tl.sum(counts, 0)


@jit
def apply(
    facts: tl.tensor,
    state: tl.tensor,
    bars: tl.tensor,
    table: tl.tensor,
    ties: tl.tensor,
    scaled: tl.tensor,
    factor: tl.tensor,
    programs: tl.tensor,
    every_line: tl.tensor,
    PROTECT: tl.constexpr,
    ALIGNED: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Zero what is not kept, and scale what is."""
    m = tl.load(table + tl.program_id(0))
    start = tl.load(table + programs + tl.program_id(0)) * CHUNK
    fact, row = facts + m * FACTS, state + m * STATES
    size, cut = size_of(fact, ALIGNED), tl.load(row + CUT)
    need, scale = tl.load(row + NEED), tl.where(tl.load(scaled + m) != 0, factor, 1.0)
    all_ties = need == tl.load(row + SHARE)
    before = 0
    if all_ties == 0:
        before = tl.load(ties + tl.program_id(0))
    base = tl.load(fact + POINTER).to(tl.pointer_type(tl.float32))
    if ALIGNED:
        base = tl.multiple_of(base, 16)
    for block in range(start, tl.minimum(start + CHUNK, size), BLOCK):
        at = block + tl.arange(0, BLOCK)
        inside = at < size
        weight = tl.load(base + at, mask=inside, other=0.0)
        pattern = weight.to(tl.int32, bitcast=True) & MAGNITUDE
        tied = inside & (pattern == cut)
        kept = pattern > cut
        if PROTECT:
            safe = protected(fact, bars, every_line, pattern, at, inside)
            tied = tied & ~safe
            kept = kept | safe
        if all_ties:
            kept = kept | tied
        else:
            rank = before + tl.cumsum(tied.to(tl.int32), 0)
            kept = kept | (tied & (rank <= need))
            before += tl.sum(tied.to(tl.int32), 0)
        tl.store(base + at, tl.where(kept, weight * scale, 0.0), mask=inside)
