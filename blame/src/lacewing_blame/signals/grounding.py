"""Values that no source held: where the run first goes on made-up ground.

A source is the task, a person, or a tool's result. A value that an agent names and no source held
before is unsourced; it weighs more the more others build on it, and most where it is in the answer.
"""

import math
import re

from lacewing_blame.ranker.flow import final_event
from lacewing_blame.signals.scene import Scene
from lacewing_blame.signals.values import is_number, values

ESTIMATE = re.compile(
    r"\b(?:approx\w*|estimat\w*|assum\w*|typical\w*|general knowledge|roughly|about \$|around \$|"
    r"placeholder|simulat\w*|hypothe\w*|likely|probably)\b|\u7ea6|\u4f30\u8ba1|\u5047\u8bbe|\u5927\u6982|\u53ef\u80fd",
    re.IGNORECASE,
)


def signals(scene: Scene) -> dict[str, list[float]]:
    """Unsourced values of each suspect: how many, how far they spread, how many reach the answer.

    >>> from lacewing_blame.events import conversation
    >>> trace = conversation("Trip?", ("Ann", "Parking is about $125."), ("Bob", "So 125 it is."))
    >>> signals(Scene(trace))["unsourced"]
    [0.6931471805599453, 0.0]
    """
    fresh = first_named(scene)[0]
    last = {value: at for at, found in enumerate(scene.values) for value in found}
    answer = final_event(scene.trace)
    final = next(at for at, event in enumerate(scene.events) if event is answer)
    held = scene.values[final]
    used: dict[str, int] = {}
    for at, found in enumerate(scene.values):
        if scene.events[at].blamable:
            for value in found:
                used[value] = used.get(value, 0) + 1
    table: dict[str, dict[int, float]] = {
        name: {}
        for name in ("unsourced", "unsourced_used", "unsourced_final", "estimates", "chooses")
    }
    chosen: dict[int, int] = {}
    for value in held - values(scene.trace.task):
        first = next(
            at for at, f in enumerate(scene.values) if value in f and scene.events[at].blamable
        )
        chosen[first] = chosen.get(first, 0) + 1
    table["chooses"] = {at: math.log1p(n) for at, n in chosen.items() if at != final}
    for at in scene.suspects:
        mine = fresh.get(at, ())
        table["unsourced"][at] = math.log1p(len(mine))
        spread = sum(used[v] - 1 for v in mine if last[v] > at)
        table["unsourced_used"][at] = math.log1p(spread)
        table["unsourced_final"][at] = float(at != final and any(v in held for v in mine))
        figures = any(is_number(value) for value in mine)
        guessed = figures and ESTIMATE.search(scene.run.texts[at][:8000]) is not None
        table["estimates"][at] = float(guessed)
    return {name: scene.column(found) for name, found in table.items()}


def first_named(scene: Scene) -> tuple[dict[int, list[str]], set[str]]:
    """Per position of an agent, the values that it is the first to name, and all values known.

    >>> from lacewing_blame.events import conversation
    >>> first_named(Scene(conversation("Find 125.", ("Ann", "It is 126, not 125."))))[0]
    {0: ['126']}
    """
    known = set(values(scene.trace.task))
    fresh: dict[int, list[str]] = {}
    for at, event in enumerate(scene.events):
        found = scene.values[at]
        if event.blamable:
            new = sorted(found - known)
            if new:
                fresh[at] = new
        known |= found
    return fresh, known
