"""Bounds of a configuration's fields: stated where the field stands, checked by one function.

    @dataclass(frozen=True)
    class Config:
        batch: Annotated[int, Interval(ge=1, le=4096)] = 24

        def __post_init__(self) -> None:
            check(self)

`Interval` is annotated-types', which pydantic reads too: a file is held to what a flag is held to.
Whatever the bounds, numbers are finite, and text and paths are such as a file system can take.
"""

import functools
import math
import reprlib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from annotated_types import Interval

from lacewing.errors import ConfigError

LONGEST_TEXT, LONGEST_NAME = 4096, 255
"""Characters of a text or path, and bytes of one name in a path, as Linux has them."""
Positive = Annotated[float, Interval(gt=0, le=1e6)]
"""A scale or a rate."""
NotNegative = Annotated[float, Interval(ge=0, le=1e6)]
"""The same, or none of it."""
Share = Annotated[float, Interval(ge=0, le=1)]
"""A part of a whole."""
Decay = Annotated[float, Interval(ge=0, lt=1)]
"""How much of a running mean stays."""
Count = Annotated[int, Interval(ge=1, le=10**9)]
"""Of things that take memory."""
Seed = Annotated[int, Interval(ge=0, le=2**32 - 1)]
"""What every generator of random numbers takes."""


class BoundsError(ConfigError):
    """A value out of its bounds; `field` is its name, and begins the message."""

    def __init__(self, field: str, rest: str) -> None:
        super().__init__(f"{field} {rest}")
        self.field, self.rest = field, rest


def check(config: Any) -> None:
    """Refuse a dataclass one of whose own fields is out of its bounds.

    Raises:
        BoundsError: the field, what is allowed, what arrived.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Config:
        ...     share: Share = 0.5
        >>> check(Config(2.0))
        Traceback (most recent call last):
        lacewing.bounds.BoundsError: share must lie in [0, 1], not 2.0
    """
    kind: Any = type(config)
    hints = _hints(kind)
    for one in fields(config):
        for value, interval in _values(getattr(config, one.name), hints[one.name]):
            fault = _fault(value, interval)
            if fault:
                raise BoundsError(one.name, f"{fault}, not {shown(value)}")


def shown(value: object) -> str:
    """A value in a message: short, whatever it is.

    >>> shown(10 ** 5000)
    'a number of 5001 digits'
    """
    if isinstance(value, int) and abs(value) >= 10**40:
        return f"a number of {int(value.bit_length() * math.log10(2)) + 1} digits"
    return reprlib.repr(str(value) if isinstance(value, Path) else value)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _values(value: object, hint: Any) -> Iterator[tuple[object, Interval | None]]:
    """A field's value, or each of several, with the interval that its annotation gives."""
    if isinstance(value, tuple):
        inner = next(iter(get_args(_bare(hint))), None)
        for one in value:
            yield from _values(one, inner)
    else:
        yield value, _interval(hint)


def _interval(hint: Any) -> Interval | None:
    """The interval in an annotation, also in that of an optional value."""
    if get_origin(hint) is Annotated:
        found = next((m for m in hint.__metadata__ if isinstance(m, Interval)), None)
        return found or _interval(hint.__origin__)
    inner = get_args(hint) if get_origin(hint) is not None else ()
    return next(filter(None, map(_interval, inner)), None)


def _bare(hint: Any) -> Any:
    return hint.__origin__ if get_origin(hint) is Annotated else hint


def _fault(value: object, interval: Interval | None) -> str:
    """What is wanted of a value that is not so; empty where all is well."""
    if isinstance(value, str | Path):
        return _unfit(str(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if interval is None:
        return "" if abs(value) < 2**63 else "must fit in 64 bits"
    low = (interval.ge is None or value >= interval.ge) and (  # type: ignore[operator]
        interval.gt is None or value > interval.gt  # type: ignore[operator]
    )
    high = (interval.le is None or value <= interval.le) and (  # type: ignore[operator]
        interval.lt is None or value < interval.lt  # type: ignore[operator]
    )
    return "" if low and high else _wanted(interval, isinstance(value, int), low)


def _wanted(interval: Interval, whole: bool, low: bool) -> str:
    """What an interval allows, in words: that side alone which was left, for whole numbers."""
    least, above = interval.ge, interval.gt
    most, below = interval.le, interval.lt
    if whole and not low and least is not None:
        return f"must be at least {least:,}"
    if whole and low and most is not None:
        return f"must be at most {most:,}"
    left = f"[{least:g}" if least is not None else f"({above:g}" if above is not None else "(-inf"
    right = f"{most:g}]" if most is not None else f"{below:g})" if below is not None else "inf)"
    return f"must lie in {left}, {right}"


def _unfit(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        return f"must have at most {LONGEST_TEXT:,} characters"
    if any(len(part.encode("utf-8", "replace")) > LONGEST_NAME for part in text.split("/")):
        return f"must have no part of more than {LONGEST_NAME} bytes"
    if "\0" in text:
        return "must hold no NUL character"
    return ""
