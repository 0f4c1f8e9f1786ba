"""Run-time type checks of the first calls of every function in every test, not of all of them.

A pruning calls the same small functions a hundred thousand times, and checking every call took
more than half of the suite's time. What is wrong with a type or a shape shows in the first calls.

`pyproject.toml` hands `check` to jaxtyping; `conftest.py` calls `begin` before each test.
"""

import functools
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

import beartype
import torch

CALLS = 20
"""Of one function in one test that are checked."""
_counts: dict[Any, int] = {}
_silent: list[Any] = []


def check(stand_in: Callable[..., Any]) -> Callable[..., Any]:
    """Check a function's calls with beartype, until there were enough in this test.

    Args:
        stand_in: Has the function's signature; jaxtyping calls it before the function, and another
            after it, unless the function is marked as not to be checked.
    """
    function = _owner()
    if function is None:
        return beartype.beartype(stand_in)
    code = function.__code__  # the same for every closure that one line makes
    if _counts.get(code, 0) >= CALLS:
        _silence(function)
        return stand_in
    checked = beartype.beartype(stand_in)

    @functools.wraps(checked)
    def counted(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():  # the compiler cannot guard a table that calls change
            return stand_in(*args, **kwargs)
        _counts[code] = count = _counts.get(code, 0) + 1
        if count >= CALLS:
            _silence(function)
        return checked(*args, **kwargs)

    return counted


def begin() -> None:
    """Check all functions again: another test begins."""
    _counts.clear()
    while _silent:
        vars(_silent.pop()).pop("__no_type_check__", None)


def _owner() -> FunctionType | None:
    """Whose stand-in jaxtyping is making, as its frames say; none where they do not."""
    frame = sys._getframe(2)
    for _ in range(3):
        function = frame.f_locals.get("fn")
        if isinstance(function, FunctionType) and function.__code__.co_filename != "<string>":
            return function
        frame = frame.f_back or frame
    return None


def _silence(function: FunctionType) -> None:
    """Let jaxtyping pass a function by."""
    if not getattr(function, "__no_type_check__", False):
        function.__no_type_check__ = True  # type: ignore[attr-defined]
        _silent.append(function)
