"""Every signal: which way it may count, and what it says in words.

A sign of 1 or -1 says which way a signal counts before any data, and keeps its weight from turning
against that; 0 leaves it to the data. Those of `PLACE` say where rather than what: they carry over
to no other system, and only weights learned from runs of one system use them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signal:
    """What a signal stands for."""

    sign: int
    words: str
    """What it shows, as evidence is worded."""
    against: str = ""
    """What a low value shows, where that is worth telling."""


SIGNALS: dict[str, Signal] = {
    # Role, as far as the run's own shape lets it tell.
    "person": Signal(0, "is a person's, not an agent's"),
    "bookkeeping": Signal(-1, "is bookkeeping"),
    "short": Signal(-1, "says next to nothing"),
    "repeats": Signal(-1, "repeats an earlier step"),
    "hands_over": Signal(0, "hands work over"),
    "length": Signal(1, "is long for this run", "is short for this run"),
    "worker_early": Signal(1, "is among the first steps that do work", "comes after much work"),
    "first_change": Signal(1, "is the first that changes something"),
    "changes_rare": Signal(1, "changes something, which few steps of this run do"),
    "acts_rare": Signal(1, "acts, which few steps of this run do"),
    "role_rare": Signal(
        1, "is by an agent that seldom acts here", "is by an agent that often acts"
    ),
    # Tools.
    "call_fails": Signal(1, "its call fails"),
    "call_empty": Signal(1, "its call brings nothing"),
    "failure_series": Signal(1, "is the first of several failures of one tool"),
    "goes_on": Signal(1, "goes on after a failure as if it had not happened"),
    # Values.
    "unsourced": Signal(1, "names values that no source held", "names nothing new"),
    "unsourced_used": Signal(1, "others build on values that it named without a source"),
    "unsourced_final": Signal(1, "values of the answer come from it and from no source"),
    "chooses": Signal(1, "first chooses values of the answer"),
    "estimates": Signal(1, "estimates or assumes a figure that no source held"),
    "contradicts": Signal(1, "its call contradicts what results said"),
    "unheard_arguments": Signal(1, "its call holds arguments that nobody gave"),
    "wrong_sum": Signal(1, "states a sum that does not add up"),
    # Rules, instructions, claims.
    "touches_rule": Signal(1, "changes something that a rule speaks of"),
    "departs": Signal(1, "does something else than it was told"),
    "claims_against": Signal(1, "claims success right after a failure"),
    "declares_end": Signal(1, "declares the task done"),
    "holes": Signal(1, "gives an answer with empty fields"),
    "ends_hollow": Signal(1, "declares the task done, and the answer then names unsourced values"),
    # What becomes of it.
    "is_repeated": Signal(1, "the same is tried again later"),
    "taken_back": Signal(1, "is taken back later"),
    "complained_next": Signal(1, "the next step complains"),
    "act_complained": Signal(1, "is what the next agent complains of"),
    "complained_later": Signal(1, "a later step complains of what it brought in"),
    # Place.
    "acts": Signal(0, "acts"),
    "changes": Signal(0, "changes something"),
    "steers": Signal(0, "is the coordinator's"),
    "final": Signal(0, "gives the final answer"),
    "early_short": Signal(0, "comes early"),
    "early_long": Signal(0, "comes early"),
    "late_long": Signal(0, "comes late"),
}
"""By name; weights may use no others."""

PLACE = ("acts", "changes", "steers", "final", "early_short", "early_long", "late_long")
"""Signals that only weights of one system use."""

GENERAL = tuple(name for name in SIGNALS if name not in PLACE)
"""Signals that mean the same in every system."""

LATER = (
    *("unsourced_used", "unsourced_final", "chooses", "failure_series", "ends_hollow", "holes"),
    *("declares_end", "is_repeated", "taken_back", "complained_next", "complained_later"),
    *("act_complained", "role_rare", "changes_rare", "acts_rare"),
)
"""Signals that look at the rest of the run, so that a watcher must do without them."""
