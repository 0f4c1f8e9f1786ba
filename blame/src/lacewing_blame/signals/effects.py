"""What an act brought about: nothing that was not there before, or the same order once more.

A step that acts and leaves everything as it was, or after which the same thing is asked for again,
did not do what it was for. Both need no words of success or failure.
"""

import re

from lacewing_blame.ranker import lexicon
from lacewing_blame.signals.instructions import told
from lacewing_blame.signals.scene import Scene

SAME = 0.9
"""Share of common words from which two outcomes are the same."""
AGAIN = 0.5
"""Share of common words from which an instruction asks for the same as the one before."""
FEWEST = 4
"""Words below which an instruction cannot be told from another."""


def signals(scene: Scene) -> dict[str, list[float]]:
    """Whether each suspect's act changed nothing, and whether the same was asked for again.

    >>> from lacewing_blame.events import conversation
    >>> page = "The page shows the list of all chairs and tables of the shop."
    >>> said = ("Web", f"I clicked 'Go'. {page}"), ("Web", f"I clicked 'Buy'. {page}")
    >>> signals(Scene(conversation("Buy a chair.", *said)))["no_change"]
    [0.0, 1.0]
    """
    nothing: dict[int, float] = {}
    again: dict[int, float] = {}
    shown: dict[str, frozenset[str]] = {}
    asked: dict[str, tuple[int, frozenset[str]]] = {}
    for at in scene.suspects:
        if not scene.acts[at]:
            continue
        agent = scene.events[at].agent
        outcome = _outcome(scene, at)
        if len(outcome) >= FEWEST:
            if _alike(outcome, shown.get(agent, frozenset())) >= SAME:
                nothing[at] = 1.0
            shown[agent] = outcome
        order = lexicon.words(told(scene, at))
        if len(order) >= FEWEST:
            last = asked.get(agent)
            if last is not None and _alike(order, last[1]) >= AGAIN:
                again[last[0]] = 1.0
            asked[agent] = at, order
    return {"no_change": scene.column(nothing), "asked_again": scene.column(again)}


def _outcome(scene: Scene, at: int) -> frozenset[str]:
    """The words of what an act showed: its result, or the rest of its own text."""
    if scene.calls[at] is not None:
        place = scene.given.get(at)
        return lexicon.words(scene.run.texts[place][:4000]) if place is not None else frozenset()
    return frozenset(lexicon.words(re.sub(r"^[^.\\n]*[.\\n]", "", scene.run.texts[at].lstrip())))


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(1, len(one | other))
