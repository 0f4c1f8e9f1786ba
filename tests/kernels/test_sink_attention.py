"""Attention with a sink: through torch's kernels against every score written out."""

import pytest
import torch
from torch import Tensor

from lacewing.kernels.sink_attention import (
    sink_attention,
    sink_attention_at,
    sink_attention_reference,
)

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}


def inputs(
    dtype: torch.dtype, length: int = 9, sink: bool = True, width: int = 8
) -> list[Tensor | None]:
    """Queries, keys, values and sink logits of different sizes; loops of ours take 16 channels."""
    generator = torch.Generator().manual_seed(length)
    tensors: list[Tensor | None] = [
        torch.randn(2, 3, length, width, generator=generator, dtype=torch.float64).to(dtype)
        for _ in range(3)
    ]
    logits = torch.tensor([-2.0, 0.0, 3.0], dtype=dtype) if sink else None
    return [*tensors, logits]


@pytest.mark.parametrize(("length", "width"), [(9, 8), (9, 16), (33, 32)])
@pytest.mark.parametrize("sink", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_value_and_gradients_equal_the_reference(
    dtype: torch.dtype, sink: bool, length: int, width: int
) -> None:
    """Output and the gradients of q, k, v and the sink logits are those of the written-out form."""
    results = []
    for function in (sink_attention_reference, sink_attention):
        tensors = [
            None if t is None else t.clone().requires_grad_()
            for t in inputs(dtype, length, sink, width)
        ]
        out = function(*tensors)
        (out * torch.linspace(-1, 1, out.numel(), dtype=dtype).view_as(out)).sum().backward()
        results.append([out.detach(), *(t.grad for t in tensors if t is not None)])
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("length", [9, 150, 300, 600])
@pytest.mark.parametrize("sink", [True, False])
def test_bf16_is_the_same_up_to_its_rounding(length: int, sink: bool) -> None:
    """In bfloat16, written out or by the flash kernel, the error is a few parts in a hundred."""
    exact = sink_attention_reference(*inputs(torch.float64, length, sink))
    rounded = sink_attention(*inputs(torch.bfloat16, length, sink))
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.double(), exact, atol=0.06, rtol=0.03)


@pytest.mark.parametrize(("length", "width"), [(64, 8), (191, 8), (193, 16)])
def test_bf16_gradients_are_the_same_up_to_rounding(length: int, width: int) -> None:
    """Around the borders of its blocks of queries, gradients point where the exact ones do."""
    gradients = []
    for function, dtype in (
        (sink_attention_reference, torch.float64),
        (sink_attention, torch.bfloat16),
    ):
        tensors = inputs(dtype, length, width=width)
        leaves = [t.clone().requires_grad_() for t in tensors if t is not None]
        function(*leaves).double().square().sum().backward()
        gradients.append([t.grad.double() for t in leaves if t.grad is not None])
    for exact, rounded in zip(*gradients, strict=True):
        assert float((exact - rounded).norm()) < 0.03 * float(exact.norm())


def test_a_sink_of_logit_zero_halves_a_lone_value() -> None:
    """One token with score 0 beside a sink with logit 0: half of the value comes out."""
    q = torch.zeros(1, 1, 1, 4)
    v = torch.full((1, 1, 1, 4), 8.0)
    assert torch.equal(torch.full((1, 1, 1, 4), 4.0), sink_attention(q, q, v, torch.zeros(1)))
    assert torch.equal(v, sink_attention(q, q, v, None))


def test_no_token_sees_a_later_one() -> None:
    """A changed last token changes nothing before it."""
    q, k, v, sink = inputs(torch.float64)
    before = sink_attention(q, k, v, sink)
    for tensor in (q, k, v):
        assert tensor is not None
        tensor[:, :, -1] += 1
    after = sink_attention(q, k, v, sink)
    torch.testing.assert_close(after[:, :, :-1], before[:, :, :-1], atol=1e-13, rtol=0)
    assert not torch.equal(before[:, :, -1], after[:, :, -1])


@pytest.mark.parametrize("sink", [True, False])
def test_one_query_per_sequence(sink: bool) -> None:
    """What is asked at one token only is what the whole pattern says there, gradients too."""
    at, rows, results = torch.tensor([8, 3]), torch.arange(2), []
    for single in (False, True):
        q, k, v, logits = (
            None if t is None else t.clone().requires_grad_()
            for t in inputs(torch.float64, 9, sink)
        )
        out = (
            sink_attention_at(q[rows, :, at], k, v, logits, at)
            if single
            else sink_attention_reference(q, k, v, logits)[rows, :, at]
        )
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        results.append([out.detach(), *(t.grad for t in (q, k, v, logits) if t is not None)])
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-12, rtol=1e-12)
