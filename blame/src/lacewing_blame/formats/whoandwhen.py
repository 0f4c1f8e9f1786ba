"""Who&When (arXiv 2505.00212), both subsets.

Algorithm-generated logs name the speaker in `name` (`role` is only user or assistant). Hand-crafted
ones name it in `role`, with a suffix: `Orchestrator (thought)`, `Orchestrator (-> WebSurfer)`.
AgentForesight (arXiv 2605.08715) uses the same schema with tool calls written out in the text, and
lets the terminal speak for the simulated user.
"""

import re
from collections.abc import Iterator

from lacewing_blame.events import Event, Kind, Status
from lacewing_blame.formats.common import (
    Log,
    is_person,
    is_terminal,
    no_name,
    outcome,
    plain,
    text_of,
)

KEYS = ("history",)
_SUFFIX = re.compile(r"\s*\((?P<what>[^()]*)\)\s*$")
_CALL = re.compile(r"\s*(?:Tool call:\s*|<[\w.:-]*tool_call>\s*<invoke name=\")(?P<tool>[\w.-]+)")
_RESULT = re.compile(r"\s*Tool result\b(?: from (?P<tool>[\w.-]+))?")
_LATER = re.compile(r"\s*(?:Orchestration|Next speaker)\b")
_THOUGHTS: tuple[tuple[str, Kind], ...] = (
    ("Initial plan", "plan"),
    ("New plan", "plan"),
    ("Updated Ledger", "ledger"),
    ("Next speaker", "handoff"),
    ("Stalled", "ledger"),
    ("Request satisfied", "final"),
)


def matches(log: Log) -> bool:
    """Whether messages stand under `history` beside a question, or its number.

    >>> log = Log("a.json", {"question": "How many?", "history": []}, [], iter(()))
    >>> matches(log)
    True
    """
    return "history" in log.header and ("question" in log.header or "question_ID" in log.header)


def events(log: Log) -> Iterator[Event]:
    """One event per message of `history`.

    >>> log = Log("a.json", {}, [{"role": "Boss (thought)", "content": "New plan: go"}], iter(()))
    >>> next(events(log)).kind
    'plan'
    """
    writes_calls = False
    for index, record in enumerate(log.records()):
        role = text_of(record, "name", "role")
        if role is None:
            raise no_name(log, index, "neither `name` nor `role`")
        text = plain(record.get("content"))
        agent = _SUFFIX.sub("", role) or role
        machine = is_terminal(agent)
        called = None if machine else _CALL.match(text)
        returned = _RESULT.match(text) if machine else None
        writes_calls = writes_calls or returned is not None
        kind = "tool_call" if called else _kind(role, text, machine)
        if machine and returned is None and (writes_calls or index == 0):
            kind = "message"  # the simulated user, or the harness, rather than a tool
        yield Event(
            index,
            agent,
            text,
            kind=kind,
            tool=(called or returned or {"tool": None})["tool"],
            status=_outcome(text) if kind == "tool_result" else None,
            role=role,
            blamable=not (machine or is_person(agent)),
        )


def _outcome(text: str) -> Status | None:
    """As `outcome`, past the words that only say whose result it is."""
    shown = text.partition("\n")[2] if _RESULT.match(text) else text
    return outcome(shown)


def _kind(role: str, text: str, machine: bool) -> Kind:
    if machine:
        return "tool_result"
    suffix = _SUFFIX.search(role)
    what = suffix["what"] if suffix else ""
    if what == "thought":
        return next((kind for start, kind in _THOUGHTS if text.startswith(start)), "plan")
    if what.startswith("->") or _LATER.match(text):
        return "handoff"
    if what == "termination condition" or text.strip() == "TERMINATE":
        return "final"
    return "message"
