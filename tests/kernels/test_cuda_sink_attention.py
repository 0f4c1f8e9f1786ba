"""Attention with a sink in Triton against every score written out, in double precision."""

import os

import pytest
import torch
from torch import Tensor

from lacewing.kernels.sink_attention import sink_attention_reference

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def inputs(
    length: int, width: int, sink: bool, dtype: torch.dtype, device: torch.device
) -> list[Tensor | None]:
    """Queries, keys and values as a model has them, heads side by side, and sink logits."""
    draw = torch.Generator().manual_seed(length * width)
    heads = [torch.randn(2, length, 3, width, generator=draw).to(device, dtype) for _ in range(3)]
    logits = torch.tensor([-2.0, 0.0, 3.0], device=device) if sink else None
    return [*(h.transpose(1, 2) for h in heads), logits]


def compare(length: int, width: int, sink: bool, dtype: torch.dtype, device: torch.device) -> None:
    """Output and gradients of queries, keys, values and sinks, each within its rounding."""
    from lacewing.kernels.cuda import sink_attention as cuda

    tensors = inputs(length, width, sink, dtype, device)
    assert cuda.covers(*(t for t in tensors[:3] if t is not None))
    results = []
    for function, exact in ((sink_attention_reference, True), (cuda.sink_attention, False)):
        leaves = [
            None if t is None else (t.double() if exact else t).detach().requires_grad_()
            for t in tensors
        ]
        out = function(*leaves)
        slope = torch.linspace(-1, 1, out.numel(), device=device).view_as(out)
        (out * slope.to(out.dtype)).sum().backward()
        results.append([out.detach(), *(t.grad for t in leaves if t is not None)])
    for right, ours in zip(*results, strict=True):
        assert right.shape == ours.shape
        error = float((right - ours.double()).norm()) / float(right.norm())
        assert error < TOLERANCE[dtype]


@pytest.mark.parametrize("sink", [True, False])
@pytest.mark.parametrize(("length", "width"), [(1, 8), (9, 24), (33, 16), (70, 128), (130, 64)])
def test_single_precision(length: int, width: int, sink: bool, device: torch.device) -> None:
    """Any length and width of heads; the gradients are those of double precision autograd."""
    if length > 1 or sink:  # one token without a sink has no gradient but its value's
        compare(length, width, sink, torch.float32, device)


@pytest.mark.parametrize(("length", "width"), [(100, 16), (257, 32), (64, 128)])
def test_half_precision(length: int, width: int, device: torch.device) -> None:
    """The same with operands of 16 bits, whose blocks are larger."""
    compare(length, width, True, torch.float16, device)


@pytest.mark.parametrize(("length", "width"), [(100, 16), (257, 64)])
def test_bfloat16(length: int, width: int, device: torch.device) -> None:
    """The same in bfloat16."""
    if "TRITON_INTERPRET" in os.environ:
        pytest.skip("Triton's interpreter multiplies the bits of bfloat16 matrices as integers")
    compare(length, width, True, torch.bfloat16, device)


def test_heads_of_a_model_come_out_side_by_side(device: torch.device) -> None:
    """Flattening the heads of a token copies nothing."""
    from lacewing.kernels.cuda import sink_attention as cuda

    q, k, v, sink = inputs(9, 8, True, torch.float32, device)
    assert q is not None
    assert k is not None
    assert v is not None
    out = cuda.sink_attention(q, k, v, sink)
    assert out.data_ptr() == out.transpose(1, 2).flatten(2).data_ptr()


def test_what_it_covers() -> None:
    """Heads of up to 128 channels, all alike, of 16 or 32 bits."""
    from lacewing.kernels.cuda import sink_attention as cuda

    q, wide = torch.zeros(1, 1, 2, 128), torch.zeros(1, 1, 2, 129)
    assert cuda.covers(q, q, q)
    assert not cuda.covers(wide, wide, wide)
    assert not cuda.covers(q.double(), q.double(), q.double())
    assert not cuda.covers(q, q, q.half())


def test_a_compiled_graph_holds_it_whole(device: torch.device) -> None:
    """Compiled, value and gradients are the same."""
    from lacewing.kernels.cuda import sink_attention as cuda

    results = []
    for function in (
        cuda.sink_attention,
        torch.compile(cuda.sink_attention, backend="aot_eager", fullgraph=True),
    ):
        tensors = inputs(20, 8, True, torch.float32, device)
        leaves = [t.detach().requires_grad_() for t in tensors if t is not None]
        out = function(*leaves)
        out.square().sum().backward()
        results.append([out.detach(), *(leaf.grad for leaf in leaves)])
    for plain, compiled in zip(*results, strict=True):
        assert torch.equal(plain, compiled)
