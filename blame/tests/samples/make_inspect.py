# ruff: noqa
"""Made inspect.eval and inspect.json (Inspect AI 0.3.116, its mock model); slimmed by hand since.

python make_inspect.py FOLDER
"""

import sys

from inspect_ai import Task
from inspect_ai import eval as run
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, system_message, use_tools
from inspect_ai.tool import tool


@tool
def price():
    async def execute(item: str) -> str:
        """Price of an item.

        Args:
            item: The item.
        """
        if item == "lamp":
            raise __import__("inspect_ai").tool.ToolError("no such item: lamp")
        return "A desk costs 120."

    return execute


out = [
    ModelOutput.for_tool_call("mockllm/model", "price", {"item": "lamp"}),
    ModelOutput.for_tool_call("mockllm/model", "price", {"item": "desk"}),
    ModelOutput.from_content(
        "mockllm/model", "The lamp costs about 45, the desk 120, so 165 in all."
    ),
]
t = Task(
    dataset=[Sample(input="What do a lamp and a desk cost together?", target="170", id="shop-1")],
    solver=[
        system_message("You serve a shop. Never guess a price."),
        use_tools(price()),
        generate(),
    ],
    scorer=includes(),
)
for f in ("eval", "json"):
    log = run(
        t,
        model=get_model("mockllm/model", custom_outputs=list(out)),
        log_dir=sys.argv[1],
        log_format=f,
        display="none",
    )
    print(log[0].status)
