"""Whether bfloat16 products are worth it on a device.

Processors without instructions for bfloat16 or at least AVX-512 convert every element: a product
then takes 4 to 15 times as long as in float32 (AMD EPYC with AVX2, torch 2.13).
"""

import torch


def half_pays(device: str) -> bool:
    """Whether a type of device ("cpu", "cuda", ...) multiplies bfloat16 faster than float32."""
    if device != "cpu":
        return True
    if torch.backends.cpu.get_cpu_capability() == "AVX2":  # has no more, or is held to it
        return False
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(supported and supported())
