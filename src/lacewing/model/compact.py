"""The compact form of a model file: what is zero is not written, and nothing is lost.

A matrix that is mostly zero becomes three tensors, row by row (CSR):

    NAME.count   nonzeros of each row, uint16
    NAME.column  their columns, uint16
    NAME.value   their values, bfloat16 where every one of them fits exactly, else float32

so the file's size follows the nonzeros. A weight is written when any of its bits is set, so that
even -0.0 comes back to the bit. Dense tensors are written whole, as bfloat16 where that is exact.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

DENSEST = 0.5
"""Share of nonzeros above which a matrix is written whole."""


def pack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The compact tensors of a model, and the metadata (shapes) needed to unpack them."""
    packed: dict[str, Tensor] = {}
    shapes: dict[str, str] = {}
    for name, tensor in tensors.items():
        written = tensor.contiguous().view(torch.int32) != 0
        if tensor.ndim != 2 or written.float().mean() > DENSEST or tensor.shape[1] > 2**16:
            packed[name] = _narrow(tensor.contiguous())
            continue
        shapes[name] = "x".join(map(str, tensor.shape))
        packed[f"{name}.count"] = written.sum(1).to(torch.uint16)
        packed[f"{name}.column"] = written.nonzero()[:, 1].to(torch.uint16)
        packed[f"{name}.value"] = _narrow(tensor[written])
    return packed, shapes


def unpack(packed: Mapping[str, Tensor], shapes: Mapping[str, str]) -> dict[str, Tensor]:
    """The float32 tensors that `pack` was given."""
    tensors = {}
    for name, shape in shapes.items():
        rows, columns = map(int, shape.split("x"))
        row = torch.arange(rows).repeat_interleave(packed[f"{name}.count"].long())
        whole = torch.zeros(rows, columns)
        whole[row, packed[f"{name}.column"].long()] = packed[f"{name}.value"].float()
        tensors[name] = whole
    parts = {f"{name}.{part}" for name in shapes for part in ("count", "column", "value")}
    whole_tensors = {name: t.float() for name, t in packed.items() if name not in parts}
    return tensors | whole_tensors


def _narrow(values: Tensor) -> Tensor:
    half = values.bfloat16()
    return half if torch.equal(half.float().view(torch.int32), values.view(torch.int32)) else values
