"""Claims of success: against the last result, too early, or followed by more work."""

import math
import re

from lacewing_blame.ranker.flow import final_event
from lacewing_blame.signals.grounding import first_named
from lacewing_blame.signals.scene import BAD, Scene

DONE = re.compile(
    r"\b(?:TASK_COMPLETE\w*|TERMINATE|complete[ds]?|completed|finished|done|success\w*|all set|"
    r"fully|confirmed|verdict: pass|is ready|ready for)\b|\u5df2\u5b8c\u6210|\u6210\u529f|\u2705",
    re.IGNORECASE,
)
HOLE = re.compile(
    r"[:=]\s*[\"']?(?:-|null|none|n/a|tbd|unknown|not available|not found)[\"']?\s*(?:[,;}\n]|$)",
    re.IGNORECASE,
)
HOLES = 2
"""Empty fields from which an answer has holes."""


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
    bad_since = 0
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
    answer = final_event(scene.trace)
    final = next(at for at, event in enumerate(scene.events) if event is answer)
    last = max(scene.ends, default=final)
    rest = range(last + 1, len(scene.events))
    new = math.log1p(sum(len(fresh.get(at, ())) for at in rest))
    ends = dict.fromkeys(scene.ends, 1.0)
    hollow = dict.fromkeys(scene.ends, new)
    holes = {
        at: 1.0
        for at in {final, *rest} - set(scene.ends)
        if scene.events[at].blamable and len(HOLE.findall(scene.run.texts[at])) >= HOLES
    }
    return {
        "claims_against": scene.column(against),
        "declares_end": scene.column(ends),
        "holes": scene.column(holes),
        "ends_hollow": scene.column(hollow),
    }
