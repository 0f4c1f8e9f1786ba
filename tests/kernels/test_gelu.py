"""GELU in blocks: the values of torch's own, gradients where they are asked for, few sizes."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from lacewing.kernels.gelu import BLOCK, gelu


@pytest.mark.parametrize(
    "shape", [(0,), (1,), (3, 5), (BLOCK,), (2, BLOCK), (3, BLOCK // 2 + 7), (1000, 301)]
)
def test_values(shape: tuple[int, ...]) -> None:
    """As torch's own, of every size."""
    x = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(gelu(x), F.gelu(x), rtol=0, atol=1e-7)


def test_other_layouts_and_types() -> None:
    """Transposed, double, bfloat16."""
    x = torch.randn(70, 300, generator=torch.Generator().manual_seed(0))
    for given in (x.T, x.double(), x.bfloat16(), x[:, ::2]):
        found = gelu(given)
        assert found.dtype == given.dtype
        torch.testing.assert_close(found, F.gelu(given))


def test_gradients() -> None:
    """Where they are asked for they come."""
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), requires_grad=True)
    gelu(x).sum().backward()
    expected = torch.autograd.functional.jacobian(lambda y: F.gelu(y).sum(), x.detach())
    torch.testing.assert_close(x.grad, expected)


class Sizes(TorchDispatchMode):
    """Writes down the sizes that torch's GELU is asked for."""

    def __init__(self) -> None:
        """None yet."""
        super().__init__()
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        """Note it, and go on."""
        if "gelu" in str(func):
            self.seen.add(args[0].numel())
        return func(*args, **(kwargs or {}))


def test_few_sizes() -> None:
    """Two hundred shapes ask for no more sizes than there are powers of two."""
    with Sizes() as sizes, torch.no_grad():
        for rows in range(1, 1001, 5):
            gelu(torch.zeros(rows, 130))
    assert len(sizes.seen) <= 17
    assert max(sizes.seen) == BLOCK
