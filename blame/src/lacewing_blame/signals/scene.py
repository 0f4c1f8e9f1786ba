"""What all signals read off a run first: who may be suspected, what was called, what came back."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lacewing_blame.events import Event, Trace
from lacewing_blame.ranker.run import Run
from lacewing_blame.signals.values import values

_WRITES = re.compile(
    r"(?:^|_|\b)(?:add|book|buy|cancel|change|commit|create|delegate|delete|edit|exchange|finish|"
    r"insert|make|modify|move|order|pay|place|post|purchase|put|remove|replace|reply|reserve|return|"
    r"save|send|set|submit|transfer|undo|update|upload|write|str_replace|apply_patch)(?:_|\b|$)",
    re.IGNORECASE,
)
_READS = re.compile(
    r"(?:browse|calculate|check|count|describe|fetch|find|get|grep|list|load|lookup|look_up|query|read|"
    r"retrieve|search|show|think|view)(?:_|\b)",
    re.IGNORECASE,
)
_ACTED = re.compile(
    r"I (?:typed|clicked|scrolled|input|hovered|pressed|visited|opened|navigated)\b|"
    r"Web surfing error|The web browser is open",
)
_CODE = re.compile(r"```(\w+)[^\n]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_INVOKE = re.compile(r"<parameter name=\"([\w.-]+)\">(.*?)</parameter>", re.DOTALL)
_WRAP = re.compile(r"\s*(?:Tool call:[^\n]*\n(?:Arguments:)?|[\w.-]+\()", re.IGNORECASE)
_ERROR = re.compile(
    r"^\W*(?:[\w ]*error\b|exception\b|traceback|execution failed|command not found|fatal:)|"
    r"['\"](?:ok|success)['\"]: ?false|['\"]error['\"]: ?['\"]\w|\w+(?:Error|Exception): |"
    r"exitcode: [1-9]|Traceback \(most recent|\bFAIL\b|returned non-zero|permission denied|"
    r"\b[45]\d\d (?:error|not found|forbidden)|is a required field|No replacement was performed",
    re.IGNORECASE,
)
_EMPTY = re.compile(
    r"^(?:(?:output|result)s?:)?\s*(?:\[\]|None|null|\{\}|False|nan|''|\"\")?\s*$|"
    r"['\"](?:results?|items|data|records)['\"]: ?(?:\[\]|\{\}|None|null)|"
    r"['\"](?:count|total)['\"]: ?0\b",
    re.IGNORECASE,
)
_NOTHING = re.compile(
    r"\b(?:not found|no (?:\w+ ){0,3}(?:found|available|results?|match\w*|data|information)|"
    r"could not|cannot|unable to|failed to|does not exist|denied|is invalid|not available)\b",
    re.IGNORECASE,
)
BRIEF = 300
"""Characters up to which a result may amount to nothing found; longer ones hold something."""
END = re.compile(
    r"TASK_COMPLETE|\bTERMINATE\b|request satisfied|###STOP###|\bfinish\(", re.IGNORECASE
)
ECHO = 3
"""Steps within which declarations of the end are one."""
OFTEN = 3
"""Steps with one opening from which it counts as the framework's."""
OPENING = 100
"""Characters that an opening is."""
BAD = ("error", "empty", "nothing")


@dataclass(frozen=True, slots=True)
class Call:
    """What a step had done."""

    tool: str
    arguments: dict[str, Any]
    written: str
    """Its words, to tell whether it was made before."""
    writes: bool
    """Whether it changes something, told by the tool's name."""


@dataclass
class Scene:
    """A run with what is known about each of its positions (not indices).

    Attributes:
        suspects: Positions of the steps that may be suspected: those of agents, and those of a
            person who takes part once the agents have begun.
    """

    trace: Trace
    run: Run = field(init=False)
    suspects: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.run = Run(self.trace)
        events = self.trace.events
        began = next(iter(self.run.candidates), 0)
        person = [
            at for at, e in enumerate(events) if at > began and takes_part(e) and e.text.strip()
        ]
        self.suspects = sorted({*self.run.candidates, *person})

    @property
    def events(self) -> tuple[Event, ...]:
        """All events."""
        return self.trace.events

    @cached_property
    def calls(self) -> list[Call | None]:
        """What each position called; none where it only spoke."""
        return [call_of(e) if e.blamable else None for e in self.events]

    @cached_property
    def values(self) -> list[frozenset[str]]:
        """The values each position names."""
        return [values(e.text) for e in self.events]

    @cached_property
    def answers(self) -> list[str]:
        """Per position, what its call gave: error, empty, nothing, ok; empty text for no call."""
        found = [""] * len(self.events)
        waiting: list[int] = []
        place = {e.index: at for at, e in enumerate(self.events)}
        for at, event in enumerate(self.events):
            if event.kind == "tool_result":
                result = result_of(event)
                parent = place.get(event.parent) if event.parent is not None else None
                if parent is None and waiting:
                    parent = self._asked(event, waiting)
                if parent is None and at and self.events[at - 1].blamable:
                    parent = at - 1
                if parent is not None:
                    if parent in waiting:
                        waiting.remove(parent)
                    found[parent] = _worse(found[parent], result)
            elif event.kind == "tool_call":
                waiting = [*waiting[-20:], at]
            elif event.status == "error" or event.text.startswith("Web surfing error"):
                found[at] = "error"
        return found

    def _asked(self, result: Event, waiting: list[int]) -> int:
        """Which of the calls that wait a result answers: by tool, by agent, or the oldest."""
        head = result.text[:80]
        named = [w for w in waiting if (c := self.calls[w]) and c.tool == result.tool]
        owned = [w for w in waiting if self.events[w].agent in head]
        return (named or owned or waiting)[0]

    @cached_property
    def acts(self) -> list[bool]:
        """Whether each position does something to the world, rather than saying something."""
        return [
            e.blamable
            and (
                self.calls[at] is not None or _ACTED.match(self.run.texts[at].lstrip()) is not None
            )
            for at, e in enumerate(self.events)
        ]

    @cached_property
    def declared(self) -> list[int]:
        """Positions where an agent declares the task done."""
        return [
            at
            for at, e in enumerate(self.events)
            if at > 2
            and e.blamable
            and self.calls[at] is None
            and END.search(self.run.texts[at][-300:])
            and not e.text.startswith("Run finished")
        ]

    @cached_property
    def ends(self) -> list[int]:
        """The last of these after which nobody acts any more, with its echoes before it."""
        acted = max((at for at, act in enumerate(self.acts) if act), default=-1)
        last: list[int] = []
        for at in reversed(self.declared):
            if at < acted or (last and last[-1] - at > ECHO):
                break
            last.append(at)
        return last[::-1]

    @cached_property
    def routine(self) -> list[bool]:
        """Whether each position begins as several others do: the framework's words."""
        openings = ["" if self.acts[at] else _opening(e) for at, e in enumerate(self.events)]
        often = Counter(one for one in openings if one)
        return [often[one] >= OFTEN for one in openings]

    def column(self, found: dict[int, float]) -> list[float]:
        """Numbers by position as a column over the suspects."""
        return [found.get(at, 0.0) for at in self.suspects]


def _opening(event: Event) -> str:
    """Who speaks and how the text begins, whatever its numbers; empty where it is brief."""
    start = re.sub(r"\d+", "0", " ".join(event.text[: 2 * OPENING].split())[:OPENING])
    return f"{event.agent}: {start}" if event.blamable and len(start) >= 30 else ""


def result_of(event: Event) -> str:
    r"""What a result amounts to: error, empty, nothing found, ok, or that nothing was to be run.

    >>> result_of(Event(0, "t", "Tool result for A:\n{'ok': False}", kind="tool_result"))
    'error'
    >>> result_of(Event(0, "t", "No flights found.", kind="tool_result"))
    'nothing'
    """
    text = event.text.strip()
    if text.startswith("There is no code from the last"):
        return "idle"
    if text.startswith("Tool result"):
        text = text.partition("\n")[2].strip()
    start = text[:2000]
    if event.status == "error" or _ERROR.search(start):
        return "error"
    if not text or _EMPTY.search(text[:400]):
        return "empty"
    return "nothing" if len(text) <= BRIEF and _NOTHING.search(text) else "ok"


def takes_part(event: Event) -> bool:
    """Whether somebody who cannot be called an agent speaks, such as a simulated user.

    >>> takes_part(Event(3, "user", "Make it two.", blamable=False))
    True
    """
    return (
        not event.blamable and event.kind == "message" and event.role not in ("system", "developer")
    )


def call_of(event: Event) -> Call | None:
    r"""What a step calls, whether the framework says so or its text does.

    >>> call_of(Event(0, "A", 'pay({"order": "O1"})', kind="tool_call", tool="pay")).arguments
    {'order': 'O1'}
    >>> call_of(Event(0, "A", "So:\n```bash\nls -l\n```")).tool
    'bash'
    """
    text = event.text
    if event.kind == "tool_call":
        tool = event.tool or "tool"
        return Call(tool, _arguments(text), " ".join(text.split())[:2000], _changes(tool))
    code = _CODE.search(text)
    if code is not None and code[1] not in ("json", "markdown", "md", "text", "xml"):
        lines = code[2].strip()
        first = re.match(r"[\w.-]+", lines)
        tool = code[1] if code[1] not in ("python", "py") or first is None else first[0]
        changes = _changes(code[1]) or (first is not None and _changes(first[0]))
        return Call(tool, {}, " ".join(code[0].split())[:2000], changes)
    return None


def _changes(tool: str) -> bool:
    """Whether a tool of this name changes something: by its first verb, or by any that does."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", tool.rpartition(".")[2])
    return _READS.match(name) is None and _WRITES.search(name) is not None


def _arguments(text: str) -> dict[str, Any]:
    """The arguments of a call written as JSON somewhere in a text, or as `<parameter>`s."""
    found = dict(_INVOKE.findall(text))
    wrapped = _WRAP.match(text)
    start = text.find("{", wrapped.end() - 1 if wrapped else 0)
    if found or start < 0:
        return found
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _worse(one: str, other: str) -> str:
    order = ("error", "empty", "nothing", "ok", "idle", "")
    return min(one, other, key=order.index)
