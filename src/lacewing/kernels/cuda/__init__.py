"""The hot operations on a GPU, one file each, in Triton; loaded only when a CUDA tensor arrives.

Triton comes with torch's CUDA wheels on Linux. Without it, or where a version does not cover a
case, the dispatching functions of `lacewing.kernels` warn once and take their plain reference.
Every file imports triton; nothing here is imported by lacewing on a CPU.
"""

import functools
import importlib.util
import warnings

TRITON = importlib.util.find_spec("triton") is not None
"""Whether Triton can be imported; asked here because it is too slow and too odd to trace."""


def available() -> bool:
    """Whether the Triton versions can be imported; warns, once, where they cannot."""
    if not TRITON:
        fall_back("triton is not installed")
    return TRITON


@functools.cache
def fall_back(reason: str) -> None:
    """Warn, once per reason, that a plain and slower version runs."""
    warnings.warn(
        f"{reason}: the plain PyTorch version runs on this GPU, correct but slower",
        RuntimeWarning,
        stacklevel=3,
    )
