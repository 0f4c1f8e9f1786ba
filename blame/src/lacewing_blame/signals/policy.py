"""Rules of the system message, or of the task, that a later action breaks.

A rule is a line that forbids or demands ("never", "must", "only", "do not"). Without a model one
cannot tell whether an action breaks it; what can be told is that a changing action touches a rule's
words more than other steps do, and whether it does so before what the rule demands first.
"""

import re

from lacewing_blame.ranker import lexicon
from lacewing_blame.signals.scene import Scene

_RULE = re.compile(
    r"\b(?:must|never|only|do not|don't|should not|cannot|not allowed|required?|forbidden|"
    r"at most|at least|no more than|strictly)\b|"
    r"\u5fc5\u987b|\u4e0d\u8981|\u4e0d\u80fd|\u53ea\u80fd|\u4e0d\u5f97|\u81f3\u5c11|\u6700\u591a",
    re.IGNORECASE,
)
_BREAK = re.compile(r"[\n;]|(?<=[.!])\s")
COMMON = """
the and for you your not must never only should with that this from are can any all use used have
has when will be one if it is in of to or as do don't cannot
"""
"""Words that every rule has."""
_COMMON = frozenset(COMMON.split())
RULES, EARLY = 80, 6
"""Rules kept, and first events that may hold them."""


def rules(scene: Scene) -> list[tuple[str, frozenset[str]]]:
    """The rule lines of what the agents were told at the start, with their telling words.

    >>> from lacewing_blame.events import conversation
    >>> [line for line, _ in rules(Scene(conversation("Never refund orders.", ("A", "Ok."))))]
    ['Never refund orders.']
    """
    told = [scene.trace.task, *(e.text for e in scene.events[:EARLY] if not e.blamable)]
    parts = (part for text in told for part in _BREAK.split(text[:40_000]))
    lines = [part.strip() for part in parts]
    found: dict[str, frozenset[str]] = {}
    for line in lines:
        if _RULE.search(line) and 8 <= len(line) <= 600:
            found[line] = lexicon.words(line) - _COMMON
    return list(found.items())[:RULES]


def signals(scene: Scene) -> dict[str, list[float]]:
    """How strongly each suspect's changing act touches a rule.

    >>> from lacewing_blame.events import Event, Trace
    >>> act = Event(0, "A", 'refund({"orders": "all"})', kind="tool_call", tool="refund_order")
    >>> signals(Scene(Trace("a", "Never refund orders.", (act,), "openai")))["touches_rule"]
    [0.0]
    """
    known = [words for _, words in rules(scene) if len(words) >= 3]
    touched: dict[int, float] = {}
    for at in scene.suspects:
        call = scene.calls[at]
        if call is None or not call.writes:
            continue
        said = lexicon.words(re.sub(r"[_\W]+", " ", scene.run.texts[at][:4000]))
        shares = [len(said & words) / len(words) for words in known]
        touched[at] = max(shares, default=0.0)
    return {"touches_rule": scene.column(touched)}
