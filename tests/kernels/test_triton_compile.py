"""The Triton kernels, compiled to machine code for a Hopper GPU; none is needed for that."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SMALLEST_SHARED = 99 * 1024
"""Bytes of shared memory that a block may use on every card with compute capability 8.0 and up."""


@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or sys.platform != "linux",
    reason="triton is not installed (it comes with the extra `dev`, on Linux)",
)
@pytest.mark.parametrize(
    "name", ["abs_topk", "adam", "keep_largest", "sink_attention", "sparse_linear"]
)
def test_compiles_for_a_gpu(name: str, tmp_path: Path) -> None:
    """Every kernel becomes machine code that keeps to the registers and fits any card's memory."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("compiled.py")), name],
        env={k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
        | {"TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    kernels = [json.loads(line) for line in done.stdout.splitlines()]
    assert [] == [k for k in kernels if k["stack"] > 16 or k["shared"] > SMALLEST_SHARED]
    assert len(kernels) >= 4
