"""Causal attention with a learned sink: one more logit in each head's softmax, with value zero.

On a CPU, loops of our own take sixteen tokens side by side and write no score to memory. Elsewhere
the flash kernels of torch do it; they know no sink, and a mask with one more column would cost a
T x T tensor, so the sink becomes one more position, in front, whose key answers only to one more
query feature:

    q -> [q, 1]    k -> [k, 0]    k_0 = [0, sink / scale]    v_0 = 0

Then plain causal attention is exact, gradients included; row 0 is dropped (paper A.1).
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from lacewing.kernels import cuda
from lacewing.kernels.jit import jitted, numbers


def sink_attention(
    q: Float[Tensor, "batch head token channel"],
    k: Float[Tensor, "batch head token channel"],
    v: Float[Tensor, "batch head token channel"],
    sink: Float[Tensor, " head"] | None,
) -> Float[Tensor, "batch head token channel"]:
    """Causal softmax attention at scale 1 / sqrt(channels), with a sink logit where given.

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        sink: Logit, in nats, that joins each head's softmax denominator; none for no sink.

    Returns:
        The mix of values at every token.

    Source: paper A.1; the order of the loops is that of FlashAttention (arXiv 2205.14135).
    """
    scale = q.shape[-1] ** -0.5
    if _own(q):
        mixed: Tensor = _SinkAttention.apply(q, k, v, sink, scale)  # type: ignore[no-untyped-call]
        return mixed
    if sink is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    if q.device.type == "cuda" and cuda.available():
        from lacewing.kernels.cuda import sink_attention as gpu

        if gpu.covers(q, k, v):
            return gpu.sink_attention(q, k, v, sink)
        cuda.fall_back(
            f"attention with sinks over {q.shape[-1]} channels of {q.dtype} has no kernel"
        )
    batch, heads, _, width = q.shape
    zero = q.new_zeros(batch, heads, 1, width)
    logit = (sink / scale).to(q.dtype).view(1, heads, 1, 1).expand(batch, -1, -1, -1)
    q = torch.cat([F.pad(zero, (0, 1)), F.pad(q, (0, 1), value=1.0)], dim=2)
    k = torch.cat([torch.cat([zero, logit], dim=-1), F.pad(k, (0, 1))], dim=2)
    v = F.pad(v, (0, 1, 1, 0))
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    return mixed[:, :, 1:, :width]


def sink_attention_at(
    q: Float[Tensor, "batch head channel"],
    k: Float[Tensor, "batch head token channel"],
    v: Float[Tensor, "batch head token channel"],
    sink: Float[Tensor, " head"] | None,
    at: Int[Tensor, " batch"],
) -> Float[Tensor, "batch head channel"]:
    """The same of one query per sequence: what is asked there looks at no later token.

    Args:
        q: A query for each sequence.
        k: Keys.
        v: Values.
        sink: Logit, in nats, that joins each head's softmax denominator; none for no sink.
        at: The token of each query.
    """
    scores = (k @ q[..., None])[..., 0] * q.shape[-1] ** -0.5
    later = torch.arange(k.shape[2], device=k.device) > at[:, None]
    scores = scores.masked_fill(later[:, None], -torch.inf)
    if sink is not None:
        scores = torch.cat([scores, sink[None, :, None].expand(len(q), -1, 1)], dim=-1)
    shares = scores.softmax(-1)[..., : k.shape[2]]
    return (shares[..., None, :] @ v)[..., 0, :]


LANES = 16
NO_SINK = -1e30
"""A logit that no softmax sees."""


def _own(q: Tensor) -> bool:
    """Whether the loops of kernels/cpu take these heads."""
    known = q.dtype in (torch.float32, torch.bfloat16)
    return q.device.type == "cpu" and known and q.shape[-1] % LANES == 0 and q.numel() > 0


class _SinkAttention(torch.autograd.Function):
    """Exact attention in which no score leaves the cache; sums in float32."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        sink: Tensor | None,
        scale: float,
    ) -> Tensor:
        from lacewing.kernels.cpu import sink_attention as loops

        batch, heads, tokens, width = q.shape
        q, k, v = (_by_token(t) for t in (q, k, v))
        logit = torch.full((heads,), NO_SINK) if sink is None else sink.detach().float()
        out, level = torch.empty_like(q), torch.empty(batch, heads, q.shape[1])
        arrays = [numbers(t) for t in (q, k, v, logit)]
        jitted(loops.forward)(*arrays, np.float32(scale), numbers(out), numbers(level))
        ctx.save_for_backward(q, k, v, logit, out, level)
        ctx.scale, ctx.has_sink = scale, sink is not None  # type: ignore[attr-defined]
        return out[:, :tokens].view(batch, tokens, heads, width).transpose(1, 2)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, None]:
        from lacewing.kernels.cpu import sink_attention as loops

        q, k, v, logit, out, level = ctx.saved_tensors  # type: ignore[attr-defined]
        batch, heads, tokens, width = grad.shape
        rows = _by_token(grad.to(out.dtype))
        by_head = (batch, -1, heads, width)
        moved = (out.float() * rows).view(by_head).sum(-1).transpose(1, 2).contiguous()
        slopes = [torch.empty_like(t) for t in (q, k, v)]
        arrays = [numbers(t) for t in (q, k, v, rows, level, moved)]
        scale = np.float32(ctx.scale)  # type: ignore[attr-defined]
        jitted(loops.backward)(*arrays, scale, *(numbers(t) for t in slopes))
        dq, dk, dv = (t[:, :tokens].view(by_head).transpose(1, 2) for t in slopes)
        if not ctx.has_sink:  # type: ignore[attr-defined]
            return dq, dk, dv, None, None
        share = torch.exp(logit[:, None] - level)  # of the sink, in every softmax
        return dq, dk, dv, -(share * moved).sum((0, 2)), None


def _by_token(x: Tensor) -> Tensor:
    """[batch, token, head x channel], tokens padded to whole vectors."""
    rows = x.detach().transpose(1, 2).flatten(2).contiguous()
    return F.pad(rows, (0, 0, 0, -rows.shape[1] % LANES)) if rows.shape[1] % LANES else rows


def sink_attention_reference(
    q: Float[Tensor, "batch head token channel"],
    k: Float[Tensor, "batch head token channel"],
    v: Float[Tensor, "batch head token channel"],
    sink: Float[Tensor, " head"] | None,
) -> Float[Tensor, "batch head token channel"]:
    """The same with every score written out."""
    length = q.shape[2]
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), float("-inf"))
    if sink is not None:
        column = sink.to(scores.dtype).view(1, -1, 1, 1).expand(q.shape[0], -1, length, 1)
        scores = torch.cat([scores, column], dim=-1)
    return scores.softmax(-1)[..., :length] @ v
