"""Messages as Anthropic's Messages API takes and gives them, with tool use.

An assistant is called assistant, unless its message has a `name`. A user's message that holds tool
results is the tools', with the message that asked as parent; what the user says beside them stays
in it. A `system` prompt beside the messages becomes a step of its own with the index -1, so that
the messages keep their numbers.
"""

from collections.abc import Iterator, Mapping

from lacewing_blame.events import Event
from lacewing_blame.formats.common import (
    Log,
    Record,
    call,
    joined,
    no_name,
    outcome,
    plain,
    text_of,
)

KEYS = ("messages",)
_BLOCKS = {"tool_use", "tool_result", "server_tool_use", "thinking", "redacted_thinking"}


def matches(log: Log) -> bool:
    """Whether messages hold blocks of tool use, or a system prompt stands beside them.

    >>> block = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
    >>> matches(Log("a.json", {}, [{"role": "assistant", "content": [block]}], iter(())))
    True
    """
    if not log.head or not all(r.get("role") in ("user", "assistant") for r in log.head):
        return False
    asked = "system" in log.header and "messages" in log.header
    return asked or any(b.get("type") in _BLOCKS for r in log.head for b in _blocks(r))


def events(log: Log) -> Iterator[Event]:
    """One event per message, and one for the system prompt.

    >>> log = Log("a.json", {"system": "Be kind."}, [{"role": "user", "content": "Hi"}], iter(()))
    >>> [(event.index, event.agent) for event in events(log)]
    [(-1, 'system'), (0, 'user')]
    """
    system = plain(log.header.get("system"))
    if system:
        yield Event(-1, "system", system, role="system", blamable=False)
    asked: dict[str, tuple[int, str]] = {}
    for index, record in enumerate(log.records()):
        role = text_of(record, "role")
        if role is None:
            raise no_name(log, index, "no `role`")
        blocks = _blocks(record)
        used = [b for b in blocks if b.get("type") in ("tool_use", "server_tool_use")]
        results = [b for b in blocks if b.get("type") == "tool_result"]
        asked |= {str(b.get("id")): (index, str(b.get("name"))) for b in used}
        said = [b for b in blocks if b not in used and b not in results]
        text = plain(record.get("content")) if not blocks else plain(said)
        if results:
            yield _result(index, text, results, asked)
            continue
        yield Event(
            index,
            text_of(record, "name") or role,
            joined(text, *(call(b.get("name"), b.get("input")) for b in used)),
            kind="tool_call" if used else "message",
            tool=text_of(used[0], "name") if used else None,
            role=role,
            blamable=role == "assistant",
        )


def _result(
    index: int, said: str, results: list[Record], asked: Mapping[str, tuple[int, str]]
) -> Event:
    """What tools gave back, in one message."""
    text = joined(*(plain(b.get("content")) for b in results), said)
    parent, tool = asked.get(str(results[0].get("tool_use_id")), (None, "tool"))
    failed = any(b.get("is_error") for b in results)
    return Event(
        index,
        tool,
        text,
        kind="tool_result",
        tool=tool,
        status="error" if failed else outcome(text) or "ok",
        parent=parent,
        role="user",
        blamable=False,
    )


def _blocks(record: Record) -> list[Record]:
    content = record.get("content")
    return [b for b in content if isinstance(b, Mapping)] if isinstance(content, list) else []
