"""Where the values of the final answer come from.

A value is a number, a URL, a quoted text or a capitalised name. Those that already stand in the
task are left out: they were given, nobody introduced them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lacewing_blame.events import Event, Trace

MOST = 40
"""Values followed per log."""
LONGEST = 20_000
"""Characters of the final answer looked at, from its end."""

_URL = r"https?://[^\s<>\"')\]}]+"
_QUOTED = r"\"[^\"\n]{3,80}\"|“[^”\n]{3,80}”|'[^'\n]{4,60}'(?!\w)"
_NUMBER = r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w])"
_NAME = r"\b[A-Z][\w'\u2019&-]+(?: (?:of |the |de |and )?[A-Z][\w'\u2019&-]+)+"
_VALUE = re.compile(
    f"(?P<url>{_URL})|(?P<quoted>{_QUOTED})|(?P<number>{_NUMBER})|(?P<name>{_NAME})"
)
_STOP = re.compile(r"\W*(TERMINATE|FINAL ANSWER)?\W*$")


@dataclass(frozen=True, slots=True)
class Value:
    """One value of the final answer."""

    text: str
    origin: int
    """Index of the event that first held it."""
    seen: tuple[int, ...]
    """Indices of all events that hold it, in log order; the last one is the final answer."""
    final: tuple[int, int]
    """Where it stands in the text of the final answer."""


def final_event(trace: Trace) -> Event:
    """The step that gives the answer: the last one that says anything, of an agent if any.

    >>> from lacewing_blame.events import conversation
    >>> trace = conversation("How many?", ("Ann", "It is 4."), ("Bob", "TERMINATE"))
    >>> final_event(trace).index
    0
    """
    said = [e for e in trace.events if not _STOP.match(e.text) and e.kind != "handoff"]
    acting = [e for e in said if e.blamable]
    return (acting or said or list(trace.events))[-1]


def data_flow(trace: Trace) -> list[Value]:
    """Each value of the final answer, with the step that introduced it and all that hold it.

    >>> from lacewing_blame.events import conversation
    >>> trace = conversation("How many?", ("Ann", "It is 4 or so."), ("Bob", "So 4 it is."))
    >>> [(value.text, value.origin, value.seen) for value in data_flow(trace)]
    [('4', 0, (0, 1))]
    """
    final = final_event(trace)
    start = max(0, len(final.text) - LONGEST)
    before = trace.events[: _position(trace, final)]
    found: dict[str, Value] = {}
    for text, place in _values(final.text[start:]):
        if len(found) == MOST:
            break
        if text in found or _holds(trace.task, text):
            continue
        seen = [e.index for e in before if _holds(e.text, text)] + [final.index]
        at = start + place
        found[text] = Value(text, seen[0], tuple(seen), (at, at + len(text)))
    return list(found.values())


def _position(trace: Trace, event: Event) -> int:
    return next(at for at, one in enumerate(trace.events) if one is event)


def _values(text: str) -> Iterator[tuple[str, int]]:
    """Values and where they stand; a quoted text without its quotes."""
    for match in _VALUE.finditer(text):
        whole, at = match.group(), match.start()
        if match.lastgroup == "quoted":
            whole, at = whole[1:-1], at + 1
        whole = whole.rstrip(".,;:")
        if whole.strip():
            yield whole, at


def _holds(text: str, value: str) -> bool:
    """Whether the text holds the value as a word of its own."""
    at = text.find(value)
    while at >= 0:
        end = at + len(value)
        if not _before(text[max(0, at - 2) : at], value) and not _after(text[end : end + 2], value):
            return True
        at = text.find(value, at + 1)
    return False


def _before(outside: str, value: str) -> bool:
    """Whether what stands before a value belongs to it: a letter, or more of a number."""
    last = outside[-1:]
    more = last in (".", ",") and value[0].isdigit() and outside[:1].isdigit()
    return more or (last.isalnum() and value[0].isalnum())


def _after(outside: str, value: str) -> bool:
    """The same for what stands after it; a full stop that ends a sentence does not."""
    first = outside[:1]
    more = first in (".", ",") and value[-1].isdigit() and outside[1:].isdigit()
    return more or (first.isalnum() and value[-1].isalnum())
