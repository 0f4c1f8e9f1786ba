"""Who&When (arXiv 2505.00212), both subsets.

Algorithm-generated logs name the speaker in `name` (`role` is only user or assistant). Hand-crafted
ones name it in `role`, with a suffix: `Orchestrator (thought)`, `Orchestrator (-> WebSurfer)`.
"""

import re
from collections.abc import Iterator

from lacewing_blame.events import Event, Kind
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
_THOUGHTS: tuple[tuple[str, Kind], ...] = (
    ("Initial plan", "plan"),
    ("New plan", "plan"),
    ("Updated Ledger", "ledger"),
    ("Next speaker", "handoff"),
    ("Stalled", "ledger"),
    ("Request satisfied", "final"),
)


def matches(log: Log) -> bool:
    """Whether messages stand under `history` beside a question.

    >>> log = Log("a.json", {"question": "How many?", "history": []}, [], iter(()))
    >>> matches(log)
    True
    """
    return "history" in log.header and "question" in log.header


def events(log: Log) -> Iterator[Event]:
    """One event per message of `history`.

    >>> log = Log("a.json", {}, [{"role": "Boss (thought)", "content": "New plan: go"}], iter(()))
    >>> next(events(log)).kind
    'plan'
    """
    for index, record in enumerate(log.records()):
        role = text_of(record, "name", "role")
        if role is None:
            raise no_name(log, index, "neither `name` nor `role`")
        text = plain(record.get("content"))
        agent = _SUFFIX.sub("", role) or role
        machine = is_terminal(agent)
        yield Event(
            index,
            agent,
            text,
            kind=_kind(role, text, machine),
            status=outcome(text) if machine else None,
            role=role,
            blamable=not (machine or is_person(agent)),
        )


def _kind(role: str, text: str, machine: bool) -> Kind:
    if machine:
        return "tool_result"
    suffix = _SUFFIX.search(role)
    what = suffix["what"] if suffix else ""
    if what == "thought":
        return next((kind for start, kind in _THOUGHTS if text.startswith(start)), "plan")
    if what.startswith("->"):
        return "handoff"
    if what == "termination condition" or text.strip() == "TERMINATE":
        return "final"
    return "message"
