"""A small log of every format that blame reads."""

import json
from pathlib import Path
from typing import Any

HEAD = {"task": "Sum 1 and 2", "expected": "3", "is_correct": False}


def _span(id: str, parent: str, start: int, name: str, values: dict[str, str]) -> dict[str, Any]:
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]
    return {
        "spanId": id,
        "parentSpanId": parent,
        "name": name,
        "startTimeUnixNano": str(start),
        "attributes": attributes,
        "status": {"code": 2} if "error.type" in values else {},
    }


def _says(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


_GEN = "gen_ai."
_SPANS = [
    _span(
        "r",
        "",
        1,
        "invoke_agent boss",
        {
            f"{_GEN}operation.name": "invoke_agent",
            f"{_GEN}agent.name": "boss",
            f"{_GEN}input.messages": _says("user", "How many?"),
        },
    ),
    _span(
        "c",
        "r",
        2,
        "chat gpt",
        {f"{_GEN}operation.name": "chat", f"{_GEN}output.messages": _says("assistant", "4.")},
    ),
    _span(
        "t",
        "r",
        3,
        "execute_tool sum",
        {
            f"{_GEN}operation.name": "execute_tool",
            f"{_GEN}tool.name": "sum",
            f"{_GEN}tool.call.result": "boom",
            "error.type": "ValueError",
        },
    ),
]
LOGS: dict[str, Any] = {
    "whoandwhen": {
        "question": "Sum",
        "ground_truth": "3",
        "question_ID": "q1",
        "is_correct": False,
        "mistake_agent": "Coder",
        "mistake_step": "1",
        "mistake_reason": "wrong",
        "history": [
            {"content": "Plan it", "role": "Planner", "name": "Planner"},
            {"content": "Error: 1 + 2 = 4", "role": "Coder", "name": "Coder"},
            {"content": "Done, TERMINATE", "role": "Planner", "name": "Planner"},
        ],
    },
    "otel": {"resourceSpans": [{"scopeSpans": [{"spans": _SPANS}]}]},
    "langchain": {
        "values": {
            "messages": [
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
                {
                    "type": "tool",
                    "name": "add",
                    "content": "3",
                    "tool_call_id": "t1",
                    "status": "error",
                },
            ]
        }
    },
    "autogen": HEAD
    | {
        "messages": [
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
        ],
        "stop_reason": None,
    },
    "openai": {
        "messages": [
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
        ],
        "label": {"agent": "assistant", "step": 4},
    },
    "jsonl": [
        HEAD | {"label": {"agent": "b", "step": 12, "reason": "wrong"}},
        {
            "agent": "a",
            "text": "plan",
            "index": 10,
            "kind": "plan",
            "time": "2026-01-01T00:00:00Z",
        },
        {"agent": "b", "text": "4", "index": 12, "parent": 10, "tokens": 5},
        {"agent": "tool", "text": "Error: x", "index": 13, "status": "error"},
    ],
}
"""By the format's name; a list is a file of lines."""

SAMPLES = Path(__file__).resolve().parents[2] / "blame" / "tests" / "samples"
"""Logs as other programs wrote them."""
for _name, _file in {
    "agents": "agents_trace",
    "agents-items": "agents_items",
    "agents-input": "agents_input",
    "anthropic": "anthropic",
    "crewai": "crewai_output",
    "crewai-log": "crewai_log",
    "inspect": "inspect",
}.items():
    LOGS[_name] = json.loads((SAMPLES / f"{_file}.json").read_text(encoding="utf-8"))


def text(name: str) -> str:
    """A log as its file holds it."""
    log = LOGS[name]
    return "".join(json.dumps(row) + "\n" for row in log) if name == "jsonl" else json.dumps(log)


def file(name: str) -> str:
    """The name of its file."""
    return f"{name}.jsonl" if name == "jsonl" else f"{name}.json"
