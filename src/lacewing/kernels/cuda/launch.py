"""What all Triton kernels share: how one is made and how wide its blocks are."""

import inspect
from collections.abc import Callable
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
