"""The published way of each hot operation, written plainly: what the benchmarks compare with.

Facts from gpt.py and train.py of openai/circuit_sparsity and from the pruning code of
jacobcd52/sparse_pretrain_public.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from lacewing.model import layers, transformer
from lacewing.model.transformer import Transformer
from lacewing.model.weights import FLOOR_AXIS
from lacewing.training.config import TrainConfig
from lacewing.training.density import block_density, embedding_density, pfrac_at
from lacewing.training.optimizer import RMS_GUARD, learning_rate_at


def abs_topk(x: Tensor, k: int) -> Tensor:
    """AbsTopK by torch.topk and a scatter."""
    index = x.abs().topk(k, dim=-1).indices
    return torch.zeros_like(x).scatter_(-1, index, x.gather(-1, index))


def keep_largest_(weight: Tensor, k: int, floor: int = 0, axis: str = "row") -> None:
    """The projection by torch.topk: lines first, then the whole matrix, then a mask multiplied."""
    score = weight.detach().abs().clone()
    if floor:
        dim = 1 if axis == "row" else 0
        score.scatter_(dim, score.topk(floor, dim=dim).indices, 1e10)
    mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
    mask[score.flatten().topk(k).indices] = True
    weight.data.mul_(mask.view_as(weight).float())


def sink_attention(q: Tensor, k: Tensor, v: Tensor, sink: Tensor | None) -> Tensor:
    """A slot of zeros in front of keys and values, and a mask for every query, key and head."""
    if sink is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    batch, heads, length, width = q.shape
    zero = k.new_zeros(batch, heads, 1, width)
    causal = torch.ones(length, length, dtype=torch.bool, device=q.device).tril()
    bias = torch.where(causal, 0.0, -torch.inf).expand(batch, heads, -1, -1)
    slot = sink.view(1, heads, 1, 1).expand(batch, -1, length, 1)
    mask = torch.cat([slot, bias], dim=-1).to(q.dtype)
    k, v = torch.cat([zero, k], dim=2), torch.cat([zero, v], dim=2)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def flash_attention(q: Tensor, k: Tensor, v: Tensor, sink: Tensor | None) -> Tensor:
    """What a plain dense model uses: torch's own attention, no sink."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


@contextmanager
def kernels(attention: Callable[..., Tensor] = sink_attention) -> Iterator[None]:
    """Our transformer with the published operations in place of ours."""
    ours = transformer.abs_topk, transformer.sink_attention, layers.rms_norm
    transformer.abs_topk, transformer.sink_attention = abs_topk, attention
    layers.rms_norm = lambda x, gain: F.rms_norm(x, gain.shape, gain)
    try:
        yield
    finally:
        transformer.abs_topk, transformer.sink_attention, layers.rms_norm = ours


def normalise(parameters: list[Tensor]) -> None:
    """Divide every gradient by the RMS of all."""
    total = sum(float(p.grad.square().sum()) for p in parameters if p.grad is not None)
    rms = (total / sum(p.numel() for p in parameters)) ** 0.5
    for p in parameters:
        if p.grad is not None:
            p.grad.div_(rms + RMS_GUARD)


def finish_step(
    network: Transformer, optimizer: torch.optim.Optimizer, config: TrainConfig, step: int
) -> None:
    """Gradient RMS, Adam, projection and decay, tensor by tensor."""
    rate = learning_rate_at(config, step)
    for group in optimizer.param_groups:
        group["lr"] = rate
    normalise(list(network.parameters()))
    optimizer.step()
    q = pfrac_at(config, step)
    for name, p in network.named_parameters():
        kind = name.split(".")[-2] if "." in name else name
        if kind in FLOOR_AXIS and p.ndim == 2:
            keep = int(block_density(config, q) * p.numel())
            keep_largest_(p.data, keep, config.floor, FLOOR_AXIS[kind])
        elif kind in ("wte", "lm_head"):
            keep_largest_(p.data, int(embedding_density(config, q) * p.numel()))
    with torch.no_grad():
        for name, p in network.named_parameters():
            if p.ndim == 2 and name != "bigram":
                p.mul_(1 - config.weight_decay * rate)
    optimizer.zero_grad(set_to_none=False)
