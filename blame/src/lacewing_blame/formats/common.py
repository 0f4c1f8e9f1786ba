"""What all formats share: the log as it arrives, names, contents, outcomes."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lacewing_blame.errors import DataError
from lacewing_blame.events import Status

Record = Mapping[str, Any]


@dataclass
class Log:
    """A log before its format is known."""

    name: str
    """The file's name, for errors."""
    header: dict[str, Any]
    """What stands beside the records; streamed logs add to it as they are read."""
    head: list[Record]
    """The first records, to tell the format by."""
    rest: Iterator[Record]
    """The records after them."""

    def records(self) -> Iterator[Record]:
        """All records, once."""
        yield from self.head
        yield from self.rest

    def any_has(self, *keys: str) -> bool:
        """Whether one of the first records has all these keys."""
        return any(all(key in record for key in keys) for record in self.head)


_PERSON = re.compile(r"(human|user|person|customer)([_ -]?(proxy|agent|input))?$", re.IGNORECASE)
_TERMINAL = re.compile(
    r"(computer[_ ]?terminal|terminal|(code|local)?[_ ]?executor|executor[_ ]?agent|shell|"
    r"chat[_ ]?manager|tool|function|environment|system)$",
    re.IGNORECASE,
)
_FAILED = re.compile(
    r"exitcode:\s*(?!0\b)-?\d+|execution failed|Traceback \(most recent call last\)|"
    r"^\s*(\w+(Error|Exception)\b|error\b)",
    re.IGNORECASE,
)
_SUCCEEDED = re.compile(r"exitcode:\s*0\b|execution succeeded", re.IGNORECASE)


def is_person(name: str) -> bool:
    """Whether a speaker's name is that of a person who uses the system.

    >>> is_person("User_Proxy"), is_person("UserInterface_Expert")
    (True, False)
    """
    return _PERSON.match(name.strip()) is not None


def is_terminal(name: str) -> bool:
    """Whether a speaker only carries out what others wrote.

    >>> is_terminal("Computer_terminal"), is_terminal("Coder")
    (True, False)
    """
    return _TERMINAL.match(name.strip()) is not None


def outcome(text: str) -> Status | None:
    """Whether what a tool gave back reports success or an error, where it says so.

    >>> outcome("exitcode: 1 (execution failed)"), outcome("exitcode: 0"), outcome("4")
    ('error', 'ok', None)
    """
    start = text[:2000]
    if _SUCCEEDED.search(start):
        return "ok"
    return "error" if _FAILED.search(start) else None


def plain(content: object) -> str:
    r"""A message's content as text: strings as they are, parts joined, the rest as JSON.

    >>> plain([{"type": "text", "text": "It is"}, {"type": "text", "text": "4."}])
    'It is\n4.'
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        for key in ("text", "content", "thinking", "refusal"):
            if isinstance(content.get(key), str | list):
                return plain(content[key])
        kind = content.get("type")
        return f"[{kind}]" if isinstance(kind, str) and len(content) > 1 else written(content)
    if isinstance(content, list):
        return "\n".join(part for part in map(plain, content) if part)
    return str(content)


def written(value: object) -> str:
    """Arguments or results of a tool as text.

    >>> written({'city': 'Zürich'})
    '{"city": "Zürich"}'
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def call(tool: object, arguments: object) -> str:
    """A tool call as text.

    >>> call("search", {"query": "4"})
    'search({"query": "4"})'
    """
    return f"{tool}({written(arguments) if arguments is not None else ''})"


def joined(*parts: str) -> str:
    r"""Texts on lines of their own, empty ones left out.

    >>> joined("one", "", "two")
    'one\ntwo'
    """
    return "\n".join(part for part in parts if part)


def seconds(value: object) -> float | None:
    """A time stamp, as a number or in ISO 8601, as seconds since the epoch.

    >>> seconds("1970-01-01T00:01:00+00:00"), seconds("soon")
    (60.0, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            return None
    return None


def text_of(record: Record, *keys: str) -> str | None:
    """The first of these fields that holds a string that is not empty.

    >>> text_of({"name": " ", "role": "Ann"}, "name", "role")
    'Ann'
    """
    for key in keys:
        value = record.get(key)
        if isinstance(value, str) and value.strip():
            return value
    return None


def no_name(log: Log, index: int, expected: str) -> DataError:
    """The error of a message that nobody said.

    >>> log = Log("a.json", {}, [], iter(()))
    >>> str(no_name(log, 3, "no `name`"))
    'a.json: step 3 has no agent (no `name`); name who acted'
    """
    return DataError(f"{log.name}: step {index} has no agent ({expected}); name who acted")
