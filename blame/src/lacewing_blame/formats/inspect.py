"""Samples of Inspect AI's eval logs, `.eval` or JSON; reading/evals.py takes them out of the file.

A step is a message of the sample. Inspect names no agents: an assistant's message with an `agent`
in its metadata is that agent's, any other one is the assistant's. Content that Inspect keeps as an
attachment is put back.
"""

from collections.abc import Iterator, Mapping
from typing import Any

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

KEYS = ("inspect_messages",)
_ATTACHED = "attachment://"


def matches(log: Log) -> bool:
    """Whether the log is a sample.

    >>> matches(Log("a.eval", {"inspect_messages": []}, [], iter(())))
    True
    """
    return "inspect_messages" in log.header


def header(sample: Mapping[str, Any]) -> dict[str, Any]:
    """What a log's header holds of a sample: task, answer, outcome, label, and its messages.

    >>> header({"id": 7, "input": "2 + 2?", "target": "4", "messages": []})["question"]
    '2 + 2?'
    """
    given = sample.get("input")
    asked = given if isinstance(given, str) else _last_asked(given)
    target = sample.get("target")
    metadata = sample.get("metadata")
    told = metadata if isinstance(metadata, Mapping) else {}
    label = {k: told[k] for k in ("label", "mistake_agent", "mistake_step") if k in told}
    attached = sample.get("attachments") or {}
    messages = [_whole(one, attached) for one in sample.get("messages") or []]
    found = {
        "question": asked,
        "ground_truth": target if isinstance(target, str) else None,
        "question_ID": str(sample.get("id")),
        "inspect_messages": messages,
        **label,
    }
    outcome = _outcome(sample.get("scores"))
    return found if outcome is None else {**found, "succeeded": outcome}


def events(log: Log) -> Iterator[Event]:
    """One event per message.

    >>> said = {"role": "assistant", "content": "4"}
    >>> next(events(Log("a.eval", {}, [said], iter(())))).agent
    'assistant'
    """
    asked: dict[str, tuple[int, str]] = {}
    for index, record in enumerate(log.records()):
        role = text_of(record, "role")
        if role is None:
            raise no_name(log, index, "no `role`")
        calls = [c for c in record.get("tool_calls") or [] if isinstance(c, Mapping)]
        asked |= {str(c.get("id")): (index, str(c.get("function"))) for c in calls}
        text = plain(record.get("content"))
        if role == "tool":
            yield _result(index, text, record, asked)
            continue
        about = record.get("metadata")
        agent = text_of(about, "agent") if isinstance(about, Mapping) else None
        yield Event(
            index,
            agent or role,
            joined(text, *(call(c.get("function"), c.get("arguments")) for c in calls)),
            kind="tool_call" if calls else "message",
            tool=text_of(calls[0], "function") if calls else None,
            role=role,
            blamable=role == "assistant",
        )


def _result(index: int, text: str, record: Record, asked: Mapping[str, tuple[int, str]]) -> Event:
    error = record.get("error")
    failed = plain(error.get("message")) if isinstance(error, Mapping) else ""
    parent, named = asked.get(str(record.get("tool_call_id")), (None, "tool"))
    tool = text_of(record, "function") or named
    return Event(
        index,
        tool,
        joined(text, failed and f"Error: {failed}"),
        kind="tool_result",
        tool=tool,
        status="error" if failed else outcome(text) or "ok",
        parent=parent,
        role="tool",
        blamable=False,
    )


def _last_asked(messages: object) -> str:
    said = [m for m in messages if isinstance(m, Mapping)] if isinstance(messages, list) else []
    users = [plain(m.get("content")) for m in said if m.get("role") == "user"]
    return users[-1] if users else ""


def _outcome(scores: object) -> bool | None:
    """Whether the sample went well, by its first score: C, I, P, N, a number or a truth value."""
    values = list(scores.values()) if isinstance(scores, Mapping) else []
    value = values[0].get("value") if values and isinstance(values[0], Mapping) else None
    if isinstance(value, str):
        return {"C": True, "I": False, "P": False, "N": False}.get(value)
    return float(value) >= 1.0 if isinstance(value, bool | int | float) else None


def _whole(value: Any, attached: Mapping[str, Any]) -> Any:
    """A message with its attachments put back."""
    if isinstance(value, str) and value.startswith(_ATTACHED):
        return attached.get(value.removeprefix(_ATTACHED), value)
    if isinstance(value, Mapping):
        return {key: _whole(inner, attached) for key, inner in value.items()}
    return [_whole(inner, attached) for inner in value] if isinstance(value, list) else value
