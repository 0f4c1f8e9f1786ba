"""Tell the C allocator to keep the memory it has.

glibc gives every large block back to the system when it is freed and asks for it anew a moment
later; each page of it then faults on first touch. On virtual machines that costs more than the
arithmetic: the same training step took 1.3 s with warm memory and 7 s with cold.
"""

import ctypes
import sys

# Names and numbers of malloc.h (glibc).
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_pages() -> bool:
    """Serve large blocks from one heap that never shrinks; true where the C library obeyed.

    It changes the whole process, so that only a program may call it, never a function of a library.
    Call it before the first large allocation. Elsewhere than on Linux with glibc it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    limits = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_ARENA_MAX, 1))
    obeyed = [mallopt(name, value) == 1 for name, value in limits]  # every one of them is tried
    return all(obeyed)
