"""Functions that compiled loops call."""

import inspect
from collections.abc import Callable
from typing import Any

from numba.extending import register_jitable


def piece(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let compiled loops call a plain function, without the type checks of tests around it."""
    callable_: Callable[..., Any] = register_jitable(inspect.unwrap(function))
    return callable_
