"""The compact form of a model file: what is zero is not written, and nothing is lost.

A matrix that is mostly zero becomes three tensors, row by row (CSR):

    NAME.count   nonzeros of each row, uint16
    NAME.column  their columns, uint16
    NAME.value   their values, bfloat16 where every one of them fits exactly, else float32

so the file's size follows the nonzeros. A weight is written when any of its bits is set, so that
even -0.0 comes back to the bit. Dense tensors are written whole, as bfloat16 where that is exact.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from lacewing.artifacts import check_tensors, check_values
from lacewing.errors import ArtifactError

TYPES = (torch.float32, torch.bfloat16)
"""What weights are written as."""
PARTS = ("count", "column", "value")
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


def unpack(
    packed: Mapping[str, Tensor],
    written: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    where: Path,
) -> dict[str, Tensor]:
    """The float32 tensors that `pack` was given.

    Args:
        packed: The compact tensors.
        written: Their metadata: the shapes of those that are not written whole.
        shapes: What they have to be, by the model's configuration.
        where: The file, for errors.

    Raises:
        ArtifactError: tensors of another model, or none that `pack` makes; nothing of the size that
            a damaged file asks for is made.
    """
    sparse = {name: shapes[name] for name in written.keys() & shapes.keys()}
    for name, shape in sparse.items():
        if written[name] != "x".join(map(str, shape)):
            raise ArtifactError(
                f"{where}: {name} is {written[name][:40]} in the file, {shape} by its "
                "configuration: of another model"
            )
    for name in sorted(written.keys() - shapes.keys()):
        raise ArtifactError(f"{where} holds the tensors of another model: {name[:80]!r} is unknown")
    parts = {f"{name}.{part}" for name in sparse for part in PARTS}
    wholes = {name: t for name, t in packed.items() if name not in parts}
    rest = {name: shape for name, shape in shapes.items() if name not in sparse}
    check_tensors(wholes, where, rest, TYPES)
    tensors = {name: t.to(torch.float32, copy=True) for name, t in wholes.items()}
    for name, shape in sparse.items():
        tensors[name] = _spread(packed, name, shape, where)
    return tensors


def _spread(packed: Mapping[str, Tensor], name: str, shape: tuple[int, ...], where: Path) -> Tensor:
    """One matrix, from the counts, columns and values of its nonzeros."""
    found = [packed.get(f"{name}.{part}") for part in PARTS]
    counts, columns, values = (torch.zeros(0) if part is None else part for part in found)
    known = counts.dtype == columns.dtype == torch.uint16 and counts.shape == shape[:1]
    fitting = known and columns.ndim == 1 and columns.shape == values.shape
    if not fitting or int((rows := counts.long()).sum()) != len(values):
        raise ArtifactError(f"{where} is no compact lacewing model ({name}): damaged or foreign")
    check_values(values, where, name, TYPES)
    column = columns.long()
    if len(column) and int(column.max()) >= shape[1]:
        raise ArtifactError(f"{where}: {name} has a column beyond {shape[1]}: damaged or foreign")
    row = torch.arange(shape[0]).repeat_interleave(rows)
    whole = torch.zeros(shape)
    whole[row, column] = values.float()
    return whole


def _narrow(values: Tensor) -> Tensor:
    half = values.bfloat16()
    return half if torch.equal(half.float().view(torch.int32), values.view(torch.int32)) else values
