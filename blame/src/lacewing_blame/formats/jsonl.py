"""Plain events, one JSON object per line (or a list of them): lacewing's own format.

Each has an agent (`agent`, `name`, `role`, `source` or `speaker`) and a text (`text`, `content`,
`message` or `output`); `kind`, `tool`, `status`, `parent`, `time`, `index` and `blamable` as in
`Event` may stand beside them. A line with neither agent nor text describes the run: `task`,
`expected`, `group`, `succeeded`, and `label` with `agent`, `step` and `reason`.
"""

from collections.abc import Iterator
from typing import cast, get_args

from lacewing_blame.errors import DataError
from lacewing_blame.events import Event, Kind, Status
from lacewing_blame.formats.common import (
    Log,
    Record,
    is_person,
    is_terminal,
    no_name,
    outcome,
    plain,
    seconds,
    text_of,
)

KEYS = ("events",)
AGENT = ("agent", "name", "speaker", "source", "role")
TEXT = ("text", "content", "message", "output")


def matches(log: Log) -> bool:
    """Whether the first records have an agent and a text.

    >>> log = Log("a.json", {}, [{"agent": "Ann", "text": "4"}], iter(()))
    >>> matches(log)
    True
    """
    return bool(log.head) and all(
        any(key in record for key in AGENT) and any(key in record for key in TEXT)
        for record in log.head
    )


def events(log: Log) -> Iterator[Event]:
    """One event per record.

    >>> log = Log("a.json", {}, [{"agent": "Ann", "text": "4", "kind": "final"}], iter(()))
    >>> next(events(log)).kind
    'final'
    """
    for place, record in enumerate(log.records()):
        agent = text_of(record, *AGENT)
        if agent is None:
            raise no_name(log, place, "none of " + ", ".join(AGENT))
        text = plain(next((record[key] for key in TEXT if key in record), None))
        kind = _choice(log, place, record, "kind", get_args(Kind))
        if kind is None:
            kind = "tool_result" if is_terminal(agent) else "message"
        status = _choice(log, place, record, "status", get_args(Status))
        if status is None and kind == "tool_result":
            status = outcome(text)
        blamable = record.get("blamable")
        if not isinstance(blamable, bool):
            blamable = not (kind == "tool_result" or is_terminal(agent) or is_person(agent))
        index = _whole(log, place, record, "index")
        yield Event(
            place if index is None else index,
            agent,
            text,
            kind=cast("Kind", kind),
            tool=text_of(record, "tool"),
            status=cast("Status | None", status),
            parent=_whole(log, place, record, "parent"),
            time=seconds(record.get("time", record.get("timestamp"))),
            role=text_of(record, "role") or agent,
            blamable=blamable,
        )


def _choice(log: Log, place: int, record: Record, key: str, allowed: tuple[str, ...]) -> str | None:
    value = record.get(key)
    if value is None:
        return None
    if value not in allowed:
        raise DataError(
            f"{log.name}: step {place} has {key} {value!r:.60}; use one of {', '.join(allowed)}"
        )
    return str(value)


def _whole(log: Log, place: int, record: Record, key: str) -> int | None:
    value = record.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise DataError(f"{log.name}: step {place} has {key} {value!r:.60}; it must be a number")
    return value
