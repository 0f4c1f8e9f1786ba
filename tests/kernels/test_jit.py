"""Compiled loops leave torch's count of threads as it was set."""

import os
import subprocess
import sys

FIRST_LOOP = """
import torch
from lacewing.kernels.abs_topk import abs_topk

torch.set_num_threads(1)
abs_topk(torch.randn(64, 32), 8)
print(torch.get_num_threads())
"""


def test_the_first_loop_of_a_process_keeps_the_count_of_threads() -> None:
    """Numba starts its threads with it, in the pool that torch counts by."""
    two = {"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"}
    told = subprocess.run(
        [sys.executable, "-c", FIRST_LOOP],
        env=os.environ | two,
        check=True,
        capture_output=True,
        text=True,
    )
    assert told.stdout == "1\n"
