"""AbsTopK in Triton against a full stable sort of every row."""

import pytest
import torch
from torch import Tensor

from lacewing.kernels.abs_topk import abs_topk_reference

INTEGER = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}
DTYPES = list(INTEGER)


def rows(width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Ordinary rows, and the ones that go wrong: all equal, zeros of both signs, many ties."""
    generator = torch.Generator().manual_seed(width)
    x = torch.randn(6, width, generator=generator).to(dtype)
    x[1] = -1.5
    x[2] = 0.0
    x[2, ::2] = -0.0
    x[3] = torch.randint(-2, 3, (width,), generator=generator).to(dtype)
    x[4] = 1e30 if dtype != torch.float16 else 6e4
    x[4, width // 2] = torch.inf
    x[5] = x[5] * 1e-40 if dtype == torch.float32 else x[5] * 1e-7
    return x.to(device)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors agree in every bit, signs of zero included."""
    return a.shape == b.shape and torch.equal(a.view(INTEGER[a.dtype]), b.view(INTEGER[b.dtype]))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [2, 7, 64, 513])
def test_forward_equals_the_reference(width: int, dtype: torch.dtype, device: torch.device) -> None:
    """For every kind of row, and from one entry kept to all but one, all bits agree."""
    from lacewing.kernels.cuda import abs_topk as cuda

    x = rows(width, dtype, device)
    for k in sorted({1, width // 4 or 1, width // 2, width - 1}):
        assert same_bits(abs_topk_reference(x, k), cuda.forward(x, k))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_wide_rows(dtype: torch.dtype, device: torch.device) -> None:
    """8,192 entries and one more than a power of two are selected in one block."""
    from lacewing.kernels.cuda import abs_topk as cuda

    for width in (4097, 8192):
        x = rows(width, dtype, device)
        assert same_bits(abs_topk_reference(x, width // 4), cuda.forward(x, width // 4))


def test_rows_that_lie_apart(device: torch.device) -> None:
    """A split tensor is read where it is, and a transposed one too."""
    from lacewing.kernels.cuda import abs_topk as cuda

    whole = torch.randn(3, 5, 48, device=device)
    for part in (*whole.split(16, dim=-1), whole.transpose(1, 2)):
        assert same_bits(abs_topk_reference(part, 4), cuda.forward(part, 4))


def test_no_rows(device: torch.device) -> None:
    """An empty batch gives an empty output."""
    from lacewing.kernels.cuda import abs_topk as cuda

    x = torch.empty(0, 8, device=device)
    assert x.shape == cuda.forward(x, 2).shape
    assert x.shape == cuda.backward(x, x).shape


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradient_flows_through_what_is_kept(dtype: torch.dtype, device: torch.device) -> None:
    """The gradient is the incoming one where the output is not zero, and 0 elsewhere."""
    from lacewing.kernels.cuda import abs_topk as cuda

    x = rows(65, dtype, device)
    out, grad = cuda.forward(x, 9), torch.randn(6, 65, device=device).to(dtype)
    assert torch.equal(grad.masked_fill(out == 0, 0), cuda.backward(grad, out))


def test_widths_it_covers(device: torch.device) -> None:
    """Rows up to 8,192 and the three floating types are covered; wider rows and doubles are not."""
    from lacewing.kernels.cuda import abs_topk as cuda

    assert all(cuda.covers(torch.empty(1, 8192, dtype=dtype)) for dtype in DTYPES)
    assert not cuda.covers(torch.empty(1, cuda.WIDEST_ROW + 1))
    assert not cuda.covers(torch.empty(1, 8, dtype=torch.float64))


def test_autograd_and_compile(device: torch.device) -> None:
    """It knows its own gradient, and a compiled graph holds it whole."""
    from lacewing.kernels.cuda import abs_topk as cuda

    def run(x: Tensor) -> Tensor:
        return (cuda.forward(x * 2, 3) * x).sum()

    x = torch.randn(4, 16, generator=torch.Generator().manual_seed(0)).to(device)
    gradients = []
    for function in (
        lambda x: (abs_topk_reference(x * 2, 3) * x).sum(),
        run,
        torch.compile(run, backend="aot_eager", fullgraph=True),
    ):
        leaf = x.clone().requires_grad_()
        function(leaf).backward()
        gradients.append(leaf.grad)
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[0], gradients[2])
