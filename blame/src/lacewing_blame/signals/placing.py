"""Place and role: priors only, which the system's own shape selects (rarity)."""

import math
from collections import Counter

from lacewing_blame.ranker.flow import final_event
from lacewing_blame.signals.scene import Scene

LONG = 30
"""Steps from which a run is long."""
SHORT = 60
"""Characters below which a step says next to nothing."""


def signals(scene: Scene) -> dict[str, list[float]]:
    """Who each suspect is and where it stands, as the shape of the run lets it count.

    >>> from lacewing_blame.events import conversation
    >>> signals(Scene(conversation("How many?", ("Ann", "4"), ("Bob", "5"))))["worker_early"]
    [1.0, 0.5]
    """
    events, suspects, run = scene.events, scene.suspects, scene.run
    steering = run.coordinator
    often = Counter(events[at].agent for at in suspects)
    led = float(any(e.kind == "handoff" for e in events))  # else agents take turns, or are alone
    rare_act = rarity(sum(scene.acts[at] for at in suspects) / len(suspects))
    calls = [scene.calls[at] for at in suspects]
    rare_change = rarity(sum(c is not None and c.writes for c in calls) / len(suspects))
    long = float(len(suspects) > LONG)
    final = final_event(scene.trace)
    declared = set(scene.declared)
    columns: dict[str, list[float]] = {
        name: []
        for name in (
            *("person", "steers", "bookkeeping", "acts", "changes", "first_change", "hands_over"),
            *("worker_early", "early_short", "early_long", "late_long", "final", "short", "length"),
            *("acts_rare", "changes_rare", "role_rare"),
        )
    }
    acted = 0
    changed = False
    for k, at in enumerate(suspects):
        event, call = events[at], scene.calls[at]
        text = run.texts[at]
        steers = event.agent == steering
        worker = event.blamable and not steers
        place = k / max(1, len(suspects) - 1)
        changes = call is not None and call.writes
        values = {
            "person": float(not event.blamable),
            "steers": float(steers),
            "bookkeeping": float(
                at not in declared and (event.kind in ("ledger", "plan") or _routine(text))
            ),
            "acts": float(scene.acts[at]),
            "changes": float(changes),
            "first_change": float(changes and not changed),
            "hands_over": float(event.kind == "handoff" and not _routine(text)),
            "worker_early": 1 / (1 + acted) if worker else 0.0,
            "early_short": (1 - place) * (1 - long),
            "early_long": long * math.exp(-k / 20),
            "late_long": long * place,
            "final": float(event is final),
            "short": float(len(text) < SHORT and at not in declared),
            "length": math.log1p(len(text)) / 3,
            "acts_rare": scene.acts[at] * rare_act,
            "changes_rare": changes * rare_change,
            "role_rare": led * rarity(often[event.agent] / len(suspects)),
        }
        for name, value in values.items():
            columns[name].append(value)
        acted += worker
        changed = changed or changes
    return columns


def rarity(share: float) -> float:
    """How much a step's being of a kind tells, where so large a share of all steps is.

    >>> rarity(1.0), round(rarity(0.1), 2)
    (0.0, 2.3)
    """
    return min(3.0, math.log(1 / max(share, 1e-3)))


def _routine(text: str) -> bool:
    """Whether a text is the framework's own bookkeeping, which carries nothing of the agent's."""
    start = text.lstrip()[:40]
    return start.startswith(
        ("Orchestration", "Next speaker", "Updated Ledger", "[MAS_STATUS]", "Run finished", "{'ok'")
    )
