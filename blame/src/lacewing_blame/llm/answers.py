"""What a model's words mean. Nothing is guessed: what cannot be read is None.

The wanted form is one JSON object; text around it, code fences and a leading block of thoughts
(`<think>...</think>`) are passed over. Where several objects fit, the last one counts, as models
correct themselves downwards.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from lacewing_blame.events import Event, Trace

LONGEST = 200_000
"""Characters of an answer that are looked at, from its end."""
SUFFIX = re.compile(r"\s*\([^()]*\)\s*$")
"""What frameworks add to a speaker's name."""


def last_object(text: str, key: str) -> dict[str, Any] | None:
    """The last JSON object of an answer that has a key; None where there is none.

    >>> last_object('Let me see. {"step": 3} No: {"step": 4}', "step")
    {'step': 4}
    """
    text = text.rpartition("</think>")[2][-LONGEST:]
    decoder, at, found = json.JSONDecoder(), text.find("{"), None
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            found = value if key in value else found
        at = text.find("{", end)
    return found


def agent_named(name: object, trace: Trace, aliases: Sequence[tuple[str, str]] = ()) -> str | None:
    """The agent a model means, whatever the case or the framework's suffix; None if unknown.

    A role that several agents play means the first of them in the log.

    >>> from lacewing_blame.events import conversation
    >>> trace = conversation("How many?", ("Ann", "I assume 4."), ("Bob", "Thanks, 4."))
    >>> agent_named("ann (thought)", trace)
    'Ann'
    """
    if not isinstance(name, str):
        return None
    roles = {agent.casefold(): role.casefold() for agent, role in aliases}
    acting = [event.agent for event in reversed(trace.events)]
    known = {roles[a.casefold()]: a for a in acting if a.casefold() in roles}
    known |= {event.role.casefold(): event.agent for event in trace.events if event.role}
    known |= {event.agent.casefold(): event.agent for event in trace.events}
    said = name.strip().casefold()
    return known.get(said) or known.get(SUFFIX.sub("", said))


def step_named(step: object, trace: Trace, numbered: bool) -> Event | None:
    """The event a model means; None where it is no whole number or lies outside the log.

    Args:
        step: What the model gave as step.
        trace: The log.
        numbered: Whether the log was shown with its own numbers; otherwise the model counted.

    >>> from lacewing_blame.events import conversation
    >>> trace = conversation("How many?", ("Ann", "I assume 4."), ("Bob", "Thanks, 4."))
    >>> step_named("step 1", trace, numbered=True).agent
    'Bob'
    """
    if isinstance(step, str):
        digits = re.fullmatch(r"\s*(?:step\s*)?(\d{1,9})\s*", step, re.IGNORECASE)
        step = int(digits[1]) if digits else None
    if isinstance(step, float) and step.is_integer():
        step = int(step)
    if not isinstance(step, int) or isinstance(step, bool):
        return None
    if numbered:
        return next((event for event in trace.events if event.index == step), None)
    return trace.events[step] if 0 <= step < len(trace.events) else None


def yes_or_no(text: str) -> bool | None:
    """Whether an answer says yes; None where it says neither clearly.

    >>> yes_or_no("Yes, it does."), yes_or_no('{"mistake": "no"}'), yes_or_no("Perhaps.")
    (True, False, None)
    """
    found = last_object(text, "mistake")
    if found is not None:
        return _truth(found["mistake"])
    return _truth(next(iter(re.findall(r"[a-z]+", _spoken(text))), ""))


def first_half(text: str) -> bool | None:
    """Whether an answer says the first half; None where it says neither or both.

    >>> first_half('{"half": "second"}'), first_half("the first or the second")
    (False, None)
    """
    found = last_object(text, "half")
    said = str(found["half"]).casefold() if found is not None else _spoken(text)
    first, second = "first" in said, "second" in said
    return None if first == second else first


def step_order(text: str, candidates: Sequence[int]) -> list[int] | None:
    """The candidates in an answer's order, those it leaves out behind; None if it names none.

    >>> step_order('{"order": [7, 3]}', [3, 5, 7])
    [7, 3, 5]
    """
    found = last_object(text, "order")
    given = found["order"] if found is not None and isinstance(found["order"], list) else []
    named = [step for step in given if isinstance(step, int) and step in candidates]
    if not named:
        return None
    return list(dict.fromkeys([*named, *candidates]))


def suspected(text: str, trace: Trace) -> list[tuple[int, str]]:
    """Steps that an answer lists as suspects, each with its reason; those of no log are left out.

    >>> from lacewing_blame.events import conversation
    >>> trace = conversation("How many?", ("Ann", "I assume 4."))
    >>> suspected('{"suspects": [{"step": 0, "reason": "assumed"}, {"step": 9}]}', trace)
    [(0, 'assumed')]
    """
    found = last_object(text, "suspects")
    listed = found["suspects"] if found is not None else []
    kept = []
    for one in listed if isinstance(listed, list) else []:
        given = one if isinstance(one, dict) else {"step": one}
        event = step_named(given.get("step"), trace, numbered=True)
        if event is not None:
            reason = given.get("reason")
            kept.append((event.index, " ".join(reason.split()) if isinstance(reason, str) else ""))
    return kept


def said(text: str, key: str) -> str:
    r"""A text field of an answer's JSON, in one line; empty where it has none.

    >>> said('{"reason": "It\\nassumed."}', "reason")
    'It assumed.'
    """
    found = last_object(text, key)
    value = found[key] if found is not None else ""
    return " ".join(value.split()) if isinstance(value, str) else ""


def quoted(quote: str, text: str) -> tuple[int, int] | None:
    """Where the quoted words stand in a text, spaces and case aside; None where they do not.

    >>> quoted("i assume", "Well, I  assume so.")
    (6, 15)
    """
    words = quote.strip(" \"'`.…").split()
    if not words or len("".join(words)) < 3:
        return None
    found = re.search(r"\s+".join(map(re.escape, words)), text, re.IGNORECASE)
    return found.span() if found else None


def _spoken(text: str) -> str:
    return text.rpartition("</think>")[2][-LONGEST:].casefold()


def _truth(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"yes": True, "true": True, "no": False, "false": False}.get(
        str(value).strip(" .!").casefold()
    )
