"""Compile a plain Python loop with numba at first use, on as many threads as torch uses.

numba comes as a wheel and needs no compiler on the user's machine. It is imported at the first
call, not at start-up, because the import takes half a second. Compiled code is cached on disk
beside the source, or where NUMBA_CACHE_DIR says.
"""

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

CHUNKS = 16
"""Pieces that sums over all tokens are cut into: as many on any number of threads, so that the same
seed gives the same sums."""
_THREADS = threading.local()
prange = range  # plain Python runs the loops with this; `jitted` swaps in numba's parallel range


@functools.cache
def _compiled(function: Callable[..., None], parallel: bool, reorder: bool) -> Callable[..., None]:
    import numba

    config: Any = numba.config
    # Run-time type checks wrap the function; what is compiled is the loop inside.
    function = inspect.unwrap(function)
    # torch's own thread pool is libgomp's; sharing it avoids two pools fighting for the cores.
    config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]
    function.__globals__["prange"] = numba.prange
    compiled: Callable[..., None] = numba.njit(
        parallel=parallel, cache=True, nogil=True, fastmath={"reassoc"} if reorder else False
    )(function)
    return compiled


def numbers(tensor: torch.Tensor) -> np.ndarray:
    """A tensor's memory for a compiled loop; bfloat16 as its bits, NumPy has no type for it."""
    whole = tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor
    array: np.ndarray = whole.numpy()
    return array


@functools.cache
def jitted(
    function: Callable[..., None], parallel: bool = True, reorder: bool = False
) -> Callable[..., None]:
    """The compiled form of a loop over NumPy arrays (positional arguments only).

    Args:
        function: The loop, in Python.
        parallel: Whether its `prange` runs on all threads.
        reorder: Whether sums may be added in another order, to fill the vector registers.
    """

    def call(*arguments: Any) -> None:
        import numba

        config: Any = numba.config
        kernel = _compiled(function, parallel, reorder)
        ours = torch.get_num_threads()
        wanted = min(ours, config.NUMBA_NUM_THREADS)
        if getattr(_THREADS, "set", None) != wanted:  # each thread has a number of its own
            numba.set_num_threads(wanted)
            # The first time numba starts its threads, and sets those of the shared pool to all.
            torch.set_num_threads(ours)
            _THREADS.set = wanted
        kernel(*arguments)

    return call
