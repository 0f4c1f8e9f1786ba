# ruff: noqa
"""Made agents_input.json, agents_items.json and agents_trace.json (OpenAI Agents SDK).

python make_agents.py agents
"""

import asyncio
import json
import sys

from agents import Agent, Runner, function_tool, set_trace_processors
from agents.items import ModelResponse
from agents.models.interface import Model
from agents.tracing import TracingProcessor
from agents.usage import Usage
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)


def say(t):
    return ResponseOutputMessage(
        id="m",
        type="message",
        role="assistant",
        status="completed",
        content=[ResponseOutputText(type="output_text", text=t, annotations=[])],
    )


def call(n, a, i):
    return ResponseFunctionToolCall(
        type="function_call", name=n, arguments=json.dumps(a), call_id=i, id="f" + i
    )


class Scripted(Model):
    def __init__(self, *outs):
        self.outs = list(outs)

    async def get_response(self, *a, **k):
        return ModelResponse(output=self.outs.pop(0), usage=Usage(), response_id=None)

    def stream_response(self, *a, **k):
        raise NotImplementedError


class Keep(TracingProcessor):
    def __init__(self):
        self.seen = []

    def on_trace_start(self, t):
        self.seen.append(t.export())

    def on_trace_end(self, t):
        pass

    def on_span_start(self, s):
        pass

    def on_span_end(self, s):
        self.seen.append(s.export())

    def shutdown(self):
        pass

    def force_flush(self):
        pass


@function_tool
def price(item: str) -> str:
    """Price of an item."""
    return "Error: no such item: lamp" if item == "lamp" else "A desk costs 120."


keep = Keep()
set_trace_processors([keep])
clerk = Agent(
    name="Clerk",
    instructions="Never guess a price.",
    tools=[price],
    model=Scripted(
        [call("price", {"item": "lamp"}, "c2")],
        [call("price", {"item": "desk"}, "c3")],
        [say("The lamp costs about 45, the desk 120, so 165 in all.")],
    ),
)
desk = Agent(
    name="Front desk",
    instructions="Hand over to the clerk.",
    handoffs=[clerk],
    model=Scripted([call("transfer_to_clerk", {}, "c1")]),
)
r = asyncio.run(Runner.run(desk, "What do a lamp and a desk cost together?"))
json.dump(keep.seen, open(sys.argv[1] + "_trace.json", "w"), indent=1, default=str)
items = []
for i in r.new_items:
    items.append(
        {
            "agent": i.agent.name,
            "type": i.type,
            "raw_item": i.raw_item
            if isinstance(i.raw_item, dict)
            else i.raw_item.model_dump(exclude_none=True),
        }
    )
json.dump(items, open(sys.argv[1] + "_items.json", "w"), indent=1)
json.dump(r.to_input_list(), open(sys.argv[1] + "_input.json", "w"), indent=1)
