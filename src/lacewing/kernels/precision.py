"""Whether bfloat16 products are worth it on a device.

Without instructions for it every element is converted. A product then takes 4 to 15 times as long
as in float32: AMD EPYC with AVX2, and Intel Xeon of 2021 (4 to 5 times, torch 2.13), which has
AVX-512 but not its bfloat16. OneDNN says that it supports bfloat16 there too: it alone is no judge.
"""

import platform

import torch

INSTRUCTIONS = ("avx512_bf16", "amx_tile")
"""What torch calls the instructions that multiply bfloat16."""


def half_pays(device: str) -> bool:
    """Whether a type of device ("cpu", "cuda", ...) multiplies bfloat16 faster than float32."""
    if device != "cpu":
        return True
    if torch.backends.cpu.get_cpu_capability() == "AVX2":  # has no more, or is held to it
        return False
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(supported and supported()) and _multiplies_half()


def _multiplies_half() -> bool:
    """Whether an x86 processor has instructions for bfloat16 products; others are believed."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    known = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in INSTRUCTIONS)
    asked = [name() for name in known if name is not None]
    return any(asked) if asked else True
