"""Departures from an instruction that was just given: what was to be done and what was done."""

import re

from lacewing_blame.signals.scene import Scene

_TARGET = re.compile(
    r"['\"`\u2018\u201c]([^'\"`\u2019\u201d\n]{2,60})['\"`\u2019\u201d]|(https?://\S+)"
)
_VERBS = {
    "click": re.compile(r"\b(?:click|press|select|choose)", re.IGNORECASE),
    "type": re.compile(r"\b(?:type|enter|fill|input|search for)", re.IGNORECASE),
    "scroll": re.compile(r"\bscroll", re.IGNORECASE),
    "go": re.compile(r"\b(?:navigate|go to|visit|open)\b", re.IGNORECASE),
}
_DID = {
    "click": re.compile(r"\bclicked\b|\bclick\b"),
    "type": re.compile(r"\btyped\b|\binput\b|\btype\b"),
    "scroll": re.compile(r"\bscroll"),
    "go": re.compile(r"\b(?:navigated|visited|opened)\b|goto|visit_url"),
}
BACK = 4
"""Steps looked back for the instruction."""


def signals(scene: Scene) -> dict[str, list[float]]:
    """Whether each suspect's act misses the targets or the kind of act that it was told.

    >>> from lacewing_blame.events import conversation
    >>> said = ("Boss", "Type 'chairs' in the search field."), ("Web", "I clicked 'Home'.")
    >>> signals(Scene(conversation("Find chairs.", *said)))["departs"]
    [0.0, 1.0]
    """
    departs: dict[int, float] = {}
    for at in scene.suspects:
        if not scene.acts[at]:
            continue
        told = _told(scene, at)
        if not told:
            continue
        did = scene.run.texts[at][:300]
        wanted = {verb for verb, pattern in _VERBS.items() if pattern.search(told)}
        done = {verb for verb, pattern in _DID.items() if pattern.search(did)}
        if wanted and done and not wanted & done:
            departs[at] = 1.0
            continue
        targets = {(a or b).strip().casefold() for a, b in _TARGET.findall(told)}
        short = {t for t in targets if len(t) <= 60}
        named = {(a or b).strip().casefold() for a, b in _TARGET.findall(did)}
        if short and named and not any(n in t or t in n for n in named for t in short):
            departs[at] = 0.5
        elif len(wanted) > len(done) and done:
            departs[at] = 0.25
    return {"departs": scene.column(departs)}


def _told(scene: Scene, at: int) -> str:
    """The newest instruction by another agent shortly before a step."""
    mine = scene.events[at].agent
    for before in range(at - 1, max(-1, at - 1 - BACK), -1):
        event = scene.events[before]
        if not event.blamable or event.agent == mine or scene.acts[before]:
            continue
        text = event.text
        found = re.findall(r"instruction\w*\"?\s*:\s*\"([^\"]{5,1500})", text)
        if found:
            return str(found[-1])
        if len(text) < 1500 and any(p.search(text) for p in _VERBS.values()):
            return text
    return ""
