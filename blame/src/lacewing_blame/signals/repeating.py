"""Actions that repeat earlier ones, and actions that are taken back later."""

import re

from lacewing_blame.signals.scene import Scene
from lacewing_blame.signals.values import values

_UNDO = re.compile(
    r"(?:^|_|\b)(?:cancel|remove|delete|undo|revert|rollback|return|reset|restore|checkout)(?:_|\b)",
    re.IGNORECASE,
)
_RETRACT = re.compile(
    r"\b(?:sorry|apolog\w+|my mistake|i was wrong|incorrect\w*|mistaken\w*|actually,|wait,|"
    r"correction)\b|\u62b1\u6b49|\u5bf9\u4e0d\u8d77|\u60a8\u8bf4\u5f97\u5bf9",
    re.IGNORECASE,
)


def signals(scene: Scene) -> dict[str, list[float]]:
    """Whether each suspect repeats a call or a text, and whether a later step takes it back.

    >>> from lacewing_blame.events import Event, Trace
    >>> once = [Event(at, "A", 'f({"a": 1})', kind="tool_call", tool="f") for at in range(2)]
    >>> signals(Scene(Trace("a", "", tuple(once), "openai")))["repeats"]
    [0.0, 1.0]
    """
    made: dict[str, int] = {}
    repeats: dict[int, float] = {}
    begins: dict[int, float] = {}
    undone: dict[int, float] = {}
    changed: list[int] = []
    for at, event in enumerate(scene.events):
        if not event.blamable:
            continue
        call = scene.calls[at]
        key = call.written if call is not None else " ".join(event.text.split())[:2000]
        if key in made and len(key) >= 10:
            repeats[at] = 1.0
            begins[made[key]] = 1.0
        made.setdefault(key, at)
        if call is not None and _UNDO.search(call.tool):
            touched = values(event.text)
            for earlier in reversed(changed[-40:]):
                produced = scene.values[earlier] | (
                    scene.values[earlier + 1] if earlier + 1 < len(scene.events) else frozenset()
                )
                if touched & produced:
                    undone[earlier] = 1.0
                    break
        elif call is not None and call.writes:
            changed.append(at)
        if _RETRACT.search(event.text[:600]) and changed:
            undone.setdefault(changed[-1], 0.5)
    return {
        "repeats": scene.column(repeats),
        "is_repeated": scene.column(begins),
        "taken_back": scene.column(undone),
    }
