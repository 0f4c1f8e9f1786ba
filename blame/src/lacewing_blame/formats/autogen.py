"""AG2 and AutoGen.

AG2 (and AutoGen 0.2) keeps `chat_history`, messages with `content`, `role` and `name`, in which
`role` only says whose turn it was. AutoGen 0.4 and later keeps messages with `source` and `type`.
"""

from collections.abc import Iterator, Mapping

from lacewing_blame.events import Event, Kind
from lacewing_blame.formats.common import (
    Log,
    Record,
    call,
    is_person,
    is_terminal,
    joined,
    no_name,
    outcome,
    plain,
    seconds,
    text_of,
)

KEYS = ("chat_history", "messages")
_KINDS: dict[str, Kind] = {
    "ToolCallRequestEvent": "tool_call",
    "ToolCallExecutionEvent": "tool_result",
    "ToolCallSummaryMessage": "tool_result",
    "CodeExecutionEvent": "tool_result",
    "HandoffMessage": "handoff",
    "SelectSpeakerEvent": "handoff",
    "ThoughtEvent": "plan",
    "StopMessage": "final",
}


def matches(log: Log) -> bool:
    """Whether messages name a source, or several speakers share the roles of a chat.

    >>> log = Log("a.json", {}, [{"source": "Ann", "type": "TextMessage"}], iter(()))
    >>> matches(log)
    True
    """
    if "chat_history" in log.header or log.any_has("source", "type"):
        return True
    chat = [r for r in log.head if r.get("role") in ("user", "assistant")]
    names = {r["name"] for r in chat if isinstance(r.get("name"), str)}
    talked_to = any(
        r["role"] == "user" and isinstance(r.get("name"), str) and not is_person(r["name"])
        for r in chat
    )
    return len(names) > 1 and talked_to


def events(log: Log) -> Iterator[Event]:
    """One event per message.

    >>> log = Log("a.json", {}, [{"source": "Ann", "content": "4"}], iter(()))
    >>> next(events(log)).agent
    'Ann'
    """
    for index, record in enumerate(log.records()):
        yield _late(log, index, record) if "source" in record else _early(log, index, record)


def _early(log: Log, index: int, record: Record) -> Event:
    name = text_of(record, "name", "role")
    if name is None:
        raise no_name(log, index, "neither `name` nor `source`")
    result = record.get("role") in ("tool", "function")
    calls = record.get("tool_calls") or []
    functions = [c.get("function", {}) for c in calls if isinstance(c, Mapping)]
    text = joined(
        plain(record.get("content")),
        *(call(f.get("name"), f.get("arguments")) for f in functions),
    )
    machine = result or is_terminal(name)
    kind: Kind = "message"
    if machine:
        kind = "tool_result"
    elif functions:
        kind = "tool_call"
    elif text.strip() == "TERMINATE":
        kind = "final"
    return Event(
        index,
        name,
        text,
        kind=kind,
        tool=text_of(functions[0], "name") if functions else None,
        status=outcome(text) if machine else None,
        role=name,
        blamable=not (machine or is_person(name)),
    )


def _late(log: Log, index: int, record: Record) -> Event:
    source = text_of(record, "source")
    if source is None:
        raise no_name(log, index, "`source` is empty")
    content, kind = record.get("content"), _KINDS.get(str(record.get("type")), "message")
    parts = [p for p in content if isinstance(p, Mapping)] if isinstance(content, list) else []
    failed = any(part.get("is_error") for part in parts)
    if kind == "tool_call":
        text = "\n".join(call(part.get("name"), part.get("arguments")) for part in parts)
    else:
        text = plain(content)
    machine = kind == "tool_result"
    return Event(
        index,
        source,
        text,
        kind=kind,
        tool=next((t for part in parts if (t := text_of(part, "name"))), None),
        status=("error" if failed else outcome(text)) if machine else None,
        time=seconds(record.get("created_at")),
        role=source,
        blamable=not (machine or is_person(source) or is_terminal(source)),
    )
