"""Every feature of the ranker: which way it may count, and what it says in words.

A sign of 1 or -1 keeps a weight from turning against what the feature means (a step that works with
made-up data is never the less suspicious for it); 0 leaves it to the data. Rankers with signs carry
over better to systems they were not trained on (docs/failures.md).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a feature stands for."""

    sign: int
    words: str
    """What it shows, as evidence is worded."""
    topic: str | None = None
    """The words to mark in the text; without one, the step's beginning is marked."""


MEANINGS: dict[str, Meaning] = {
    # Place and role.
    "first_act": Meaning(0, "is the team's first action"),
    "second_act": Meaning(1, "is the team's second action"),
    "third_act": Meaning(1, "is the team's third action"),
    "act_rank": Meaning(-1, "comes late, after many other actions"),
    "act_share": Meaning(-1, "comes towards the end of the run"),
    "last": Meaning(-1, "is the last step"),
    "short": Meaning(-1, "says next to nothing"),
    "ends": Meaning(-1, "ends the conversation"),
    "final": Meaning(0, "gives the final answer"),
    "agent_share": Meaning(0, "is by an agent that acts often"),
    "agent_first": Meaning(1, "is its agent's first step"),
    "same_before": Meaning(0, "follows a step of the same agent"),
    "same_after": Meaning(0, "is followed by a step of the same agent"),
    "length": Meaning(0, "is long"),
    # Text.
    "assume": Meaning(1, "rests on an assumption", "assume"),
    "fake": Meaning(1, "uses made-up data", "fake"),
    "memory": Meaning(1, "draws on memory instead of a source", "memory"),
    "hedge": Meaning(1, "is unsure of itself", "hedge"),
    "manual": Meaning(1, "falls back on work by hand", "manual"),
    "unable": Meaning(0, "reports that something did not work", "unable"),
    "fix": Meaning(-1, "tries to mend something", "fix"),
    "verify": Meaning(0, "speaks of verifying", "verify"),
    "conclude": Meaning(1, "draws a conclusion", "conclude"),
    "agree": Meaning(0, "approves of what there is", "agree"),
    "plan": Meaning(0, "lays out a plan", "plan"),
    "ask": Meaning(-1, "asks others", "ask"),
    "search": Meaning(0, "searches", "search"),
    "thanks": Meaning(0, "thanks or praises", "thanks"),
    # Execution.
    "code": Meaning(1, "writes code or calls a tool"),
    "code_length": Meaning(0, "holds much code"),
    "error_next": Meaning(1, "its code or call fails at once"),
    "bad_next": Meaning(1, "its code or call brings nothing usable"),
    "ok_next": Meaning(0, "its code or call runs through"),
    "run_next": Meaning(0, "is answered by a tool"),
    "not_run": Meaning(1, "its code is never run"),
    "first_bad": Meaning(1, "is the first whose code or call brings nothing usable"),
    "after_bad": Meaning(0, "follows a failed execution"),
    "first_code": Meaning(1, "holds the first code or call"),
    "first_code_bad": Meaning(1, "holds the first code or call, which brings nothing usable"),
    "talk_after_bad": Meaning(1, "goes on without a tool after a failed execution"),
    "bad_before": Meaning(0, "comes after failures"),
    "bad_later": Meaning(1, "is followed by further failures"),
    "starts_with_code": Meaning(1, "starts the run with code right away"),
    # Data flow, and what others make of it.
    "origin": Meaning(1, "first names values of the final answer"),
    "origin_main": Meaning(1, "first names most of the values of the final answer"),
    "origin_next": Meaning(1, "its tool first gives values of the final answer"),
    "new_numbers": Meaning(1, "brings in new numbers"),
    "agreed_next": Meaning(1, "the next step approves of it"),
    "fixed_next": Meaning(1, "the next step tries to mend it"),
    "unable_next": Meaning(1, "the next step reports that something did not work"),
    "thanked_next": Meaning(1, "the next step thanks for it"),
    "verified_next": Meaning(1, "the next step speaks of verifying it"),
    "like_previous": Meaning(0, "repeats much of the step before"),
    "like_own": Meaning(0, "repeats much of its agent's last step"),
    "like_task": Meaning(0, "repeats the task"),
    # Saying or doing, and how the run ended.
    "claim": Meaning(0, "states something without using a tool"),
    "claim_done": Meaning(1, "states something without a tool, and the team concluded"),
    "approved_done": Meaning(1, "is approved of, and the team concluded"),
    "code_done": Meaning(0, "holds code or a call, and the team concluded"),
    "code_stuck": Meaning(1, "holds code or a call, and the team never concluded"),
    "assume_done": Meaning(1, "rests on assumed or made-up data, and the team concluded", "assume"),
    "origin_done": Meaning(1, "first names values of the answer with which the team concluded"),
    # Coordinated runs.
    "coordinator": Meaning(-1, "is the coordinator's bookkeeping"),
    "early_act_stuck": Meaning(1, "is among the first three actions, and the team never concluded"),
    "first_act_done": Meaning(0, "is the first action of a run that concluded"),
    "second_act_done": Meaning(0, "is the second action of a run that concluded"),
    "third_act_done": Meaning(0, "is the third action of a run that concluded"),
    "act_rank_stuck": Meaning(-1, "comes after many actions of a run that never concluded"),
    "act_rank_done": Meaning(0, "comes after many actions of a run that concluded"),
    "satisfied_next": Meaning(1, "the ledger then calls the task done"),
    "satisfied_here": Meaning(1, "is the ledger that calls the task done"),
    "claim_stuck": Meaning(0, "states something without a tool, and the team never concluded"),
    "no_progress_next": Meaning(1, "the ledger then sees no progress"),
    "plan_step": Meaning(-1, "is a plan"),
    "ledger_step": Meaning(-1, "is a ledger entry"),
}
"""By name; a ranker's file may use no others."""

FLAT: tuple[str, ...] = tuple(list(MEANINGS)[: list(MEANINGS).index("coordinator")])
"""Features of runs without a coordinator."""

COORDINATED: tuple[str, ...] = (
    "coordinator",
    "early_act_stuck",
    "first_act_done",
    "second_act_done",
    "third_act_done",
    "act_rank_stuck",
    "act_rank_done",
    "satisfied_next",
    "satisfied_here",
    "claim_done",
    "claim_stuck",
    "no_progress_next",
    "plan_step",
    "ledger_step",
    "short",
    "origin",
    "conclude",
    "new_numbers",
    "agent_first",
)
"""Features of runs with a coordinator, of which there are few labelled ones: hence few."""
