"""Failures of tools and what is made of them: the series, the ignored."""

import math

from lacewing_blame.signals.scene import BAD, Scene

SAYING = 80
"""Characters from which a step says something."""


def signals(scene: Scene) -> dict[str, list[float]]:
    """Whether each suspect's call fails, begins a series, or is passed over.

    >>> from lacewing_blame.events import Event, Trace
    >>> call = Event(0, "A", "f({})", kind="tool_call", tool="f")
    >>> back = Event(1, "f", "Error: no", kind="tool_result", tool="f", status="error",
    ...              blamable=False)
    >>> signals(Scene(Trace("a", "", (call, back), "openai")))["call_fails"]
    [1.0]
    """
    bad = {at: scene.answers[at] in BAD for at in range(len(scene.events))}
    errors = {at: float(scene.answers[at] == "error") for at in scene.suspects}
    series: dict[int, float] = {}
    ignored: dict[int, float] = {}
    failed_tools: set[str] = set()
    later: dict[str, int] = {}
    for at in range(len(scene.events)):
        call = scene.calls[at]
        if call is not None and bad[at]:
            later[call.tool] = later.get(call.tool, 0) + 1
    last_bad = None
    for at in range(len(scene.events)):
        call = scene.calls[at]
        if call is not None and bad[at]:
            if call.tool not in failed_tools:
                failed_tools.add(call.tool)
                series[at] = math.log1p(later[call.tool] - 1)
            last_bad = at
        elif scene.events[at].blamable and last_bad is not None:
            speaks = call is None or call.writes
            if speaks and len(scene.run.texts[at]) >= SAYING:
                ignored[at] = 1.0
                last_bad = None
            elif call is not None:
                last_bad = None
    empties = {at: float(bad[at] and not errors.get(at)) for at in scene.suspects}
    return {
        "call_fails": [errors[at] for at in scene.suspects],
        "call_empty": [empties[at] for at in scene.suspects],
        "failure_series": scene.column(series),
        "goes_on": scene.column(ignored),
    }
