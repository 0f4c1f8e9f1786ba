"""GELU of values that need no gradient, in blocks of few sizes.

OneDNN, which torch asks on a processor, compiles a loop for every shape that it has not seen and
keeps a thousand of them. Where shapes are always new (texts as they come, prompts of which only
what differs runs) that takes time, and what it keeps lies between large blocks and breaks up the
heap: a monitor grew to 3.7 GB over two million tokens. Element by element the values are the same.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

BLOCK = 2**16
"""Elements at a time; what is left over is filled up to the next power of two."""


def gelu(x: Float[Tensor, "*row"]) -> Float[Tensor, "*row"]:
    """GELU, exact (by the error function).

    Example:
        >>> gelu(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.1587,  0.0000,  0.8413])
    """
    if x.device.type != "cpu" or (x.requires_grad and torch.is_grad_enabled()):
        return F.gelu(x)
    flat = x.contiguous().view(-1)
    out, whole = torch.empty_like(flat), len(flat) // BLOCK * BLOCK
    for start in range(0, whole, BLOCK):
        torch.ops.aten.gelu.out(flat[start : start + BLOCK], out=out[start : start + BLOCK])
    if left := len(flat) - whole:
        filled = flat.new_zeros(1 << (left - 1).bit_length())
        filled[:left] = flat[whole:]
        out[whole:] = F.gelu(filled)[:left]
    return out.view(x.shape)
