"""Compile, without a GPU, every kernel that some calls would launch: for test_triton_compile.py.

    python compiled.py NAME ...      one JSON line per kernel: registers, stack, shared memory

The launcher is replaced: instead of running a kernel it makes the same specialisation (integers of
1 become constants; pointers and sizes divisible by 16 are known to be) and compiles it for Hopper.
"""

import json
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

ARCHITECTURE = 90
TYPES = {
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.int64: "i64",
    torch.int32: "i32",
    torch.int16: "i16",
    torch.float64: "fp64",
}
OPTIONS = ("num_warps", "num_stages")
seen: set[tuple[Any, ...]] = set()


def compile_only(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
    """Stands in for JITFunction.run."""
    options = {name: kwargs.pop(name) for name in OPTIONS if name in kwargs}
    values = dict(zip(self.arg_names, args, strict=False)) | kwargs
    assert set(values) == set(self.arg_names), (self.arg_names, sorted(values))
    signature, constants, hints = {}, {}, {}
    for place, (name, parameter) in enumerate(zip(self.arg_names, self.params, strict=True)):
        value = values[name]
        if parameter.is_constexpr or value is None or (type(value) is int and value == 1):
            signature[name], constants[(place,)] = "constexpr", value
        elif isinstance(value, torch.Tensor):
            signature[name] = "*" + TYPES[value.dtype]
            divisible = value.data_ptr() % 16 == 0
        elif isinstance(value, float):
            signature[name], divisible = "fp32", False
        else:
            signature[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            divisible = value % 16 == 0
        if signature[name] != "constexpr" and divisible:
            hints[(place,)] = [["tt.divisibility", 16]]
    key = (self, *signature.items(), *constants.items(), *sorted(hints), *options.items())
    if str(key) in seen:
        return
    seen.add(str(key))
    source = ASTSource(self, signature, constexprs=constants, attrs=hints)
    kernel = triton.compile(source, target=GPUTarget("cuda", ARCHITECTURE, 32), options=options)
    print(json.dumps({"kernel": self.fn.__name__, **resources(kernel)}), flush=True)


def resources(kernel: Any) -> dict[str, int]:
    """Registers and spilled bytes a thread, as the assembler counts them; shared bytes a block."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        told = subprocess.run(
            [tool, "-res-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    found = {name: int(n) for name, n in re.findall(r"(REG|STACK):(\d+)", told)}
    return {
        "registers": found["REG"],
        "stack": found["STACK"],
        "shared": kernel.metadata.shared,
    }


def abs_topk() -> None:
    """Narrow and wide rows of all types."""
    from lacewing.kernels.cuda import abs_topk

    for dtype, widths in ((torch.bfloat16, (64, 2048, 8192)), (torch.float32, (512, 8192, 8191))):
        for width in widths:
            x = torch.zeros(4, width, dtype=dtype)
            abs_topk.forward(x, width // 4)
            abs_topk.backward(x, x)


def keep_largest() -> None:
    """Matrices with and without a floor, of even and odd widths."""
    from lacewing.kernels.cuda import keep_largest

    for width in (2048, 99):
        some = [torch.zeros(width, width) for _ in range(2)]
        keep_largest.keep_largest_(some, [9 * width] * 2, [4, 4], ["row", "column"])
        keep_largest.keep_largest_(some[:1], [7])


def sink_attention() -> None:
    """The narrowest and the widest heads, forward and backward, with a sink and without."""
    from lacewing.kernels.cuda import sink_attention

    for dtype, width, sink in (
        (torch.bfloat16, 8, None),
        (torch.bfloat16, 16, torch.zeros(2)),
        (torch.bfloat16, 128, torch.zeros(2)),
        (torch.float32, 128, torch.zeros(2)),
    ):
        q, k, v = (
            torch.zeros(2, 256, 2, width, dtype=dtype).transpose(1, 2).requires_grad_()
            for _ in range(3)
        )
        sink_attention.sink_attention(q, k, v, sink).sum().backward()


def sparse_linear() -> None:
    """Both products and the support's gradient."""
    from lacewing.kernels.cuda import sparse_linear

    ends, some = torch.arange(0, 2049, 8, dtype=torch.int32), torch.zeros(2048, dtype=torch.int32)
    for dtype, tokens in ((torch.bfloat16, 4096), (torch.float32, 99)):
        x, values = torch.zeros(tokens, 256, dtype=dtype), torch.zeros(2048)
        sparse_linear.forward(x, ends, some, values, torch.zeros(256))
        sparse_linear.input_gradient(x, ends, some, values)
        sparse_linear.support_gradient(x, x, ends, some)


def adam() -> None:
    """Both passes, over aligned tensors and others."""
    from lacewing.kernels.cuda import adam

    for size in (2048, 2049):
        t = [torch.zeros(2 * size)[:size], torch.zeros(2 * size)[-size:]]
        rms = torch.zeros(())
        constants = {"rate": 0.1, "step": 1, "beta1": 0.9, "beta2": 0.9, "epsilon": 0.1}
        adam.gradient_rms(t)
        adam.update_(t, t, t, t, rms, **constants, guard=0.1, clear=size == 2048)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    JITFunction.run = compile_only
    for name in sys.argv[1:]:
        globals()[name]()
