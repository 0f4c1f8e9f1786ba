"""Processes that end with the one that started them, however that ends, on every system.

The parent holds the only other end of the child's standard input. When the parent is gone, killed
or not, that end closes, and the child, which waits for this, ends.
"""

import os
import subprocess
import threading
from typing import Any

TIED = "LACEWING_TIED"
"""Set for a child that is to end with its parent."""


def options() -> dict[str, Any]:
    """What `subprocess` starts such a child with."""
    return {"stdin": subprocess.PIPE, "env": os.environ | {TIED: "1"}}


def end_with_parent() -> None:
    """In a child: end when the parent does. Elsewhere nothing happens."""
    if os.environ.pop(TIED, None):  # a grandchild is another's business
        threading.Thread(target=_watch, name="tie", daemon=True).start()


def _watch() -> None:
    try:
        while os.read(0, 1024):
            pass
    finally:
        os._exit(1)
