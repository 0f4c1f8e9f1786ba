# ruff: noqa
"""Made crewai_log.json and crewai_output.json, with a scripted model.

python make_crewai.py crewai
"""

import json
import os
import sys

os.environ["CREWAI_DISABLE_TELEMETRY"] = "true"
os.environ["OTEL_SDK_DISABLED"] = "true"
os.environ["CREWAI_TRACING_ENABLED"] = "false"
from crewai import Agent, Crew, Process, Task
from crewai.llms.base_llm import BaseLLM
from crewai.tools import tool


@tool("price")
def price(item: str) -> str:
    """Price of an item."""
    return "Error: no such item: lamp" if item == "lamp" else "A desk costs 120."


class Scripted(BaseLLM):
    outs: list = []

    def call(self, messages, tools=None, callbacks=None, available_functions=None, **k):
        return self.outs.pop(0)

    def supports_function_calling(self):
        return False

    def get_context_window_size(self):
        return 8000


outs = [
    'Thought: look\nAction: price\nAction Input: {"item": "lamp"}',
    'Thought: look\nAction: price\nAction Input: {"item": "desk"}',
    "Thought: I now know the final answer\nFinal Answer: The lamp costs about 45, the desk 120, so 165 in all.",
    "Thought: I now know the final answer\nFinal Answer: They cost 165.",
]
try:
    llm = Scripted(model="scripted", outs=outs)
except TypeError:
    llm = Scripted(model="scripted")
    llm.outs = outs
a = Agent(
    role="Clerk",
    goal="Find prices",
    backstory="Never guesses a price.",
    tools=[price],
    llm=llm,
    verbose=False,
)
b = Agent(role="Writer", goal="Answer", backstory="Writes.", llm=llm, verbose=False)
t1 = Task(description="Find what a lamp and a desk cost.", expected_output="Prices", agent=a)
t2 = Task(description="Say what they cost together.", expected_output="One line", agent=b)
steps = []


def keep(s):
    steps.append(
        {"type": type(s).__name__, **{k: str(v) for k, v in getattr(s, "__dict__", {}).items()}}
    )


c = Crew(
    agents=[a, b],
    tasks=[t1, t2],
    process=Process.sequential,
    verbose=False,
    step_callback=keep,
    output_log_file=sys.argv[1] + "_log.json",
    tracing=False,
)
r = c.kickoff()
json.dump(steps, open(sys.argv[1] + "_steps.json", "w"), indent=1)
json.dump(r.model_dump(mode="json"), open(sys.argv[1] + "_output.json", "w"), indent=1)
