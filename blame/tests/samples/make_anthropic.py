# ruff: noqa
"""Made anthropic.json from the types of the anthropic package.

python make_anthropic.py anthropic.json
"""

import json
import sys

from anthropic.types import Message, TextBlock, ToolUseBlock, Usage


def m(*b):
    return Message(
        id="m",
        type="message",
        role="assistant",
        model="scripted",
        content=list(b),
        stop_reason="end_turn",
        usage=Usage(input_tokens=1, output_tokens=1),
    )


msgs = [{"role": "user", "content": "What do a lamp and a desk cost together?"}]


def add(msg):
    msgs.append(
        {"role": msg.role, "content": [b.model_dump(exclude_none=True) for b in msg.content]}
    )


add(
    m(
        TextBlock(type="text", text="I look both up."),
        ToolUseBlock(type="tool_use", id="c1", name="price", input={"item": "lamp"}),
        ToolUseBlock(type="tool_use", id="c2", name="price", input={"item": "desk"}),
    )
)
msgs.append(
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "c1",
                "is_error": True,
                "content": "no such item: lamp",
            },
            {
                "type": "tool_result",
                "tool_use_id": "c2",
                "content": [{"type": "text", "text": "A desk costs 120."}],
            },
        ],
    }
)
add(m(TextBlock(type="text", text="The lamp costs about 45, the desk 120, so 165 in all.")))
json.dump({"system": "Never guess a price.", "messages": msgs}, open(sys.argv[1], "w"), indent=1)
