"""The optimizer's arithmetic on a GPU in two passes over memory, for all parameters at once.

    pass 1    sum of squares of all gradients                        reads 4 bytes a weight
    pass 2    g / RMS, both moments of Adam, the step, the decay     reads 16, writes 12 (or 16)

The RMS stays on the device between them: no word to the host. Parameters stay where they are; a
table of their addresses makes one launch of many tensors.
"""

import functools
from collections.abc import Sequence

import torch
import triton.language as tl
from torch import Tensor

from lacewing.kernels.cuda.launch import chunks, jit, upload

CHUNK = 8192
"""Entries that one program handles."""
BLOCK = 1024
"""Entries handled at once."""
PLANS = 8
"""Lists of tensors whose tables are remembered."""


def covers(tensors: Sequence[Tensor]) -> bool:
    """Whether the kernels handle these: dense float32, not quite 2^31 entries each."""
    return all(
        t.dtype == torch.float32 and t.is_contiguous() and 0 < t.numel() < 2**31 - CHUNK
        for t in tensors
    )


def gradient_rms(grads: Sequence[Tensor], count: int | None = None) -> Tensor:
    """The root mean square over all entries of all gradients together.

    Args:
        grads: Contiguous float32 gradients on one device.
        count: Entries to divide by, where some have no gradient; all given by default.

    Returns:
        A float32 scalar on the device.
    """
    table, addresses, sizes, aligned = _tables(_places(grads), grads[0].device)
    parts = torch.empty(table.shape[1], dtype=torch.float32, device=grads[0].device)
    _squares[(len(parts),)](
        addresses, sizes, table, parts, len(parts), ALIGNED=aligned, CHUNK=CHUNK, BLOCK=BLOCK
    )
    total = sum(g.numel() for g in grads) if count is None else count
    return (parts.sum(dtype=torch.float64) / total).sqrt().float()


def update_(
    parameters: Sequence[Tensor],
    grads: Sequence[Tensor],
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    rms: Tensor,
    *,
    rate: float,
    step: int,
    beta1: float,
    beta2: float,
    epsilon: float,
    guard: float,
    factor: float = 1.0,
    scaled: Sequence[bool] | None = None,
    clear: bool = False,
) -> None:
    """One step of Adam on gradients divided by their RMS, in place, and then a factor.

    Args:
        parameters: Contiguous float32 tensors on one device.
        grads: Their gradients, as the backward pass left them.
        first: Adam's running means of the scaled gradients.
        second: Adam's running means of their squares.
        rms: What the gradients are divided by, a scalar on the device.
        rate: Learning rate.
        step: Which step this is, counted from 1.
        beta1: Memory of the first moment.
        beta2: Memory of the second moment.
        epsilon: Added to the root of the second moment.
        guard: Added to the RMS.
        factor: What parameters are multiplied by afterwards, such as 1 - decay.
        scaled: Which of them; all by default.
        clear: Leave zeros in the gradients, for the next backward pass to add to.
    """
    device, many = parameters[0].device, len(parameters)
    places = tuple(_places(group) for group in (parameters, grads, first, second))
    table, addresses, sizes, aligned = _tables(sum(places, ()), device, many)
    flags = _flags((True,) * many if scaled is None else tuple(scaled), device)
    _update[(table.shape[1],)](
        *(addresses, sizes, table, flags, rms, table.shape[1], many),
        *(rate / (1 - beta1**step), (1 - beta2**step) ** -0.5, factor),
        *(1 - beta1, beta2, 1 - beta2, epsilon, guard),
        CLEAR=clear,
        ALIGNED=aligned,
        CHUNK=CHUNK,
        BLOCK=BLOCK,
    )


UniquePrefixes = tuple[tuple[int, int], ...]


def _places(tensors: Sequence[Tensor]) -> UniquePrefixes:
    return tuple((t.data_ptr(), t.numel()) for t in tensors)


@functools.lru_cache(PLANS)
def _tables(
    places: UniquePrefixes, device: torch.device, many: int | None = None
) -> tuple[Tensor, Tensor, Tensor, bool]:
    """Which program does what, all addresses, the first tensors' sizes, whether all are aligned."""
    sizes = [size for _, size in places[:many]]
    addresses = torch.tensor([at for at, _ in places], dtype=torch.int64)
    aligned = all(at % 16 == 0 and size % 4 == 0 for at, size in places)
    counts = torch.tensor(sizes, dtype=torch.int32)
    tables = (upload(t, device) for t in (chunks(sizes, CHUNK), addresses, counts))
    table, where, entries = tables
    return table, where, entries, aligned


@functools.lru_cache(PLANS)
def _flags(flags: tuple[bool, ...], device: torch.device) -> Tensor:
    return upload(torch.tensor(flags, dtype=torch.int32), device)


@jit
def size_of(sizes: tl.tensor, which: tl.tensor, ALIGNED: tl.constexpr) -> tl.tensor:
    """How many entries a tensor has; whole runs of four may be loaded at once where aligned."""
    size = tl.load(sizes + which)
    if ALIGNED:
        size = tl.multiple_of(size, 4)
    return size


@jit
def at_address(addresses: tl.tensor, which: tl.tensor, ALIGNED: tl.constexpr) -> tl.tensor:
    """Where a tensor of the table begins."""
    base = tl.load(addresses + which).to(tl.pointer_type(tl.float32))
    if ALIGNED:
        base = tl.multiple_of(base, 16)
    return base


@jit
def _squares(
    addresses: tl.tensor,
    sizes: tl.tensor,
    table: tl.tensor,
    parts: tl.tensor,
    programs: tl.tensor,
    ALIGNED: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    which = tl.load(table + tl.program_id(0))
    start = tl.load(table + programs + tl.program_id(0)) * CHUNK
    grad, size = at_address(addresses, which, ALIGNED), size_of(sizes, which, ALIGNED)
    total = tl.zeros([BLOCK], tl.float32)
    for block in range(start, tl.minimum(start + CHUNK, size), BLOCK):
        at = block + tl.arange(0, BLOCK)
        value = tl.load(grad + at, mask=at < size, other=0.0)
        total += value * value
    tl.store(parts + tl.program_id(0), tl.sum(total, 0))


@jit
def _update(
    addresses: tl.tensor,
    sizes: tl.tensor,
    table: tl.tensor,
    scaled: tl.tensor,
    rms: tl.tensor,
    programs: tl.tensor,
    many: tl.tensor,
    rate: tl.tensor,
    widen: tl.tensor,
    factor: tl.tensor,
    fresh1: tl.tensor,
    beta2: tl.tensor,
    fresh2: tl.tensor,
    epsilon: tl.tensor,
    guard: tl.tensor,
    CLEAR: tl.constexpr,
    ALIGNED: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    which = tl.load(table + tl.program_id(0))
    start = tl.load(table + programs + tl.program_id(0)) * CHUNK
    size = size_of(sizes, which, ALIGNED)
    shrink = tl.where(tl.load(scaled + which) != 0, factor, 1.0)
    weights = at_address(addresses, which, ALIGNED)
    grads = at_address(addresses, which + many, ALIGNED)
    firsts = at_address(addresses, which + 2 * many, ALIGNED)
    seconds = at_address(addresses, which + 3 * many, ALIGNED)
    scale = 1.0 / (tl.load(rms) + guard)
    for block in range(start, tl.minimum(start + CHUNK, size), BLOCK):
        at = block + tl.arange(0, BLOCK)
        inside = at < size
        grad = tl.load(grads + at, mask=inside, other=0.0) * scale
        first = tl.load(firsts + at, mask=inside, other=0.0)
        first += (grad - first) * fresh1
        second = tl.load(seconds + at, mask=inside, other=0.0) * beta2 + grad * grad * fresh2
        change = rate * first / (tl.sqrt(second) * widen + epsilon)
        weight = tl.load(weights + at, mask=inside, other=0.0)
        tl.store(weights + at, (weight - change) * shrink, mask=inside)
        tl.store(firsts + at, first, mask=inside)
        tl.store(seconds + at, second, mask=inside)
        if CLEAR:
            tl.store(grads + at, tl.zeros_like(grad), mask=inside)
