"""Tensors: safetensors files, whose names, shapes, types and values are looked at before use."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lacewing.artifacts.files import read_bytes, write_bytes
from lacewing.errors import ArtifactError

if TYPE_CHECKING:
    from torch import Tensor, dtype

Shape = tuple[int, ...]


def write_tensors(
    path: Path, tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file in one step."""
    write_bytes(path, tensor_bytes(tensors, metadata))


def tensor_bytes(
    tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str] | None = None
) -> bytes:
    """The content of a safetensors file."""
    from safetensors.torch import save

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(whole, dict(metadata) if metadata else None)


def read_tensors(path: Path) -> dict[str, "Tensor"]:
    """Read a safetensors file.

    Raises:
        ArtifactError: missing, truncated, or of another format.
    """
    return parse_tensors(read_bytes(path), path)


def parse_tensors(content: bytes, where: Path) -> dict[str, "Tensor"]:
    """The tensors in the content of a safetensors file, by name; `where` is named in the error.

    safetensors itself gives them in another order each time.
    """
    from safetensors.torch import load

    with _safetensors(where):
        return dict(sorted(load(content).items()))


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; empty if it has none."""
    content = read_bytes(path)
    parse_tensors(content, path)  # whole
    return parse_metadata(content, path)


def parse_metadata(content: bytes, where: Path) -> dict[str, str]:
    """The metadata in the content of a safetensors file, which `parse_tensors` has accepted."""
    with _safetensors(where):
        length = int.from_bytes(content[:8], "little")
        found = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
        return {str(key): str(value) for key, value in found.items()}


def check_tensors(
    tensors: Mapping[str, "Tensor"],
    where: Path,
    shapes: Mapping[str, Shape],
    types: "Collection[dtype]",
) -> None:
    """Refuse tensors that are not those a file has to hold.

    Args:
        tensors: What it holds.
        where: The file, for the error.
        shapes: What it has to hold, exactly.
        types: Element types, one of which each tensor has to have.

    Raises:
        ArtifactError: naming the first tensor that is missing, unknown, of another shape or type,
            or holds a number that is not finite.
    """
    for name in sorted(shapes.keys() ^ tensors.keys()):
        which = "is unknown here" if name in tensors else "is missing"
        raise ArtifactError(f"{where} holds the tensors of another model: {name[:80]!r} {which}")
    for name, shape in shapes.items():
        found = tensors[name]
        if tuple(found.shape) != shape:
            raise ArtifactError(
                f"{where}: {name} is {tuple(found.shape)} in the file, {shape} by its "
                "configuration: of another model"
            )
        check_values(found, where, name, types)


def check_values(tensor: "Tensor", where: Path, name: str, types: "Collection[dtype]") -> None:
    """Refuse a tensor of another element type, or with a number that is not finite."""
    if tensor.dtype not in types:
        known = " or ".join(str(t).removeprefix("torch.") for t in types)
        raise ArtifactError(
            f"{where}: {name} holds {str(tensor.dtype).removeprefix('torch.')}, not {known}: "
            "damaged or foreign"
        )
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        raise ArtifactError(f"{where}: {name} holds numbers that are not finite: damaged")


@contextmanager
def _safetensors(where: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ArtifactError(f"{where} is truncated or no safetensors file ({error})") from error
