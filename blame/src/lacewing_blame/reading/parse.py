"""From a file to a `Log`: one JSON document, or one JSON object per line, read line by line."""

import codecs
import io
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

from lacewing_blame.errors import DataError
from lacewing_blame.formats import FORMATS, jsonl, otel
from lacewing_blame.formats.common import Log, Record

_SAID = (*jsonl.AGENT, *jsonl.TEXT, *otel.KEYS, "type", "lc", "object", "raw_item", "task")
"""What a line has that is a record, rather than about the run."""
PEEK = 32
"""Records looked at to tell the format."""


def open_log(name: str, file: IO[bytes] | io.BytesIO) -> Log:
    """A log as a stream of records: of lines, where its first line is a value and more follow.

    Args:
        name: The file's name, for errors.
        file: The file, at its beginning.

    Raises:
        DataError: empty, not JSON, cut off, not UTF-8, or without a list of steps.

    >>> import tempfile
    >>> with tempfile.TemporaryFile() as file:
    ...     _ = file.write(b'{"messages": [{"role": "user"}]}')
    ...     _ = file.seek(0)
    ...     open_log("a.json", file).head
    [{'role': 'user'}]
    """
    first = next((line for line in file if line.strip(b"\xef\xbb\xbf \t\r\n")), b"")
    if not first:
        raise DataError(f"{name} is empty; give a log")
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{name} is UTF-16; save it as UTF-8")
    first = first.removeprefix(codecs.BOM_UTF8)
    try:
        value = json.loads(first)
        lines = isinstance(value, dict) and (second := _next_line(file)) != b""
    except (ValueError, RecursionError):
        value, lines = None, False
        return _whole(name, _parsed(name, first + file.read()))
    if not lines:
        whole = value if isinstance(value, dict) else _parsed(name, first + file.read())
        return _whole(name, whole)
    header: dict[str, Any] = {}
    records = _records(name, header, itertools.chain((first, second), file))
    return Log(name, header, list(itertools.islice(records, PEEK)), records)


def _next_line(file: IO[bytes] | io.BytesIO) -> bytes:
    return next((line for line in file if line.strip()), b"")


def _records(name: str, header: dict[str, Any], lines: Iterable[bytes]) -> Iterator[Record]:
    """The records of a file of lines; lines about the run go into the header."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        value = _parsed(name, line, number)
        if not isinstance(value, dict):
            raise DataError(f"{name}: line {number} is no JSON object but {str(value)!r:.40}")
        said = _is_record(value)
        if said:
            yield value
        else:
            header.update(value)


def _is_record(value: dict[str, Any]) -> bool:
    """Whether a line is a record; a task alone is about the run."""
    return any(key in value for key in _SAID[:-1]) or {"task", "status"} <= value.keys()


def _whole(name: str, value: object) -> Log:
    """A log in one JSON document."""
    header = dict(value) if isinstance(value, dict) else {}
    inner = header.get("values")
    if isinstance(inner, dict):
        header = {**header, **inner}
    keys = dict.fromkeys(key for module in FORMATS.values() for key in module.KEYS)
    found = value if isinstance(value, list) else None
    if found is None:
        found = next((header[key] for key in keys if isinstance(header.get(key), list)), None)
    if found is None:
        raise DataError(
            f"{name} is of no known format: it has no list under any of {', '.join(keys)}; "
            f"known are {', '.join(FORMATS)}"
        )
    for place, record in enumerate(found):
        if not isinstance(record, dict):
            raise DataError(f"{name}: step {place} is no JSON object but {str(record)!r:.40}")
    if not found:
        raise DataError(f"{name} has no steps; give the log of a run that did something")
    return Log(name, header, found[:PEEK], iter(found[PEEK:]))


def _parsed(name: str, content: bytes, line: int | None = None) -> Any:
    place = name if line is None else f"{name}, line {line},"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place} is not UTF-8 (byte 0x{content[error.start]:02x} at {error.start}); "
            "save it as UTF-8"
        ) from error
    try:
        return json.loads(text)
    except RecursionError as error:
        raise DataError(f"{place} is nested too deeply for a log") from error
    except json.JSONDecodeError as error:
        where = f"line {line or error.lineno}, column {error.colno}"
        if text.lstrip()[:1] in "{[" and _cut_off(text, error):
            raise DataError(
                f"{place} is cut off: JSON ends at {where}; write the log again, or remove its end"
            ) from error
        raise DataError(f"{place} is not JSON ({error.msg} at {where}); give a log") from error
    except ValueError as error:
        raise DataError(f"{place} has a number of too many digits for a log") from error


def _cut_off(text: str, error: json.JSONDecodeError) -> bool:
    """Whether the text stops in the middle, rather than being wrong somewhere."""
    return error.msg.startswith("Unterminated string") or error.pos >= len(text.rstrip()) - 1
