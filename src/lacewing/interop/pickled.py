"""The one place where files of `torch.save` are read: tensors and plain values, never code.

A pickle is a program. `torch.load(weights_only=True)` runs none of it: what is not a tensor or a
plain value stops the reading. Tensors are then looked at before anybody makes something of their
size: a file may claim a tensor far larger than itself.
"""

import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lacewing.errors import ArtifactError, did_you_mean

LARGEST = 2**36
"""Bytes of the largest file that is read: many times a released model."""


def read_pickled(path: Path) -> Any:
    """The plain values and tensors of a file of `torch.save`.

    Raises:
        ArtifactError: missing, cut short, of another format, or with code in it, of which nothing
            was run.
    """
    if not path.is_file():
        raise ArtifactError(f"no file at {path}")
    if not 0 < path.stat().st_size <= LARGEST:
        raise ArtifactError(f"{path} has {path.stat().st_size:,} bytes: cut short, or no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles of other kinds, which are refused below
            # Mapped, so that a large file is in memory once; the old format cannot be.
            found = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except MemoryError as error:
        raise ArtifactError(f"{path} does not fit into memory") from error
    except Exception as error:  # unpickling raises whatever a damaged file leads to
        raise ArtifactError(
            f"{path} cannot be read: it is damaged, no file of torch.save, or holds more than "
            "tensors and plain values; nothing in it was run"
        ) from error
    for tensor in _tensors(found):
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_complex():
            raise ArtifactError(
                f"{path} holds a {tensor.layout} tensor of {tensor.dtype} on {tensor.device}: "
                "dense numbers are wanted"
            )
        # An expanded tensor has many entries and few bytes: made whole, it could fill the memory.
        if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            raise ArtifactError(
                f"{path}: a tensor of shape {tuple(tensor.shape)} claims more values than the file "
                "holds: damaged"
            )
    return found


def _tensors(found: object) -> Iterator[Tensor]:
    """Every tensor in plain values, which may hold themselves."""
    left, seen = [found], set[int]()
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, Mapping):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            left += value


def state_dict(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a file by name.

    Args:
        path: The file.
        prefix: What every name may begin with, which is taken off.

    Raises:
        ArtifactError: as `read_pickled`; or the file holds something else than named tensors.
    """
    found = read_pickled(path)
    if isinstance(found, Tensor):
        raise ArtifactError(
            f"{path} holds one bare tensor of shape {tuple(found.shape)}: a state dict is wanted, "
            "tensors by name"
        )
    if not isinstance(found, Mapping) or not found:
        raise ArtifactError(f"{path} holds a {type(found).__name__}, not tensors by name")
    named: dict[str, Tensor] = {}
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ArtifactError(
                f"{path}: entry {str(key)!r:.80} is a {type(value).__name__}, not a tensor: "
                "this is no state dict"
            )
        named[key] = value.detach()
    if prefix and all(key.startswith(prefix) for key in named):
        named = {key.removeprefix(prefix): value for key, value in named.items()}
    return named


def checked(
    found: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    where: Path,
    may_lack: Collection[str] = (),
) -> dict[str, Tensor]:
    """The tensors that are expected, as float32, after all of them were looked at.

    Args:
        found: What the file holds.
        shapes: Every name that may be there, with its shape.
        where: The file, as named in errors.
        may_lack: Names that may be missing.

    Raises:
        ArtifactError: a name is missing or unknown, a shape or a type is another, a value is not
            finite; naming it.
    """
    for name in shapes:
        if name not in found and name not in may_lack:
            raise ArtifactError(f"{where} lacks {name}, which its configuration asks for")
    for name, tensor in found.items():
        if name not in shapes:
            raise ArtifactError(
                f"{where} has {name!r:.80}, which its configuration does not ask for; "
                f"{did_you_mean(name, shapes)}nothing was written"
            )
        _check(name, tensor, shapes[name], where)
    return {
        name: tensor.to(torch.float32, copy=True).contiguous() for name, tensor in found.items()
    }


def _check(name: str, tensor: Tensor, shape: tuple[int, ...], where: Path) -> None:
    if tuple(tensor.shape) != shape:
        raise ArtifactError(
            f"{where}: {name} is {tuple(tensor.shape)}, its configuration says {shape}"
        )
    if tensor.layout != torch.strided or not tensor.is_floating_point():
        raise ArtifactError(
            f"{where}: {name} is {tensor.layout} of {tensor.dtype}: dense floats are wanted"
        )
    if not bool(torch.isfinite(tensor).all()):
        raise ArtifactError(f"{where}: {name} has values that are not finite: damaged")
