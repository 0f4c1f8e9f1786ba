"""JSON: bounded in size, depth and digits, and checked against a type before anybody uses it.

A type is a frozen dataclass, or anything else that pydantic knows. Numbers have to be finite and of
the type that is said (no text for a number, no number for a truth); keys that a type does not have
are passed over, unless it says `__pydantic_config__ = EXACT`.
"""

import functools
import hashlib
import json as jsonlib
import math
import reprlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from lacewing.artifacts.files import read_bytes, write_bytes
from lacewing.errors import ArtifactError, LacewingError

if TYPE_CHECKING:
    from pydantic import ConfigDict, TypeAdapter, ValidationError

LARGEST = 2**25
"""Bytes of the largest JSON file that is read."""
LOOSE: "ConfigDict" = {"strict": True, "allow_inf_nan": False, "extra": "ignore"}
"""Of a type whose files may have more keys, of other versions or for people."""
EXACT: "ConfigDict" = {"strict": True, "allow_inf_nan": False, "extra": "forbid"}
"""Of a type whose files have its keys alone: what another would mean is not known here."""

OPEN: "ConfigDict" = {"strict": True, "extra": "forbid"}
"""As EXACT, of a type whose numbers may be infinite or nan."""
SUM = "sha256"
"""The key of a file that is in no manifest, with a hash of its other keys."""

T = TypeVar("T")


def write_json(path: Path, value: object) -> None:
    """Write a JSON file in one step."""
    write_bytes(path, (jsonlib.dumps(value, indent=1) + "\n").encode())


def write_summed(path: Path, value: Mapping[str, object]) -> None:
    """Write a JSON object that is in no manifest, with its own sum among its keys."""
    write_json(path, {**value, SUM: sum_of(value)})


def read_summed(path: Path) -> dict[str, Any]:
    """Read what `write_summed` wrote, without the sum; files of old have none.

    Raises:
        ArtifactError: as `read_json`; or it is no object, or was changed since.
    """
    return without_sum(read_json(path), path)


def without_sum(value: object, path: Path) -> dict[str, Any]:
    """The same of a value that was read."""
    if not isinstance(value, dict):
        raise ArtifactError(f"{path} holds no object: damaged or foreign")
    rest = {key: inner for key, inner in value.items() if key != SUM}
    if SUM in value and value[SUM] != sum_of(rest):
        raise ArtifactError(
            f"{path} has another content than was written: damaged or edited; run the command that "
            "made it again"
        )
    return rest


def sum_of(value: Mapping[str, object]) -> str:
    """The hash of a value as it comes back from JSON."""
    plain = jsonlib.dumps(jsonlib.loads(jsonlib.dumps(value)), sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()


def read_json(path: Path) -> Any:
    """Read a JSON file whose shape is not known yet.

    Raises:
        ArtifactError: missing, not JSON, larger than LARGEST, nested too deep, or with a number of
            too many digits.
    """
    return parse_json(read_bytes(path, LARGEST), path)


def parse_json(content: bytes | str, where: Path | str) -> Any:
    """The value of a JSON text, which has no NaN or Infinity; `where` is named in the error."""
    from pydantic_core import from_json  # stops at 200 levels and at 4,300 digits

    try:
        return from_json(content, allow_inf_nan=False)
    except ValueError as error:
        if odd := _odd_number(content):
            raise ArtifactError(f"{where}: {odd}, which is no finite number") from error
        raise ArtifactError(f"{where} is not JSON ({error}): damaged or foreign") from error


def _odd_number(content: bytes | str) -> str:
    """The first number that is not finite, and its place; empty where it is something else."""
    from pydantic_core import from_json

    with suppress(ValueError):
        for path, number in _odd(from_json(content), ()):
            return f"{'.'.join(map(str, path)):.200}: {number}"
    return ""


def _odd(value: object, path: tuple[object, ...]) -> Iterator[tuple[tuple[object, ...], float]]:
    """The numbers of a document that are not finite, and where they stand."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, value
    pairs = value.items() if isinstance(value, dict) else ()
    for key, inner in enumerate(value) if isinstance(value, list) else pairs:
        yield from _odd(inner, (*path, key))


def read(path: Path, kind: type[T]) -> T:
    """Read a JSON file of a known type.

    Example:
        >>> read(Path("circuit/facts.json"), Facts)  # doctest: +SKIP

    Raises:
        ArtifactError: as `read_json`; or a value is missing, of another type or out of its bounds,
            in one line: file, field, what arrived.
    """
    return parse(read_bytes(path, LARGEST), kind, path)


def parse(content: bytes | str, kind: type[T], where: Path | str) -> T:
    """The value of a JSON text of a known type; `where` is named in the error."""
    from pydantic import ValidationError

    try:
        made: T = adapter(cast("Hashable", kind)).validate_json(content)
        return made
    except ValidationError as error:
        raise ArtifactError(f"{where}{_said(error)}") from error
    except LacewingError as error:  # from a dataclass that looks at its own values
        raise ArtifactError(f"{where}: {error}") from error
    except RecursionError as error:
        raise ArtifactError(f"{where} is nested too deep: damaged or foreign") from error


def typed(value: object, kind: type[T], where: Path | str) -> T:
    """A value that came from JSON, perhaps put right since, as one of a known type."""
    from pydantic_core import to_json

    return parse(to_json(value, inf_nan_mode="constants"), kind, where)


def read_lines(path: Path, kind: type[T], largest: int | None = LARGEST) -> list[T]:
    """Read a file of JSON lines of a known type; empty lines are passed over.

    Raises:
        ArtifactError: as `read`, naming the line.
    """
    return list(parse_lines(read_bytes(path, largest), kind, path))


def parse_lines(content: bytes, kind: type[T], where: Path | str) -> Iterator[T]:
    """The values of JSON lines."""
    # Not splitlines: a text may hold other line ends, which JSON leaves as they are.
    for number, line in enumerate(content.split(b"\n"), 1):
        if line:
            yield parse(line, kind, f"{where}, line {number}")


@contextmanager
def foreign(where: Path) -> Iterator[None]:
    """Say in one line that plain values are not shaped as those that are read from them.

    For files with a sum, where only another version or an edited copy can differ.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise ArtifactError(f"{where} is of another version, or edited ({error!r:.200})") from error


@functools.cache
def adapter(kind: Any) -> "TypeAdapter[Any]":
    """What checks values of a type; made once."""
    from pydantic import TypeAdapter

    own = hasattr(kind, "__pydantic_config__") or is_dataclass(kind)
    return TypeAdapter(kind) if own else TypeAdapter(kind, config=LOOSE)


def _said(error: "ValidationError") -> str:
    """The first fault of several, as the end of a line."""
    fault = error.errors(include_url=False, include_context=False)[0]
    field = _place(fault["loc"])
    if fault["type"] == "json_invalid":
        return f" is not JSON ({fault['msg'].removeprefix('Invalid JSON: ')}): damaged or foreign"
    if fault["type"] in ("missing", "missing_argument"):
        return f" has no {field}: damaged or foreign"
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f" has {field}, which is unknown here: made by another version of lacewing"
    wanted = fault["msg"][:1].lower() + fault["msg"][1:]
    what = reprlib.repr(fault["input"])
    return (
        f": {field or 'the file'}: {' '.join(f'{wanted}, not {what}'.split())}: damaged or foreign"
    )


def _place(steps: Sequence[int | str]) -> str:
    """Where in a file a value stands: `model.n_layer`; a hostile key is cut short."""
    return ".".join(reprlib.repr(s).strip("'\"") if isinstance(s, str) else str(s) for s in steps)
