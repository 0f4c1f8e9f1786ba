"""AbsTopK: keep the k entries of largest magnitude of every row, with their signs; zero the rest.

    row -> bit pattern of |x| (an integer that orders exactly like |x|)
        -> bisection for the k-th largest pattern of the row
        -> keep everything above it, and of the ties the ones with the lowest index

The gradient flows through the kept entries only (paper A.1; no straight-through estimate), so the
backward pass needs the output alone and no index tensor.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lacewing.kernels import cuda
from lacewing.kernels.jit import jitted, prange


def abs_topk(x: Float[Tensor, "*row channel"], k: int) -> Float[Tensor, "*row channel"]:
    """Keep the k largest |x| along the last dimension, ties by lowest index.

    Args:
        x: Any float tensor; float32 and bfloat16 take the fast path.
        k: Entries kept per row, at least 1; the row's width or more keeps all.

    Returns:
        A tensor like `x`, zero everywhere else.

    Source: paper A.1 and Fig. 12.
    """
    if k >= x.shape[-1]:
        return x
    if x.device.type == "cuda" and cuda.available():
        from lacewing.kernels.cuda import abs_topk as gpu

        if gpu.covers(x):
            return gpu.forward(x, k)
        cuda.fall_back(f"AbsTopK over {x.shape[-1]} channels of {x.dtype} has no kernel")
    out: Tensor = _AbsTopK.apply(x, k)  # type: ignore[no-untyped-call]
    return out


def abs_topk_reference(x: Float[Tensor, "*row channel"], k: int) -> Float[Tensor, "*row channel"]:
    """The same by a full stable sort of every row: slow, and plainly right."""
    order = torch.sort(x.detach().abs(), dim=-1, descending=True, stable=True).indices
    keep = torch.zeros_like(x, dtype=torch.bool).scatter_(-1, order[..., :k], True)
    return torch.where(keep, x, torch.zeros_like(x))


def survivors(
    x: Float[Tensor, "*row varying"],
    columns: Int[Tensor, " wanted"],
    k: int,
    index: Int[Tensor, " varying"],
    fixed: tuple[Float[Tensor, " fixed"], Int[Tensor, " fixed"]],
) -> Float[Tensor, "*row wanted"]:
    """What AbsTopK leaves of a few columns, without ranking the rest. No gradient.

    A value survives if fewer than k others are larger: comparing is cheaper than selecting, and
    entries that are the same in every row are ranked once.

    Args:
        x: The entries that vary, of a row that is wider: their channels are `index`.
        columns: Columns of `x` that are wanted.
        k: Entries that survive in a whole row.
        index: Channel of every column of `x`, ascending; ties go to the lowest.
        fixed: Magnitudes and channels of the row's other entries, the largest first.

    Returns:
        The wanted columns; zero where they do not survive.
    """
    size = x.shape[-1]
    rows = x.detach().float().contiguous().view(-1, size)
    out = torch.empty(len(rows), len(columns))
    magnitude, channel = (t.numpy() for t in fixed)
    jitted(_surviving)(
        rows.numpy(), columns.numpy(), k, index.numpy(), magnitude, channel, out.numpy()
    )
    return out.view(*x.shape[:-1], len(columns))


class _AbsTopK(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, k: int) -> Tensor:
        out = _on_cpu(x, k) if _fast(x) else abs_topk_reference(x, k)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        (out,) = ctx.saved_tensors  # type: ignore[attr-defined]
        if not _fast(grad) or grad.dtype != out.dtype:
            return grad.masked_fill(out == 0, 0), None
        grad, kept = grad.contiguous(), torch.empty_like(out)
        integer = INTEGER[out.dtype]
        jitted(_masked)(*(t.view(integer).view(-1).numpy() for t in (grad, out, kept)))
        return kept, None


# The counters of the fast path are as narrow as the patterns, to fill the vector registers.
WIDEST_ROW = {torch.float32: 2**31 - 1, torch.bfloat16: 2**15 - 1}
INTEGER = {torch.float32: torch.int32, torch.bfloat16: torch.int16}


def _fast(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.numel() > 0 and x.shape[-1] <= WIDEST_ROW.get(x.dtype, 0)


def _on_cpu(x: Tensor, k: int) -> Tensor:
    integer, width = INTEGER[x.dtype], x.shape[-1]
    x = x.detach().contiguous()
    out = torch.empty_like(x)
    rows, kept = (t.view(integer).view(-1, width).numpy() for t in (x, out))
    magnitude = np.array(torch.iinfo(integer).max, dtype=rows.dtype)[()]  # all bits but the sign
    jitted(_select)(rows, k, magnitude, kept)
    return out


def _masked(grad: np.ndarray, out: np.ndarray, kept: np.ndarray) -> None:
    for i in prange(grad.shape[0]):
        # The sign bit of -0.0 is no value: shift it out before asking whether an entry was kept.
        kept[i] = grad[i] if (out[i] << 1) != 0 else 0


def _select(rows: np.ndarray, k: int, magnitude: np.integer, out: np.ndarray) -> None:
    integer = rows.dtype.type  # everything the inner loops touch stays this narrow
    for r in prange(rows.shape[0]):
        row, kept = rows[r], out[r]
        top = integer(0)
        for i in range(row.shape[0]):
            top = max(top, integer(row[i] & magnitude))
        # The answer lies in [low, high]: at least k patterns are >= low, fewer than k are > high.
        low, high, count = np.int64(0), np.int64(top), np.int64(row.shape[0])
        while count != k and low < high:
            middle = (low + high + 1) >> 1
            cut, reach = integer(middle), integer(0)
            for i in range(row.shape[0]):
                reach = integer(reach + integer(integer(row[i] & magnitude) >= cut))
            if reach >= k:
                low, count = middle, np.int64(reach)
            else:
                high = middle - 1
        cut = integer(low)
        for i in range(row.shape[0]):
            kept[i] = row[i] if integer(row[i] & magnitude) >= cut else integer(0)
        surplus = count - k  # ties with the k-th: dropped from the highest index down
        i = row.shape[0]
        while surplus > 0:
            i -= 1
            if integer(row[i] & magnitude) == cut:
                kept[i] = integer(0)
                surplus -= 1


def _surviving(
    rows: np.ndarray,
    columns: np.ndarray,
    k: int,
    index: np.ndarray,
    magnitude: np.ndarray,
    channel: np.ndarray,
    out: np.ndarray,
) -> None:
    for r in prange(rows.shape[0]):
        row = rows[r]
        for w in range(columns.shape[0]):
            column = columns[w]
            value = abs(row[column])
            larger = np.int32(0)
            for i in range(column):
                larger += np.int32(abs(row[i]) >= value)
            for i in range(column + 1, row.shape[0]):
                larger += np.int32(abs(row[i]) > value)
            at, end = 0, magnitude.shape[0]
            while at < end:  # how many of the fixed entries are larger
                middle = (at + end) >> 1
                if magnitude[middle] > value:
                    at = middle + 1
                else:
                    end = middle
            before = at
            while at < magnitude.shape[0] and magnitude[at] == value:
                before += 1 if channel[at] < index[column] else 0
                at += 1
            out[r, w] = row[column] if larger + before < k else np.float32(0)
