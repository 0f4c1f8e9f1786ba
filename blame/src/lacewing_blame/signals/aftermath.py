"""What later steps make of a step: complaints that come back to what it brought in."""

import math
import re

from lacewing_blame.signals.grounding import first_named
from lacewing_blame.signals.scene import Scene

_COMPLAINT = re.compile(
    r"\b(?:incorrect\w*|wrong\w*|mistake\w*|missing|invalid|inconsisten\w*|mismatch\w*|conflict\w*|"
    r"violat\w*|fail\w*|error\w*|cannot|unable|not found|no valid|unavailable|problem\w*|issue\w*|"
    r"gap\w*|unverified|not verified|exceed\w*|however|unfortunately|stuck|confus\w*)\b"
    r"|\u9519\u8bef|\u4e0d\u5bf9|\u95ee\u9898|\u56f0\u60d1|\u4e0d\u7b26|\u8d85\u51fa|\u6ca1\u6709\u627e\u5230",
    re.IGNORECASE,
)
NEAR = 120
"""Characters around a complaint that it is about."""


def signals(scene: Scene) -> dict[str, list[float]]:
    """Complaints after each suspect: at once, by the next agent to speak, about values it brought.

    >>> from lacewing_blame.events import conversation
    >>> said = ("A", "Take flight F3960389."), ("B", "The price of F3960389 is wrong.")
    >>> signals(Scene(conversation("Fly.", *said)))["complained_later"]
    [0.6931471805599453, 0.0]
    """
    fresh, _ = first_named(scene)
    owner = {value: at for at, found in fresh.items() for value in found}
    later: dict[int, int] = {}
    following: dict[int, float] = {}
    failed: dict[int, float] = {}
    previous: int | None = None
    acted: int | None = None
    for at, event in enumerate(scene.events):
        text = scene.run.texts[at]
        spots = [m.start() for _, m in zip(range(12), _COMPLAINT.finditer(text), strict=False)]
        if event.kind != "tool_result" and previous is not None and spots:
            following[previous] = min(1.0, len(spots) / 3)
            other = acted is not None and event.agent != scene.events[acted].agent
            if acted is not None and other and not scene.routine[at]:
                failed[acted] = min(1.0, len(spots) / 3)
                acted = None
        if spots and scene.values[at]:
            blamed = {
                owner[v]
                for v in scene.values[at]
                if v in owner and owner[v] < at and _near(text, v, spots)
            }
            for one in blamed:
                later[one] = later.get(one, 0) + 1
        if event.blamable:
            previous = at
            if scene.acts[at]:
                acted = at
    return {
        "complained_next": scene.column(following),
        "act_complained": scene.column(failed),
        "complained_later": scene.column({at: math.log1p(n) for at, n in later.items()}),
    }


def _near(text: str, value: str, spots: list[int]) -> bool:
    at = text.find(value)
    return at >= 0 and any(abs(at - spot) <= NEAR for spot in spots)
