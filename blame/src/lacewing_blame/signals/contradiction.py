"""Arguments and statements against what earlier results said.

A field is a name with a value, in JSON or written as `name: value` or `name=value`. A call that
gives a field a value which no result ever gave it, where results gave it others, contradicts them.
"""

import re
from collections.abc import Iterator
from typing import Any

from lacewing_blame.signals.scene import Scene

_FIELD = re.compile(
    r"[\"']?\b([A-Za-z_][\w ]{1,28}?)[\"']?\s*[:=]\s*[\"']?"
    r"([^\s,;\"'()\[\]{}|][^,;\"'()\[\]{}|\n]{0,60})"
)
_WORD = re.compile(r"\w+")
BACK = 30
"""Texts looked back for a value whose words cannot be told apart, as in Chinese."""
FIELDS = 300
"""Fields read per result."""
FEW = 4
"""Values of a field up to which it names one thing, rather than listing many."""


def signals(scene: Scene) -> dict[str, list[float]]:
    """Whether a suspect's call gives a field a value that results contradict, or nobody gave.

    >>> from lacewing_blame.events import Event, Trace
    >>> got = Event(0, "t", '{"user_id": "u1"}', kind="tool_result", blamable=False)
    >>> act = Event(1, "A", 'pay({"user_id": "u2"})', kind="tool_call", tool="pay")
    >>> signals(Scene(Trace("a", "", (got, act), "openai")))["contradicts"]
    [1.0]
    """
    known: dict[str, set[str]] = {}
    heard = set(_WORD.findall(scene.trace.task.casefold()))
    texts = [scene.trace.task.casefold()]
    contradicts: dict[int, float] = {}
    invented: dict[int, float] = {}
    for at, event in enumerate(scene.events):
        call = scene.calls[at]
        if call is not None and call.arguments:
            flat = [(k, v) for k, v in _flat(call.arguments) if 1 < len(v) <= 60]
            against = [
                k
                for k, v in flat
                if v not in known.get(k, {v}) and len(known[k]) <= FEW and any(map(str.isdigit, v))
            ]
            unheard = [
                v
                for _, v in flat
                if not heard.issuperset(_WORD.findall(v))
                and not any(v in text for text in texts[-BACK:])
            ]
            contradicts[at] = float(any(v in unheard for k, v in flat if k in against))
            if call.writes and flat:
                invented[at] = len(unheard) / len(flat)
        elif event.kind == "tool_result":
            for name, value in _FIELD.findall(scene.run.texts[at])[:FIELDS]:
                known.setdefault(_name(name), set()).add(value.strip().casefold())
        text = scene.run.texts[at].casefold()
        heard.update(_WORD.findall(text))
        texts.append(text)
    return {"contradicts": scene.column(contradicts), "unheard_arguments": scene.column(invented)}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Names and plain values of arguments, however deep."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, _name(str(key)))
    elif isinstance(value, list):
        for inner in value:
            yield from _flat(inner, name)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield name, str(value).strip().casefold()


def _name(name: str) -> str:
    return name.strip().casefold().replace(" ", "_")
