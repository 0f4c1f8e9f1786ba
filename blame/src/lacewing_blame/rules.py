"""Rules of place and role, as rankings: what a method must beat to have read the log.

A rule is who (all, those who act, those who change something, the coordinator, its workers, ...)
and where among their steps (the first, second, third, fourth, the last, or a share of the way); the
steps of the ranking follow by their distance from there.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from lacewing_blame.events import Event, Trace
from lacewing_blame.signals.scene import Scene

WHERE: dict[str, float | int] = {
    "first": 0,
    "second": 1,
    "third": 2,
    "fourth": 3,
    "last": -1,
    "at 25 %": 0.25,
    "at 40 %": 0.4,
    "at 50 %": 0.5,
    "at 60 %": 0.6,
    "at 75 %": 0.75,
}
"""Where among the steps: their number, -1 for the last, or a share of the way."""


def rules(trace: Trace) -> dict[str, list[int]]:
    """Every rule's ranking of a run: indices of steps, the likeliest first.

    >>> from lacewing_blame.events import conversation
    >>> found = rules(conversation("How many?", ("Ann", "4"), ("Bob", "5"), ("Cid", "6")))
    >>> found["all first"], found["all last"]
    ([0, 1, 2], [2, 1, 0])
    """
    scene = Scene(trace)
    places = scene.suspects
    events = [trace.events[at] for at in places]
    table = {}
    for name, chosen in _who(scene, events).items():
        steps = [k for k, holds in enumerate(chosen) if holds] or list(range(len(places)))
        for where, place in WHERE.items():
            middle = _middle(place, len(steps))
            far = [(abs(k - middle), k) for k in range(len(steps))]
            table[f"{name} {where}"] = [events[steps[k]].index for _, k in sorted(far)]
    return table


def hits(rankings: Sequence[list[int]], traces: Sequence[Trace], top: int) -> list[bool]:
    """Whether the labelled step is among the first so many, run by run.

    >>> from lacewing_blame.events import conversation
    >>> hits([[1, 0]], [conversation("", ("Ann", "4"), ("Bob", "5"), label=("Ann", 0))], 1)
    [False]
    """
    return [
        trace.label is not None and trace.label.step in ranking[:top]
        for ranking, trace in zip(rankings, traces, strict=True)
    ]


def _middle(place: float | int, count: int) -> float:
    if isinstance(place, float):
        return place * (count - 1)
    return float(count - 1 if place < 0 else place)


def _who(scene: Scene, events: Sequence[Event]) -> dict[str, list[bool]]:
    """Who a rule speaks of, suspect by suspect."""
    acting = [e.agent for e in events if e.blamable]
    busiest = Counter(acting).most_common(1)[0][0]
    coordinator = scene.run.coordinator
    calls = [scene.calls[at] for at in scene.suspects]
    acts = [scene.acts[at] for at in scene.suspects]
    tests: dict[str, Callable[[Event], bool]] = {
        "all": lambda _: True,
        "agents": lambda e: e.blamable,
        "coordinator": lambda e: e.agent == coordinator,
        "workers": lambda e: e.blamable and e.agent != coordinator,
        "hand-overs": lambda e: e.kind == "handoff",
        "busiest agent": lambda e: e.agent == busiest,
        "first agent": lambda e: e.agent == acting[0],
        "last agent": lambda e: e.agent == acting[-1],
    }
    found = {name: [test(event) for event in events] for name, test in tests.items()}
    found["acts"] = acts
    found["talk"] = [e.blamable and not act for e, act in zip(events, acts, strict=True)]
    found["changes"] = [call is not None and call.writes for call in calls]
    found["workers' acts"] = [a and b for a, b in zip(acts, found["workers"], strict=True)]
    return found
