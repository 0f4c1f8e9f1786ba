"""Message lists of LangChain and states of LangGraph.

Three spellings of a message are in use: flat (`type`, `content`), `messages_to_dict` (`type` and
`data`), and the serialised object (`lc`, `id`, `kwargs`). A run may hold its messages under
`messages` or `values.messages`.
"""

from collections.abc import Iterator, Mapping

from lacewing_blame.events import Event, Kind
from lacewing_blame.formats.common import Log, Record, call, joined, outcome, plain, text_of

KEYS = ("messages",)
_TYPES = {
    "HumanMessage": "human",
    "AIMessage": "ai",
    "AIMessageChunk": "ai",
    "ToolMessage": "tool",
    "FunctionMessage": "tool",
    "SystemMessage": "system",
    "ChatMessage": "chat",
}
_KNOWN = {*_TYPES.values(), *_TYPES, "function"}


def matches(log: Log) -> bool:
    """Whether the messages carry LangChain's types.

    >>> log = Log("a.json", {}, [{"type": "ai", "content": "4"}], iter(()))
    >>> matches(log)
    True
    """
    return bool(log.head) and all(_unwrapped(record)[0] is not None for record in log.head)


def events(log: Log) -> Iterator[Event]:
    """One event per message; a tool's result has the message that called it as parent.

    >>> log = Log("a.json", {}, [{"type": "ai", "name": "Ann", "content": "4"}], iter(()))
    >>> next(events(log)).agent
    'Ann'
    """
    asked: dict[str, int] = {}
    for index, record in enumerate(log.records()):
        kind, message = _unwrapped(record)
        calls = [c for c in message.get("tool_calls") or [] if isinstance(c, Mapping)]
        asked |= {c["id"]: index for c in calls if isinstance(c.get("id"), str)}
        yield _event(index, kind or "ai", message, calls, asked)


def _event(
    index: int, kind: str, message: Record, calls: list[Record], asked: Mapping[str, int]
) -> Event:
    text = joined(
        plain(message.get("content")), *(call(c.get("name"), c.get("args")) for c in calls)
    )
    name = text_of(message, "name")
    if kind == "tool":
        failed = message.get("status") == "error"
        return Event(
            index,
            name or "tool",
            text,
            kind="tool_result",
            tool=name,
            status="error" if failed else outcome(text) or "ok",
            parent=asked.get(str(message.get("tool_call_id"))),
            role=kind,
            blamable=False,
        )
    acts: Kind = "tool_call" if calls else "message"
    if calls and str(calls[0].get("name", "")).startswith(("transfer_to_", "handoff")):
        acts = "handoff"
    agent = name or text_of(message, "role") or {"human": "human", "system": "system"}.get(kind)
    return Event(
        index,
        agent or "assistant",
        text,
        kind=acts,
        tool=text_of(calls[0], "name") if calls else None,
        role=kind,
        blamable=kind not in ("human", "system"),
    )


def _unwrapped(record: Record) -> tuple[str | None, Record]:
    """The type and the fields of a message, however it is written."""
    if "lc" in record and isinstance(record.get("id"), list) and record["id"]:
        kwargs = record.get("kwargs")
        return _TYPES.get(record["id"][-1]), kwargs if isinstance(kwargs, Mapping) else {}
    kind = record.get("type")
    if not isinstance(kind, str) or kind not in _KNOWN:
        return None, record
    kind = {"function": "tool"}.get(kind, _TYPES.get(kind, kind))
    data = record.get("data")
    return kind, data if isinstance(data, Mapping) else record
