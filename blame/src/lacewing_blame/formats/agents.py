"""OpenAI Agents SDK: exported trace spans, `RunResult.new_items`, or its input list.

* Spans as a `TracingProcessor` gets them from `export()`, one object or line each. Spans end inside
  out: steps are numbered in the order they began. What only frames others (agent, turn, task) is no
  step; it tells whose the steps inside it are.
* Items as `{"agent": name, "type": item.type, "raw_item": ...}`, one per step.
* The list of `result.to_input_list()`: items of the Responses API, which name no agents.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lacewing_blame.events import Event, Kind
from lacewing_blame.formats.common import (
    Log,
    Record,
    call,
    joined,
    outcome,
    plain,
    seconds,
    text_of,
)

KEYS = ("spans", "items", "data")
_ITEMS = {"function_call", "function_call_output", "reasoning", "handoff_call_item"}
_STEPS = {"generation", "response", "function", "handoff", "guardrail"}


def matches(log: Log) -> bool:
    """Whether the records are spans, run items, or items of the Responses API.

    >>> matches(Log("a.json", {}, [{"object": "trace.span", "span_data": {}}], iter(())))
    True
    """
    return (
        log.any_has("span_data")
        or log.any_has("raw_item")
        or any(record.get("type") in _ITEMS and "call_id" in record for record in log.head)
    )


def events(log: Log) -> Iterator[Event]:
    """One event per step.

    >>> called = {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}
    >>> next(events(Log("a.json", {}, [called], iter(())))).text
    'f({})'
    """
    records = list(log.records())
    if any("span_data" in record for record in records):
        yield from _spans(records)
        return
    asked: dict[str, tuple[int, str]] = {}
    for index, record in enumerate(records):
        raw = record.get("raw_item")
        item = raw if isinstance(raw, Mapping) else record
        yield _item(index, item, text_of(record, "agent") or "assistant", asked)


def _item(index: int, item: Record, agent: str, asked: dict[str, tuple[int, str]]) -> Event:
    """A step out of an item of the Responses API."""
    kind, role = item.get("type"), text_of(item, "role")
    if kind == "function_call":
        tool = str(item.get("name"))
        asked[str(item.get("call_id"))] = (index, tool)
        act: Kind = "handoff" if tool.startswith("transfer_to_") else "tool_call"
        return Event(
            index, agent, call(tool, item.get("arguments")), kind=act, tool=tool, role="assistant"
        )
    if kind == "function_call_output":
        parent, tool = asked.get(str(item.get("call_id")), (None, "tool"))
        text = plain(item.get("output"))
        return Event(
            index,
            tool,
            text,
            kind="tool_result",
            tool=tool,
            status=outcome(text) or "ok",
            parent=parent,
            role="tool",
            blamable=False,
        )
    text = plain(item.get("content") or item.get("summary") or item.get("text"))
    if role in ("user", "system", "developer"):
        return Event(index, role, text, role=role, blamable=False)
    return Event(index, agent, text, role=role or "assistant")


def _spans(records: list[Record]) -> Iterator[Event]:
    """The steps of a trace, in the order they began."""
    spans = [r for r in records if isinstance(r.get("span_data"), Mapping)]
    by_id = {str(span.get("id")): span for span in spans}
    steps = [span for span in spans if span["span_data"].get("type") in _STEPS]
    steps.sort(key=lambda span: seconds(span.get("started_at")) or 0.0)
    index = 0
    for span in steps:
        made = list(_of_span(index, span, _agent(span, by_id)))
        yield from made
        index += len(made)


def _of_span(index: int, span: Record, agent: str) -> Iterator[Event]:
    data: Mapping[str, Any] = span["span_data"]
    kind, name = data.get("type"), str(data.get("name") or "tool")
    time, error = seconds(span.get("started_at")), span.get("error")
    role = f"{kind} [{span.get('id')}]"
    if kind == "function":
        text = call(name, data.get("input"))
        yield Event(index, agent, text, kind="tool_call", tool=name, time=time, role=role)
        result = joined(plain(data.get("output")), plain(error) if error else "")
        yield Event(
            index + 1,
            name,
            result,
            kind="tool_result",
            tool=name,
            status="error" if error else outcome(result) or "ok",
            parent=index,
            time=time,
            role=role,
            blamable=False,
        )
    elif kind == "handoff":
        text = f"{data.get('from_agent')} hands over to {data.get('to_agent')}"
        owner = str(data.get("from_agent") or agent)
        yield Event(index, owner, text, kind="handoff", time=time, role=role)
    else:
        given = data.get("output")
        text = plain(given) if isinstance(given, str | list) else json.dumps(given, default=str)
        if given or error:
            said = joined(text if given else "", plain(error) if error else "")
            yield Event(index, agent, said, time=time, role=role)


def _agent(span: Record, by_id: Mapping[str, Record]) -> str:
    """The agent whose span frames a step."""
    here, seen = span, set[str]()
    while (parent := str(here.get("parent_id"))) in by_id and parent not in seen:
        seen.add(parent)
        here = by_id[parent]
        data = here.get("span_data")
        if isinstance(data, Mapping) and data.get("type") == "agent":
            return str(data.get("name") or "assistant")
    return "assistant"
