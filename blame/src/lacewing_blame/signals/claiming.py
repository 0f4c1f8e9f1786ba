"""Claims of success: against the last result, too early, or followed by more work."""

import math
import re

from lacewing_blame.signals.grounding import first_named
from lacewing_blame.signals.scene import BAD, Scene

DONE = re.compile(
    r"\b(?:TASK_COMPLETE\w*|TERMINATE|complete[ds]?|completed|finished|done|success\w*|all set|"
    r"fully|confirmed|verdict: pass|is ready|ready for)\b|\u5df2\u5b8c\u6210|\u6210\u529f|\u2705",
    re.IGNORECASE,
)
END = re.compile(
    r"TASK_COMPLETE|\bTERMINATE\b|request satisfied|###STOP###|\bfinish\(", re.IGNORECASE
)


def signals(scene: Scene) -> dict[str, list[float]]:
    """Whether each suspect claims success right after a failure, or declares the end.

    >>> from lacewing_blame.events import Event, Trace
    >>> call = Event(0, "A", "f({})", kind="tool_call", tool="f")
    >>> back = Event(1, "f", "Error: no", kind="tool_result", blamable=False)
    >>> told = Event(2, "A", "The order is confirmed.")
    >>> signals(Scene(Trace("a", "", (call, back, told), "openai")))["claims_against"]
    [0.0, 1.0]
    """
    against: dict[int, float] = {}
    ends: dict[int, float] = {}
    bad_since, last_end = 0, None
    fresh, _ = first_named(scene)
    for at, event in enumerate(scene.events):
        if scene.answers[at] in BAD:
            bad_since += 1
        elif scene.answers[at] == "ok":
            bad_since = 0
        if not event.blamable or scene.calls[at] is not None:
            continue
        text = scene.run.texts[at]
        if bad_since and (DONE.search(text[-1500:]) or DONE.search(text[:500])):
            against[at] = 1.0
        if at > 2 and END.search(text[-300:]) and not text.startswith("Run finished"):
            last_end = at
    hollow: dict[int, float] = {}
    if last_end is not None:
        ends[last_end] = 1.0
        after = [len(fresh.get(at, ())) for at in range(last_end + 1, len(scene.events))]
        hollow[last_end] = math.log1p(sum(after))
    return {
        "claims_against": scene.column(against),
        "declares_end": scene.column(ends),
        "ends_hollow": scene.column(hollow),
    }
