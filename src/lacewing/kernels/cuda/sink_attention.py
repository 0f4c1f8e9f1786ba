"""Causal attention with a learned sink on a GPU, flash style: no tensor of tokens x tokens.

The sink is where each row's running softmax begins: its maximum starts at the sink's logit and its
denominator at 1, with nothing mixed in. So the normaliser contains the sink, and with it the usual
backward formulas hold as they stand:

    P = exp(S - lse)    delta = <dO, O>    dS = P (dP - delta)    dsink = -sum exp(sink - lse) delta

Exponentials have base 2 inside; logits are scaled by log2 e on the way. Heads narrower than 16
channels are padded in registers.
"""

from typing import Any

import torch
from torch import Tensor

from lacewing.kernels.cuda import attend
from lacewing.kernels.cuda.launch import power_of_two

WIDEST_HEAD = 128


def covers(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether the kernels handle heads of this width and type."""
    alike = q.shape == k.shape == v.shape and q.dtype == k.dtype == v.dtype
    types = (torch.float32, torch.bfloat16, torch.float16)
    return alike and q.dtype in types and 0 < q.shape[-1] <= WIDEST_HEAD and q.numel() > 0


def sink_attention(q: Tensor, k: Tensor, v: Tensor, sink: Tensor | None) -> Tensor:
    """Causal softmax attention at scale 1 / sqrt(channels), with a sink logit where given.

    Args:
        q: Queries, [batch, head, token, channel].
        k: Keys, alike.
        v: Values, alike.
        sink: Logit in nats, [head]; none for no sink.

    Returns:
        The mix of values at every token; its tokens lie apart from its heads in memory, so that
        putting the heads of a token beside each other costs nothing.
    """
    out: Tensor = forward(q, k, v, sink)[0]
    return out


@torch.library.custom_op("lacewing::sink_attention", mutates_args=())
def forward(q: Tensor, k: Tensor, v: Tensor, sink: Tensor | None) -> tuple[Tensor, Tensor]:
    """The output, and each row's normaliser in bits (log2 of the sum of exponentials)."""
    q, k, v = (_rows(t) for t in (q, k, v))
    batch, heads, length, width = q.shape
    out, lse = _like(q), q.new_empty(batch, heads, length, dtype=torch.float32)
    size = _blocks(q, backward=False)
    attend.forward[(batch * heads * -(-length // size["BLOCK_Q"]),)](
        *(q, k, v, _logits(sink, q), out, lse),
        *(*q.stride()[:3], *k.stride()[:3], *v.stride()[:3], *out.stride()[:3]),
        *(heads, length, width**-0.5),
        SINK=sink is not None,
        WIDTH=width,
        **size,
    )
    return out, lse


@forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, sink: Tensor | None) -> tuple[Tensor, Tensor]:
    return _like(q), q.new_empty(q.shape[:3], dtype=torch.float32)


@torch.library.custom_op("lacewing::sink_attention_backward", mutates_args=())
def backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, sink: Tensor | None, out: Tensor, lse: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of queries, keys, values and sink logits (an empty tensor where there are none)."""
    grad, q, k, v = (_rows(t) for t in (grad, q, k, v))
    batch, heads, length, width = q.shape
    dq, dk, dv = (_like(t) for t in (q, k, v))
    rows = -(-length // attend.ROWS)
    delta, logits = torch.empty_like(lse), _logits(sink, q)
    part = q.new_empty(batch, heads, rows, dtype=torch.float32)
    attend.prepare[(batch * heads * rows,)](
        *(out, grad, logits, lse, delta, part),
        *(*out.stride()[:3], *grad.stride()[:3], heads, length),
        SINK=sink is not None,
        WIDTH=width,
        BLOCK_D=max(16, power_of_two(width)),
        BLOCK_Q=attend.ROWS,
    )
    size = _blocks(q, backward=True)
    strides = (*q.stride()[:3], *k.stride()[:3], *v.stride()[:3], *grad.stride()[:3])
    given = (q, k, v, grad, lse, delta)
    last = (heads, length, width**-0.5)
    attend.backward_keys[(batch * heads * -(-length // size["BLOCK_K"]),)](
        *given, dk, dv, *strides, *dk.stride()[:3], *last, WIDTH=width, **size
    )
    attend.backward_queries[(batch * heads * -(-length // size["BLOCK_Q"]),)](
        *given, dq, *strides, *dq.stride()[:3], *last, WIDTH=width, **size
    )
    dsink = q.new_empty(0) if sink is None else part.sum((0, 2)).to(sink.dtype)
    return dq, dk, dv, dsink


@backward.register_fake
def _(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, sink: Tensor | None, out: Tensor, lse: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dsink = q.new_empty(0) if sink is None else torch.empty_like(sink)
    return _like(q), _like(k), _like(v), dsink


def _save(
    ctx: torch.autograd.function.FunctionCtx,
    inputs: tuple[Tensor, Tensor, Tensor, Tensor | None],
    output: tuple[Tensor, Tensor],
) -> None:
    ctx.save_for_backward(*inputs, *output)  # type: ignore[arg-type]


def _backward(
    ctx: torch.autograd.function.FunctionCtx, grad: Tensor, _: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    sink = ctx.saved_tensors[3]  # type: ignore[attr-defined]
    dq, dk, dv, dsink = backward(grad, *ctx.saved_tensors)  # type: ignore[attr-defined]
    return dq, dk, dv, None if sink is None else dsink


forward.register_autograd(_backward, setup_context=_save)


def _rows(t: Tensor) -> Tensor:
    """The same with the channels of a head beside each other."""
    return t if t.stride(-1) == 1 else t.contiguous()


def _like(t: Tensor) -> Tensor:
    """Room for a tensor whose heads lie beside each other, token by token."""
    batch, heads, length, width = t.shape
    return t.new_empty(batch, length, heads, width).transpose(1, 2)


def _logits(sink: Tensor | None, q: Tensor) -> Tensor:
    """Sink logits in single precision; any pointer will do where none are read."""
    return q if sink is None else sink.detach().float().contiguous()


def _blocks(q: Tensor, backward: bool) -> dict[str, Any]:
    """Sizes of the blocks of queries and keys, and how exactly products are formed."""
    block, wide = max(16, power_of_two(q.shape[-1])), q.shape[-1] > 64
    single = q.dtype == torch.float32
    if single:  # products without tensor cores want many registers
        queries, keys = (16, 16) if wide else (32, 32)
    else:
        queries, keys = (64, 64) if backward or wide else (128, 64)
    return {
        "BLOCK_D": block,
        "BLOCK_Q": queries,
        "BLOCK_K": keys,
        "PRECISION": "ieee" if single else "tf32",  # what bf16 products ignore
        "num_warps": 8 if wide and not single else 4,
        "num_stages": 2 if wide else 3,  # within the shared memory of any card since 2020
    }
