"""The layers: norms, and linear maps that can be told which of their weights are not zero.

Who knows that the weights will not change for a while says so, with `sparse_products`: the products
then go through the nonzeros alone, forward and backward, wherever that is faster. Without it a map
is an ordinary one, so a weight set by hand is never overlooked.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lacewing.kernels.crossover import crossover
from lacewing.kernels.rms_norm import rms_norm
from lacewing.kernels.sparse_linear import SparseWeight, sparse_linear


class _Undrawn(TorchFunctionMode):
    """Weights without values are not drawn: on the meta device torch loads a compiler for it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return named["tensor"] if "tensor" in named else args[0]
        return func(*args, **named)


@contextmanager
def shapes_alone() -> Iterator[None]:
    """Networks made in the block have names and shapes, and nothing of their size in memory."""
    with torch.device("meta"), _Undrawn():
        yield


@runtime_checkable
class HasModules(Protocol):
    """A network, as far as its layers are looked for."""

    def modules(self) -> Iterator[nn.Module]:
        """Its parts, as torch has them."""


class RMSNorm(nn.RMSNorm):
    """`torch.nn.RMSNorm` in one pass."""

    def forward(self, x: Tensor) -> Tensor:
        """X gain / root mean square."""
        return rms_norm(x, self.weight)


class Linear(nn.Linear):
    """`torch.nn.Linear`, with the nonzeros of its weight where they are known."""

    sparse: SparseWeight | None = None

    def forward(self, input: Tensor) -> Tensor:
        """X W^T + b."""
        return sparse_linear(input, self.weight, self.bias, self.sparse)


def find_nonzeros(network: HasModules, sample: slice | None = None) -> None:
    """Look up the nonzeros of every sparse enough map; call it again after each change.

    Args:
        network: Its maps are told.
        sample: Tokens of the next batch that the gradients of zero weights are estimated from.
    """
    for module in network.modules():
        if isinstance(module, Linear):
            module.sparse = _nonzeros(module.weight)
            if module.sparse is not None:
                module.sparse.sample = sample


def forget_nonzeros(network: HasModules) -> None:
    """Make every map an ordinary one again."""
    for module in network.modules():
        if isinstance(module, Linear):
            module.sparse = None


@contextmanager
def sparse_products(network: HasModules) -> Iterator[None]:
    """Products through the nonzeros, while nobody changes the weights; blocks may be nested."""
    if any(isinstance(m, Linear) and m.sparse is not None for m in network.modules()):
        yield
        return
    find_nonzeros(network)
    try:
        yield
    finally:
        forget_nonzeros(network)


def _nonzeros(weight: Tensor) -> SparseWeight | None:
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return None
    density = torch.count_nonzero(weight).item() / weight.numel()
    return SparseWeight(weight) if density <= crossover() else None
