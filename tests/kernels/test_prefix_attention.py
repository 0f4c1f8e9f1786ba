"""Attention over shared beginnings against every sequence written out, one after the other."""

import pytest
import torch

from lacewing.ablation.prefixes import UniquePrefixes
from lacewing.kernels.prefix_attention import (
    Layout,
    prefix_attention,
    prefix_attention_reference,
)
from lacewing.kernels.sink_attention import sink_attention_reference

HEADS = 3


def layouts() -> list[tuple[Layout, int, int]]:
    """Of sequences that share much, and one twice: layout, queries and keys."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 3, (6, 41), generator=generator)
    tokens[1, :20], tokens[3, :5], tokens[5] = tokens[0, :20], tokens[2, :5], tokens[4]
    last = torch.tensor([40, 38, 7, 25, 30, 30])
    prefixes = UniquePrefixes.of(tokens, last)
    count = len(prefixes.tokens)
    return [(prefixes.own, count, count), (prefixes.at_ends, len(last), count)]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("sink", [True, False])
@pytest.mark.parametrize("size", [16, 32])
def test_value_and_gradients_equal_the_reference(which: int, sink: bool, size: int) -> None:
    """Output and the gradients of q, k, v and the sink logits are those of the written-out form."""
    layout, queries, keys = layouts()[which]
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randn(n, HEADS * size, generator=generator) for n in (queries, keys, keys)]
    results = []
    for function in (prefix_attention_reference, prefix_attention):
        tensors = [t.clone().requires_grad_() for t in drawn]
        logits = torch.tensor([-2.0, 0.0, 3.0]).requires_grad_() if sink else None
        out = function(*tensors, logits, layout, HEADS)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        slopes = [t.grad for t in (*tensors, logits) if t is not None]
        results.append([out.detach(), *slopes])
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("which", [0, 1])
def test_bf16_is_the_same_up_to_its_rounding(which: int) -> None:
    """In bfloat16 values and gradients are off by a few parts in a hundred at most."""
    layout, queries, keys = layouts()[which]
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randn(n, HEADS * 16, generator=generator) for n in (queries, keys, keys)]
    results = []
    for kind in (torch.float32, torch.bfloat16):
        tensors = [t.clone().to(kind).requires_grad_() for t in drawn]
        out = prefix_attention(*tensors, torch.zeros(HEADS), layout, HEADS)
        assert out.dtype == kind
        out.float().square().sum().backward()
        results.append([out.detach().float(), *(t.grad.float() for t in tensors)])
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, atol=0.15, rtol=0.05)


def test_the_reference_is_attention_over_whole_sequences() -> None:
    """A sequence that shares nothing has what plain attention gives it."""
    generator = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(9, HEADS * 8, generator=generator) for _ in range(3))
    layout = Layout(torch.arange(9)[None], torch.tensor([[0, 0, 9]]))
    found = prefix_attention_reference(q, k, v, None, layout, HEADS)
    plain = (t.view(9, HEADS, 8).transpose(0, 1)[None] for t in (q, k, v))
    expected = sink_attention_reference(*plain, None)[0].transpose(0, 1).flatten(1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("sink", [True, False])
def test_heads_that_are_off_or_have_no_gradient(which: int, sink: bool) -> None:
    """One head has the same query, key and value everywhere; of another nobody asks anything."""
    layout, queries, keys = layouts()[which]
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randn(n, HEADS * 16, generator=generator) for n in (queries, keys, keys)]
    for values in drawn:
        values[:, 16:32] = values[0, 16:32]
    results = []
    for function in (prefix_attention_reference, prefix_attention):
        tensors = [t.clone().requires_grad_() for t in drawn]
        logits = torch.tensor([-2.0, 0.5, 3.0]).requires_grad_() if sink else None
        out = function(*tensors, logits, layout, HEADS)
        given = torch.linspace(-1, 1, out.numel()).view_as(out).clone()
        given[:, :16] = 0
        (out * given).sum().backward()
        slopes = [t.grad for t in (*tensors, logits) if t is not None]
        results.append([out.detach(), *slopes])
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, atol=2e-5, rtol=2e-5)
