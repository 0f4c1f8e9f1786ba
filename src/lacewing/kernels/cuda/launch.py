"""What all Triton kernels share: how one is made and how wide its blocks are."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import triton

TL_TYPE = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}
"""The integer of the same size as a float: its bits without the sign order like its magnitude."""


def jit(function: Callable[..., None]) -> Any:
    """`triton.jit` of the plain function; run-time type checks that wrap it are taken off."""
    return triton.jit(inspect.unwrap(function))


def power_of_two(size: int) -> int:
    """The least power of two that is no smaller; Triton's blocks have such sizes."""
    return 1 << max(0, size - 1).bit_length()


def upload(table: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A small table on the device, sent without waiting for what runs there."""
    if device.type == "cpu":
        return table
    return table.pin_memory().to(device, non_blocking=True)


def chunks(sizes: Sequence[int], chunk: int) -> torch.Tensor:
    """Which program reads what: of each, the number of its tensor and its chunk's number there."""
    counts = torch.tensor([-(-size // chunk) for size in sizes])
    tensor = torch.repeat_interleave(torch.arange(len(sizes)), counts)
    before = torch.cumsum(counts, 0) - counts
    return torch.stack([tensor, torch.arange(len(tensor)) - before[tensor]]).int()
