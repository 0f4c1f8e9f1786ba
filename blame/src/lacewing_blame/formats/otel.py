"""OpenTelemetry spans with the GenAI conventions, as OTLP JSON, whole or one export per line.

A step is a span that has a `gen_ai.` attribute (or one of OpenLLMetry's). Spans are written when
they end, so steps are numbered in the order they began; `role` keeps the span's name and id. A span
that only frames others (invoke_agent, a workflow) is not to blame: what is inside it is.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lacewing_blame.errors import DataError
from lacewing_blame.events import Event, Kind, Status
from lacewing_blame.formats.common import Log, Record, call, joined, plain, written

KEYS = ("resourceSpans", "resource_spans")
_AGENT = ("gen_ai.agent.name", "traceloop.entity.name", "agent.name", "gen_ai.agent.id")


@dataclass(slots=True)
class _Span:
    id: str
    parent: str
    name: str
    start: int
    values: dict[str, Any]
    error: bool

    @property
    def operation(self) -> str:
        known = self.values.get("gen_ai.operation.name")
        return str(known) if known else self.name.split(" ")[0]

    @property
    def agent(self) -> str | None:
        return next((str(self.values[key]) for key in _AGENT if self.values.get(key)), None)


def matches(log: Log) -> bool:
    """Whether the log holds exported spans.

    >>> from lacewing_blame.formats.common import Log
    >>> log = Log("a.json", {}, [{"resourceSpans": []}], iter(()))
    >>> matches(log)
    True
    """
    return any(key in log.header or log.any_has(key) for key in KEYS) or log.any_has("scopeSpans")


def events(log: Log) -> Iterator[Event]:
    """One event per GenAI span, in order of their beginning.

    >>> from lacewing_blame.formats.common import Log
    >>> attributes = [{"key": "gen_ai.agent.name", "value": {"stringValue": "Ann"}}]
    >>> span = {"name": "chat", "spanId": "1", "startTimeUnixNano": "1", "attributes": attributes}
    >>> spans = {"scopeSpans": [{"spans": [span]}]}
    >>> log = Log("a.json", {}, [spans], iter(()))
    >>> [event.agent for event in events(log)]
    ['Ann']
    """
    spans = {span.id: span for span in _spans(log)}
    chains = {span.id: _ancestors(log, span, spans) for span in spans.values()}
    steps = sorted((s for s in spans.values() if _is_step(s)), key=lambda s: s.start)
    place = {span.id: index for index, span in enumerate(steps)}
    framing = {parent for span in steps for parent in chains[span.id]}
    for index, span in enumerate(steps):
        above = [spans[parent] for parent in chains[span.id]]
        agent = next((a for one in (span, *above) if (a := one.agent)), None)
        yield _event(
            span,
            index,
            agent or "assistant",
            next((place[one.id] for one in above if one.id in place), None),
            span.id in framing and span.operation != "chat",
        )


def task(first: Sequence[Event]) -> str:
    """What the user asked, from the first step that was given messages.

    >>> task(())
    ''
    """
    for event in first:
        found = event.text.split("\n[user] ", 1)
        if len(found) == 2:
            return found[1].split("\n[", 1)[0].strip()
    return ""


def _is_step(span: _Span) -> bool:
    return any(key.startswith(("gen_ai.", "traceloop.", "llm.")) for key in span.values)


def _event(span: _Span, index: int, agent: str, parent: int | None, frame: bool) -> Event:
    values, operation = span.values, span.operation
    tool = values.get("gen_ai.tool.name")
    status: Status | None = "error" if span.error else None
    kind: Kind = "message"
    if operation == "execute_tool" or tool:
        kind, status = "tool_result", status or "ok"
        given = values.get("gen_ai.tool.call.arguments")
        text = joined(
            call(tool or span.name, given),
            written(values.get("gen_ai.tool.call.result", "")),
        )
    else:
        given = _messages(values, "input", "prompt")
        text = _messages(values, "output", "completion") or span.name
        if frame:
            kind = "handoff"
            text = joined(span.name, given)
    if span.error:
        text = joined(text, str(values.get("error.type", "")))
    return Event(
        index,
        agent,
        text,
        kind=kind,
        tool=str(tool) if tool else None,
        status=status,
        parent=parent,
        time=span.start / 1e9,
        role=f"{span.name} [{span.id}]",
        blamable=not frame and kind != "tool_result",
    )


def _messages(values: Mapping[str, Any], way: str, older: str) -> str:
    """What was said to or by a model, in the conventions of several years."""
    found = values.get(f"gen_ai.{way}.messages", values.get(f"gen_ai.{older}"))
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except json.JSONDecodeError:
            return str(found)
    if isinstance(found, list):
        return "\n".join(_message(one, way == "input") for one in found)
    numbered = [values[key] for n in range(100) if (key := f"gen_ai.{older}.{n}.content") in values]
    return "\n".join(map(written, numbered))


def _message(message: object, with_role: bool) -> str:
    if not isinstance(message, Mapping):
        return plain(message)
    parts = message.get("parts", message.get("content"))
    said = []
    for part in parts if isinstance(parts, list) else [parts]:
        if isinstance(part, Mapping) and part.get("type") == "tool_call":
            said.append(call(part.get("name"), part.get("arguments")))
        else:
            said.append(plain(part))
    return f"[{message.get('role')}] {joined(*said)}" if with_role else joined(*said)


def _ancestors(log: Log, span: _Span, spans: Mapping[str, _Span]) -> list[str]:
    """Ids of the spans around one, nearest first."""
    found: dict[str, None] = {}
    here = span.parent
    while here in spans:
        if here in found or here == span.id:
            raise DataError(
                f"{log.name}: the parents of span {span.id} form a cycle; each span's parent must "
                "have begun before it"
            )
        found[here] = None
        here = spans[here].parent
    return list(found)


def _spans(log: Log) -> Iterator[_Span]:
    for record in log.records():
        exported = next((record[key] for key in KEYS if key in record), [record])
        for resource in exported:
            for scope in resource.get("scopeSpans") or resource.get("scope_spans") or []:
                for number, span in enumerate(scope.get("spans") or []):
                    yield _span(log, number, span)


def _span(log: Log, number: int, span: Record) -> _Span:
    try:
        values: dict[str, Any] = {}
        for holder in (span, *(span.get("events") or [])):
            for one in holder.get("attributes") or []:
                values[one["key"]] = _value(one.get("value"))
        code = (span.get("status") or {}).get("code")
        return _Span(
            str(span["spanId"]),
            str(span.get("parentSpanId") or ""),
            str(span.get("name") or "span"),
            int(span.get("startTimeUnixNano") or 0),
            values,
            code in (2, "STATUS_CODE_ERROR", "ERROR"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{log.name}: span {number} is not as OTLP writes spans ({error!r:.80}); "
            "export it as OTLP JSON"
        ) from error


def _value(value: object) -> Any:
    """A value of an attribute, out of OTLP's wrapping."""
    if not isinstance(value, Mapping):
        return value
    if "arrayValue" in value:
        return [_value(one) for one in (value["arrayValue"] or {}).get("values", [])]
    if "kvlistValue" in value:
        pairs = (value["kvlistValue"] or {}).get("values", [])
        return {one["key"]: _value(one.get("value")) for one in pairs}
    return next(iter(value.values()), None)
