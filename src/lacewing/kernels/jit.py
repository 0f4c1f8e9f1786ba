"""Compile a plain Python loop with numba at first use, on as many threads as torch uses.

numba comes as a wheel and needs no compiler on the user's machine. It is imported at the first
call, not at start-up, because the import takes half a second. Compiled code is cached on disk
beside the source, or where NUMBA_CACHE_DIR says.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch

prange = range  # plain Python runs the loops with this; `jitted` swaps in numba's parallel range


@functools.cache
def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    import numba

    config: Any = numba.config
    # Run-time type checks wrap the function; what is compiled is the loop inside.
    function = inspect.unwrap(function)
    # torch's own thread pool is libgomp's; sharing it avoids two pools fighting for the cores.
    config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]
    function.__globals__["prange"] = numba.prange
    compiled: Callable[..., None] = numba.njit(parallel=True, cache=True, nogil=True)(function)
    return compiled


def jitted(function: Callable[..., None]) -> Callable[..., None]:
    """The compiled form of a loop over NumPy arrays (positional arguments only)."""

    def call(*arguments: Any) -> None:
        import numba

        config: Any = numba.config
        kernel = _compiled(function)
        numba.set_num_threads(min(torch.get_num_threads(), config.NUMBA_NUM_THREADS))
        kernel(*arguments)

    return call
