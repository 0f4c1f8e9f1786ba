"""CrewAI: the JSON of a `CrewOutput`, or the file of `output_log_file`.

A CrewOutput holds each task's messages; an agent's message that ends in an observation is two
steps, the call and what the tool gave back, so steps are numbered as they are read. The log file
holds only who finished which task with what.
"""

import re
from collections.abc import Iterator

from lacewing_blame.events import Event
from lacewing_blame.formats.common import Log, Record, outcome, plain, seconds, text_of

KEYS = ("tasks_output",)
_CALL = re.compile(r"^\s*Action:\s*(?P<tool>[^\n]+)\n\s*Action Input:", re.MULTILINE)
_SAW = re.compile(r"\n\s*Observation:\s*")


def matches(log: Log) -> bool:
    """Whether tasks with agents and their output stand in the log.

    >>> matches(Log("a.json", {"tasks_output": [], "raw": ""}, [], iter(())))
    True
    """
    finished = bool(log.head) and all(
        {"task", "agent", "status"} <= record.keys() for record in log.head
    )
    return "tasks_output" in log.header or finished


def events(log: Log) -> Iterator[Event]:
    """The steps of all tasks, in order.

    >>> done = {"task": "Add.", "agent": "Ann", "status": "completed", "output": "4"}
    >>> [(event.agent, event.text) for event in events(Log("a.json", {}, [done], iter(())))]
    [('Ann', '4')]
    """
    index = 0
    for record in log.records():
        for event in _of_task(index, record):
            yield event
            index += 1


def _of_task(index: int, record: Record) -> Iterator[Event]:
    agent = (text_of(record, "agent") or "agent").strip()
    if "status" in record:
        time = seconds(record.get("timestamp"))
        if record["status"] == "started":
            text = f"{agent}: {plain(record.get('task'))}"
            yield Event(index, "crew", text, time=time, role="task", blamable=False)
        else:
            yield Event(index, agent, plain(record.get("output")), time=time, role="agent")
        return
    for message in record.get("messages") or []:
        role, text = text_of(message, "role") or "assistant", plain(message.get("content"))
        if role != "assistant":
            yield Event(index, role, text, role=role, blamable=False)
            index += 1
            continue
        called = _CALL.search(text)
        said, *seen = _SAW.split(text, maxsplit=1) if called else [text]
        tool = called["tool"].strip() if called else None
        yield Event(
            index, agent, said, kind="tool_call" if called else "message", tool=tool, role=role
        )
        if seen:
            yield Event(
                index + 1,
                tool or "tool",
                seen[0],
                kind="tool_result",
                tool=tool,
                status=outcome(seen[0]) or "ok",
                parent=index,
                role="tool",
                blamable=False,
            )
        index += 1 + len(seen)
    yield Event(index, agent, plain(record.get("raw")), role="output")
