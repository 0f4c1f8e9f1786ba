"""Causal attention with a sink over sequences that share their beginnings.

Queries, keys and values come one row per different beginning, not one per token of each sequence:
a sequence asks for the queries that are its own, and finds its keys through a table of rows. Exact;
no row is copied for a sequence that shares it, and no padding is computed.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from lacewing.kernels.jit import jitted, numbers
from lacewing.kernels.sink_attention import LANES, NO_SINK, sink_attention_reference


@dataclass(frozen=True)
class Layout:
    """Where the queries and keys of each sequence are."""

    rows: Int64[Tensor, "sequence token"]
    """The row of keys and values of each token up to the last query's."""
    place: Int64[Tensor, "sequence 3"]
    """Row of a sequence's first query, that query's token, and how many queries there are: the
    queries of one sequence end where those of the next begin."""
    at_ends: bool = False
    """Whether each sequence has one query, its last token's."""


def prefix_attention(
    q: Float[Tensor, "query channel"],
    k: Float[Tensor, "prefix channel"],
    v: Float[Tensor, "prefix channel"],
    sink: Float[Tensor, " head"] | None,
    layout: Layout,
    heads: int,
) -> Float[Tensor, "query channel"]:
    """Causal softmax attention at scale 1 / sqrt(channels of a head), heads side by side.

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        sink: Logit, in nats, that joins each head's softmax denominator; none for no sink.
        layout: Where they are.
        heads: How many heads there are.

    Returns:
        The mix of values of every query.
    """
    known = q.dtype in (torch.float32, torch.bfloat16) and q.dtype == k.dtype == v.dtype
    if q.device.type != "cpu" or not known or (q.shape[1] // heads) % LANES or not q.numel():
        return prefix_attention_reference(q, k, v, sink, layout, heads)
    logit = torch.full((heads,), NO_SINK) if sink is None else sink.float()
    way = _AtEnds if layout.at_ends else _PrefixAttention
    mixed: Tensor = way.apply(q, k, v, logit, layout)  # type: ignore[no-untyped-call]
    return mixed


def prefix_attention_reference(
    q: Float[Tensor, "query channel"],
    k: Float[Tensor, "prefix channel"],
    v: Float[Tensor, "prefix channel"],
    sink: Float[Tensor, " head"] | None,
    layout: Layout,
    heads: int,
) -> Float[Tensor, "query channel"]:
    """The same, sequence by sequence, every row copied and every score written out."""
    size, found = q.shape[1] // heads, []
    for rows, (start, begin, count) in zip(layout.rows, layout.place.tolist(), strict=True):
        if count:
            at = rows[: begin + count]
            own = F.pad(q[start : start + count], (0, 0, begin, 0))
            query, key, value = (
                t.view(len(at), heads, size).transpose(0, 1)[None] for t in (own, k[at], v[at])
            )
            mixed = sink_attention_reference(query, key, value, sink)[0, :, begin:]
            found.append(mixed.transpose(0, 1).flatten(1))
    return torch.cat(found)


class _PrefixAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        logit: Tensor,
        layout: Layout,
    ) -> Tensor:
        from lacewing.kernels.cpu import even_attention as heads
        from lacewing.kernels.cpu import prefix_attention as loops

        count, wide = q.shape
        q, k, v = _longer(q), k.detach().contiguous(), v.detach().contiguous()
        out, level = torch.empty_like(q), torch.empty(len(logit), len(q))
        scale = np.float32((wide // len(logit)) ** -0.5)
        logit = logit.detach()
        arrays = [numbers(t) for t in (q, k, v, layout.rows, layout.place, logit)]
        even = np.zeros(len(logit), dtype=np.bool_)
        if q.dtype == torch.float32:
            jitted(heads.find_even)(*arrays[:3], count, even)
        jitted(loops.forward)(*arrays, scale, even, numbers(out), numbers(level))
        if even.any():
            few = *arrays[:3], *arrays[4:]
            jitted(heads.forward)(*few, scale, even, numbers(out), numbers(level))
        ctx.save_for_backward(q, k, v, logit, out, level)
        ctx.layout, ctx.scale, ctx.even = layout, scale, even  # type: ignore[attr-defined]
        return out[:count]

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, None]:
        from lacewing.kernels.cpu import even_attention as heads
        from lacewing.kernels.cpu import prefix_attention as loops

        q, k, v, logit, out, level = ctx.saved_tensors  # type: ignore[attr-defined]
        count, layout = len(grad), ctx.layout  # type: ignore[attr-defined]
        given = _longer(grad.to(out.dtype))
        by_head = (out[:count].float() * given[:count]).view(count, len(logit), -1)
        moved = by_head.sum(-1).t().contiguous()
        dq = torch.zeros_like(q)
        dk, dv = (torch.zeros(t.shape, dtype=torch.float32) for t in (k, v))
        arrays = [numbers(t) for t in (q, k, v, given, layout.rows, layout.place, level, moved)]
        scale, even = ctx.scale, ctx.even  # type: ignore[attr-defined]
        idle = np.zeros_like(even)
        jitted(heads.find_idle)(numbers(given), count, idle)
        into = [numbers(t) for t in (dq, dk, dv)]
        jitted(loops.backward)(*arrays, scale, even | idle, *into)
        if even.any():
            jitted(heads.backward)(*arrays, scale, even & ~idle, *into)
        slopes = dq[:count], dk.to(k.dtype), dv.to(v.dtype)
        if not ctx.needs_input_grad[3]:  # type: ignore[attr-defined]
            return *slopes, None, None
        share = torch.exp(logit[:, None] - level[:, :count])  # of the sink, in every softmax
        return *slopes, -(share * moved).sum(1), None


class _AtEnds(torch.autograd.Function):
    """One query a sequence, in float32: sixteen side by side would mostly be idle."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        logit: Tensor,
        layout: Layout,
    ) -> Tensor:
        from lacewing.kernels.cpu import prefix_attention as loops

        kind, (q, k, v) = q.dtype, (t.detach().float().contiguous() for t in (q, k, v))
        last, logit = layout.place[:, 1].contiguous(), logit.detach()
        out, shares = torch.empty_like(q), torch.empty(len(logit), *layout.rows.shape)
        scale = np.float32((q.shape[1] // len(logit)) ** -0.5)
        arrays = [numbers(t) for t in (q, k, v, layout.rows, last, logit)]
        loop = jitted(loops.forward_at_ends, reorder=True)
        loop(*arrays, scale, numbers(out), numbers(shares))
        ctx.save_for_backward(q, k, v, logit, out, shares)
        ctx.rows, ctx.last, ctx.scale = layout.rows, last, scale  # type: ignore[attr-defined]
        return out.to(kind)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, None]:
        from lacewing.kernels.cpu import even_attention as heads
        from lacewing.kernels.cpu import prefix_attention as loops

        q, k, v, logit, out, shares = ctx.saved_tensors  # type: ignore[attr-defined]
        rows, last, scale = ctx.rows, ctx.last, ctx.scale  # type: ignore[attr-defined]
        given = grad.float().contiguous()
        moved = (out * given).view(len(q), len(logit), -1).sum(-1).t().contiguous()
        slopes = [torch.zeros_like(t) for t in (q, k, v)]
        arrays = [numbers(t) for t in (q, k, v, given, rows, last, shares, moved)]
        idle = np.zeros(len(logit), dtype=np.bool_)
        jitted(heads.find_idle)(numbers(given), len(given), idle)
        loop = jitted(loops.backward_at_ends, reorder=True)
        loop(*arrays, scale, idle, *(numbers(t) for t in slopes))
        dq, dk, dv = (slope.to(grad.dtype) for slope in slopes)
        if not ctx.needs_input_grad[3]:  # type: ignore[attr-defined]
            return dq, dk, dv, None, None
        inside = torch.arange(rows.shape[1]) <= last[:, None]
        share = 1 - torch.where(inside, shares, 0).sum(-1)  # of the sink, in every softmax
        return dq, dk, dv, -(share * moved).sum(1), None


def _longer(rows: Tensor) -> Tensor:
    """The rows, and some more: what is asked for sixteen at a time may reach over the end."""
    return F.pad(rows.detach(), (0, 0, 0, LANES))
