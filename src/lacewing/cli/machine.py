"""What the command line settles for its own process, before torch is imported.

Library functions change none of it: a notebook or a server that uses lacewing keeps its own.
"""

import os
from contextlib import suppress

from lacewing.artifacts import cache_folder
from lacewing.kernels.cores import cores
from lacewing.kernels.memory import keep_pages
from lacewing.viewer.tie import end_with_parent

PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Threads of GNU's and of LLVM's and Intel's OpenMP, which torch and numba share, sleep while they
wait for each other. Spinning, they use up the share of a core that another program also wants, and
are then kept waiting themselves (benchmarks/busy.py)."""


def settle() -> None:
    """Keep memory, wait without spinning, as many threads as cores, end with the viewer's tie.

    What the user has set in the environment stays. matplotlib keeps its list of fonts where all
    else is kept that can be made anew, and not in two folders of its own in the user's home.
    """
    with suppress(RuntimeError):  # a user without a home
        os.environ.setdefault("MPLCONFIGDIR", str(cache_folder() / "matplotlib"))
    for name, value in (PASSIVE | {"OMP_NUM_THREADS": str(cores())}).items():
        os.environ.setdefault(name, value)
    keep_pages()
    end_with_parent()
