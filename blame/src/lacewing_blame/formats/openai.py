"""Messages as the OpenAI chat API takes and gives them, with tool calls.

An assistant without a `name` is called assistant. The result of a tool has the message that called
it as parent, and is not to blame.
"""

from collections.abc import Iterator, Mapping

from lacewing_blame.events import Event
from lacewing_blame.formats.common import (
    Log,
    Record,
    call,
    is_person,
    joined,
    no_name,
    outcome,
    plain,
    seconds,
    text_of,
)

KEYS = ("messages",)
_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}


def matches(log: Log) -> bool:
    """Whether the messages have roles of the chat API, and either content or calls.

    >>> log = Log("a.json", {}, [{"role": "assistant", "content": "4"}], iter(()))
    >>> matches(log)
    True
    """
    return bool(log.head) and all(
        text_of(record, "role") in _ROLES
        and not {"agent", "text"} & set(record)
        and {"content", "tool_calls", "function_call"} & set(record)
        for record in log.head
    )


def events(log: Log) -> Iterator[Event]:
    """One event per message.

    >>> log = Log("a.json", {}, [{"role": "assistant", "content": "4"}], iter(()))
    >>> next(events(log)).agent
    'assistant'
    """
    asked: dict[str, tuple[int, str]] = {}
    for index, record in enumerate(log.records()):
        role = text_of(record, "role")
        if role is None:
            raise no_name(log, index, "no `role`")
        functions = _functions(record)
        for wanted, function in functions:
            asked[wanted] = (index, str(function.get("name")))
        yield _event(index, role, record, [f for _, f in functions], asked)


def _event(
    index: int,
    role: str,
    record: Record,
    functions: list[Record],
    asked: Mapping[str, tuple[int, str]],
) -> Event:
    text = joined(
        plain(record.get("content")) or plain(record.get("refusal")),
        *(call(f.get("name"), f.get("arguments")) for f in functions),
    )
    name, time = text_of(record, "name"), seconds(record.get("created_at"))
    if role in ("tool", "function"):
        parent, tool = asked.get(str(record.get("tool_call_id")), (None, name))
        return Event(
            index,
            name or tool or "tool",
            text,
            kind="tool_result",
            tool=tool,
            status=outcome(text),
            parent=parent,
            time=time,
            role=role,
            blamable=False,
        )
    agent = name or role
    return Event(
        index,
        agent,
        text,
        kind="tool_call" if functions else "message",
        tool=text_of(functions[0], "name") if functions else None,
        time=time,
        role=role,
        blamable=role == "assistant" or (name is not None and not is_person(name)),
    )


def _functions(record: Record) -> list[tuple[str, Record]]:
    """The functions a message calls, each with the id its result will carry."""
    found = [
        (str(one.get("id")), one["function"])
        for one in record.get("tool_calls") or []
        if isinstance(one, Mapping) and isinstance(one.get("function"), Mapping)
    ]
    if isinstance(record.get("function_call"), Mapping):
        found.append(("", record["function_call"]))
    return found
