"""Each log format, detected and read, from small logs made here."""

import json
from pathlib import Path

import pytest

from lacewing_blame.errors import DataError
from lacewing_blame.events import Trace
from lacewing_blame.reading.read import read


def log(path: Path, value: object, lines: bool = False) -> Trace:
    """A log written and read back."""
    text = "\n".join(map(json.dumps, value)) if lines else json.dumps(value)
    path.write_text(text + "\n", encoding="utf-8")
    return read(path)


def test_autogen_chat_history(tmp_path: Path) -> None:
    """AG2's history is told by its key; a terminal and a user proxy are not to blame."""
    history = [
        {"content": "Count", "role": "assistant", "name": "user_proxy"},
        {"content": "```python\nprint(1)\n```", "role": "user", "name": "Coder"},
        {"content": "exitcode: 0\n1", "role": "user", "name": "Computer_terminal"},
        {"content": "TERMINATE", "role": "user", "name": "Coder"},
    ]
    trace = log(tmp_path / "a.json", {"chat_history": history, "summary": ""})

    assert ("autogen", "Count", ("Coder",)) == (trace.format, trace.task, trace.agents())
    assert ["message", "message", "tool_result", "final"] == [e.kind for e in trace.events]
    assert "ok" == trace.events[2].status


def test_autogen_bare_list(tmp_path: Path) -> None:
    """AG2 messages without a frame are told from the chat API's by talking agents."""
    messages = [
        {"content": "hi", "role": "user", "name": "Planner"},
        {"content": "ok", "role": "assistant", "name": "Coder"},
    ]

    assert "autogen" == log(tmp_path / "a.json", messages).format


def test_autogen_sources(tmp_path: Path) -> None:
    """AutoGen's typed messages: calls, results with errors, hand-overs."""
    messages = [
        {"source": "user", "type": "TextMessage", "content": "Go"},
        {
            "source": "Web",
            "type": "ToolCallRequestEvent",
            "content": [{"id": "1", "name": "search", "arguments": '{"q": 1}'}],
        },
        {
            "source": "Web",
            "type": "ToolCallExecutionEvent",
            "content": [{"call_id": "1", "name": "search", "content": "no", "is_error": True}],
        },
        {"source": "Web", "type": "HandoffMessage", "content": "to B", "target": "B"},
    ]
    trace = log(tmp_path / "a.json", {"messages": messages, "stop_reason": None})

    assert "autogen" == trace.format
    assert ["message", "tool_call", "tool_result", "handoff"] == [e.kind for e in trace.events]
    assert ('search({"q": 1})', "error") == (trace.events[1].text, trace.events[2].status)
    assert [False, True, False, True] == [event.blamable for event in trace.events]


def test_langchain_flat(tmp_path: Path) -> None:
    """A LangGraph state: a call, its result with the call as parent, and a hand-over."""
    messages = [
        {"type": "human", "content": "Go"},
        {
            "type": "ai",
            "name": "supervisor",
            "content": "",
            "tool_calls": [{"name": "transfer_to_math", "args": {}, "id": "t0"}],
        },
        {
            "type": "ai",
            "name": "math",
            "content": [{"type": "text", "text": "adding"}],
            "tool_calls": [{"name": "add", "args": {"a": 1}, "id": "t1"}],
        },
        {"type": "tool", "name": "add", "content": "3", "tool_call_id": "t1", "status": "error"},
    ]
    trace = log(tmp_path / "a.json", {"values": {"messages": messages}})

    assert ("langchain", ("supervisor", "math")) == (trace.format, trace.agents())
    assert ["message", "handoff", "tool_call", "tool_result"] == [e.kind for e in trace.events]
    assert 'adding\nadd({"a": 1})' == trace.events[2].text
    assert (2, "error") == (trace.events[3].parent, trace.events[3].status)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "ai", "data": {"content": "hello", "name": "bot"}},
        {
            "lc": 1,
            "type": "constructor",
            "id": ["langchain", "schema", "messages", "AIMessage"],
            "kwargs": {"content": "hello", "name": "bot"},
        },
    ],
)
def test_langchain_spellings(tmp_path: Path, message: object) -> None:
    """Both dictionaries of LangChain say the same."""
    trace = log(tmp_path / "a.jsonl", [message, message], lines=True)

    assert (
        trace.format,
        trace.events[1].agent,
        trace.events[1].text,
    ) == ("langchain", "bot", "hello")


def test_openai_tool_calls(tmp_path: Path) -> None:
    """Messages of the chat API, with a call, its result, and parts as content."""
    messages = [
        {"role": "system", "content": "Be good"},
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "get", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "Error: no network"},
        {"role": "assistant", "content": "Sunny."},
    ]
    trace = log(
        tmp_path / "a.json", {"messages": messages, "label": {"agent": "assistant", "step": 4}}
    )

    assert ("openai", "Weather?", ("assistant",)) == (trace.format, trace.task, trace.agents())
    assert (
        trace.events[3].tool,
        trace.events[3].parent,
        trace.events[3].status,
    ) == ("get", 2, "error")
    assert 4 == trace.label.step


def test_jsonl_fields(tmp_path: Path) -> None:
    """Plain events keep their own numbers, kinds and parents; a line may describe the run."""
    lines = [
        {"task": "Sum", "expected": "3", "label": {"agent": "b", "step": 12, "reason": "wrong"}},
        {"agent": "a", "text": "plan", "index": 10, "kind": "plan", "time": "2026-01-01T00:00:00Z"},
        {"agent": "b", "text": "4", "index": 12, "parent": 10},
        {"agent": "tool", "text": "Error: x", "index": 13},
    ]
    trace = log(tmp_path / "a.jsonl", lines, lines=True)

    assert ("jsonl", "Sum", "3") == (trace.format, trace.task, trace.expected)
    assert ([10, 12, 13], 10) == ([e.index for e in trace.events], trace.events[1].parent)
    assert 1767225600.0 == trace.events[0].time
    assert ("tool_result", "error") == (trace.events[2].kind, trace.events[2].status)


@pytest.mark.parametrize(
    ("field", "value"), [("kind", "dance"), ("status", "maybe"), ("index", "one"), ("parent", 1.5)]
)
def test_jsonl_bad_fields(tmp_path: Path, field: str, value: object) -> None:
    """A field that cannot be used is named."""
    with pytest.raises(DataError, match=f"step 0 has {field}"):
        log(tmp_path / "a.json", [{"agent": "a", "text": "b", field: value}])


def span(id: str, parent: str, start: int, name: str, values: dict[str, object]) -> dict:
    """A span as OTLP writes it."""
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]
    return {
        "spanId": id,
        "parentSpanId": parent,
        "name": name,
        "startTimeUnixNano": str(start),
        "attributes": attributes,
        "status": {"code": 2} if "error.type" in values else {},
    }


def exported(*spans: dict) -> dict:
    """An export of spans."""
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


OUT = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "It is 4."}]}])
IN = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "How many?"}]}])
RUN = span(
    "r",
    "",
    1,
    "invoke_agent boss",
    {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "boss",
        "gen_ai.input.messages": IN,
    },
)
CHAT = span(
    "c",
    "r",
    2,
    "chat gpt",
    {
        "gen_ai.operation.name": "chat",
        "gen_ai.output.messages": OUT,
    },
)
TOOL = span(
    "t",
    "r",
    3,
    "execute_tool sum",
    {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "sum",
        "gen_ai.tool.call.result": "boom",
        "error.type": "ValueError",
    },
)
HTTP = span("h", "c", 2, "POST", {"http.method": "POST"})


@pytest.mark.parametrize("lines", [False, True])
def test_otel_spans(tmp_path: Path, lines: bool) -> None:
    """Spans come in order of their beginning; frames and plumbing are not to blame."""
    value = (
        [exported(TOOL, HTTP), exported(CHAT, RUN)] if lines else exported(TOOL, HTTP, CHAT, RUN)
    )
    trace = log(tmp_path / "a.json", value, lines)

    assert ("otel", ["boss"] * 3) == (trace.format, [event.agent for event in trace.events])
    assert [False, True, False] == [event.blamable for event in trace.events]
    assert ("It is 4.", 0) == (trace.events[1].text, trace.events[1].parent)
    assert ("sum()\nboom\nValueError", "error") == (trace.events[2].text, trace.events[2].status)
    assert "chat gpt [c]" == trace.events[1].role
    assert "How many?" == trace.task


def test_otel_cycle(tmp_path: Path) -> None:
    """Spans that are each other's parents are refused."""
    a = span("a", "b", 1, "chat", {"gen_ai.operation.name": "chat"})
    b = span("b", "a", 2, "chat", {"gen_ai.operation.name": "chat"})

    with pytest.raises(DataError, match="form a cycle"):
        log(tmp_path / "a.json", exported(a, b))


def test_otel_bad_span(tmp_path: Path) -> None:
    """A span without an id is named as such."""
    with pytest.raises(DataError, match="not as OTLP writes spans"):
        log(tmp_path / "a.json", exported({"name": "chat"}))
