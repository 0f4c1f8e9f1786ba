"""Causal attention with a learned sink: one more logit in each head's softmax, with value zero.

The flash kernels of torch know no sink, and a mask with one more column would cost a T x T tensor.
So the sink becomes one more position, in front, whose key answers only to one more query feature:

    q -> [q, 1]    k -> [k, 0]    k_0 = [0, sink / scale]    v_0 = 0

Then plain causal attention is exact, gradients included; row 0 is dropped (paper A.1).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lacewing.kernels import cuda


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
    """
    scale = q.shape[-1] ** -0.5
    if sink is None:
        return _causal(q, k, v, scale)
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
    return _causal(q, k, v, scale)[:, :, 1:, :width]


LONGEST_WRITTEN_OUT = 512
"""Tokens up to which a CPU writes out bf16 scores: the flash backward is 20 times slower there."""
BLOCK = 128
"""Queries whose scores are written out at once, so that few lie beyond the diagonal."""


def _causal(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    batch, heads, length, _ = q.shape
    written_out = q.device.type == "cpu" and q.dtype == torch.bfloat16
    if not written_out or length > LONGEST_WRITTEN_OUT:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    q, k, v = (t.reshape(batch * heads, length, -1) for t in (q, k, v))
    starts = range(0, max(1, length - BLOCK // 2), BLOCK)  # a short rest joins the last block
    ends = [*starts[1:], length]
    blocks = [_block(q, k, v, scale, *piece) for piece in zip(starts, ends, strict=True)]
    mixed = blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1)
    return mixed.view(batch, heads, length, -1)


def _block(q: Tensor, k: Tensor, v: Tensor, scale: float, start: int, end: int) -> Tensor:
    """The mix of values at tokens start to end."""
    mask = q.new_full((end - start, end), -torch.inf).triu(1 + start)
    scores = torch.baddbmm(
        mask.expand(len(q), -1, -1), q[:, start:end], k[:, :end].transpose(1, 2), alpha=scale
    )
    return scores.softmax(-1) @ v[:, :end]


def sink_attention_reference(
    q: Float[Tensor, "batch head token channel"],
    k: Float[Tensor, "batch head token channel"],
    v: Float[Tensor, "batch head token channel"],
    sink: Float[Tensor, " head"] | None,
) -> Float[Tensor, "batch head token channel"]:
    """The same with every score written out."""
    length = q.shape[2]
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    scores = scores.masked_fill(
        torch.ones(length, length, device=q.device).triu(1).bool(), float("-inf")
    )
    if sink is not None:
        column = sink.to(scores.dtype).view(1, -1, 1, 1).expand(q.shape[0], -1, length, 1)
        scores = torch.cat([scores, column], dim=-1)
    return scores.softmax(-1)[..., :length] @ v
