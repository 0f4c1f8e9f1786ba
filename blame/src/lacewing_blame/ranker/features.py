"""From a run to one row of numbers per step that may be to blame (names in meanings.py)."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

from lacewing_blame.events import Trace
from lacewing_blame.ranker import lexicon
from lacewing_blame.ranker.flow import data_flow, final_event
from lacewing_blame.ranker.meanings import MEANINGS
from lacewing_blame.ranker.run import Run
from lacewing_blame.ranker.seen import Features, Kind

BAD = ("error", "empty", "nothing")
"""Results of a tool that are of no use."""
SHORT = 60
"""Characters below which a step says next to nothing."""
NAMES = tuple(MEANINGS)
_TEXT = tuple(name for name, meaning in MEANINGS.items() if meaning.topic == name)


def features(trace: Trace) -> Features:
    """What is seen of each step that may be to blame.

    >>> from lacewing_blame.events import conversation
    >>> trace = conversation("How many?", ("Ann", "I assume 4."), ("Bob", "Thanks, 4."))
    >>> features(trace).columns(("assume",))
    [[1.0], [0.0]]
    """
    run = Run(trace)
    table = {**_place(run), **_text(run), **_execution(run), **_flow(run), **_reception(run)}
    table |= _combined(run, table)
    rows = tuple(zip(*(table[name] for name in NAMES), strict=True))
    kind: Kind = "flat" if run.coordinator is None else "coordinated"
    return Features(kind, NAMES, rows, tuple(run.candidates), rows)


def _place(run: Run) -> dict[str, list[float]]:
    """Where the step stands and who acts."""
    events, candidates, workers = run.events, run.candidates, run.workers
    agents = [events[at].agent for at in candidates]
    often = Counter(agents)
    last = len(candidates) - 1
    most = max(1, len(workers) - 1)
    final = final_event(run.trace)
    seen: set[str] = set()
    first = [not (agent in seen or seen.add(agent)) for agent in agents]  # type: ignore[func-returns-value]
    rank = [workers.get(at, -1) for at in candidates]
    return {
        "first_act": [float(r == 0) for r in rank],
        "second_act": [float(r == 1) for r in rank],
        "third_act": [float(r == 2) for r in rank],
        "act_rank": [math.log1p(max(r, 0)) for r in rank],
        "act_share": [max(r, 0) / most for r in rank],
        "last": [float(k == last) for k in range(last + 1)],
        "short": [float(len(run.texts[at]) < SHORT) for at in candidates],
        "ends": [float("TERMINATE" in run.texts[at]) for at in candidates],
        "final": [float(events[at] is final) for at in candidates],
        "agent_share": [often[agent] / len(agents) for agent in agents],
        "agent_first": [float(one) for one in first],
        "same_before": [float(k > 0 and agents[k - 1] == a) for k, a in enumerate(agents)],
        "same_after": [float(k < last and agents[k + 1] == a) for k, a in enumerate(agents)],
        "length": [math.log1p(len(run.texts[at])) / 3 for at in candidates],
        "coordinator": [float(agent == run.coordinator) for agent in agents],
        "plan_step": [float(events[at].kind == "plan") for at in candidates],
        "ledger_step": [float(events[at].kind == "ledger") for at in candidates],
    }


def _text(run: Run) -> dict[str, list[float]]:
    """What the step speaks of."""
    return {name: [float(name in run.topics[at]) for at in run.candidates] for name in _TEXT}


def _execution(run: Run) -> dict[str, list[float]]:
    """What code and calls there are, and how they went."""
    candidates, results = run.candidates, [*run.results, ""]
    code = [run.has_code(at) for at in candidates]
    after = [results[at + 1] for at in candidates]
    before = [results[at - 1] if at else "" for at in candidates]
    bad = [one in BAD for one in after]
    first_code = _first(code)
    failures = list(accumulate([0, *(one in BAD for one in run.results), 0]))
    earlier = list(accumulate([0, *bad]))[:-1]
    talks = [not c and len(run.texts[at]) >= SHORT for c, at in zip(code, candidates, strict=True)]
    return {
        "code": _numbers(code),
        "code_length": [
            _code_length(run.texts[at]) if c else 0.0
            for c, at in zip(code, candidates, strict=True)
        ],
        "error_next": [float(one == "error") for one in after],
        "bad_next": _numbers(bad),
        "ok_next": [float(one == "ok") for one in after],
        "run_next": [float(one != "") for one in after],
        "not_run": [float(c and r in ("", "idle")) for c, r in zip(code, after, strict=True)],
        "first_bad": _first(bad),
        "after_bad": [float(one in BAD) for one in before],
        "first_code": first_code,
        "first_code_bad": [f * b for f, b in zip(first_code, bad, strict=True)],
        "talk_after_bad": [float(t and r in BAD) for t, r in zip(talks, before, strict=True)],
        "bad_before": [math.log1p(x) for x in earlier],
        "bad_later": [
            math.log1p(failures[-1] - failures[min(at + 2, len(run.events))]) for at in candidates
        ],
        "starts_with_code": [float(c and k == 0) for k, c in enumerate(code)],
    }


def _flow(run: Run) -> dict[str, list[float]]:
    """Where the values of the final answer come from, and what is new."""
    candidates, events = run.candidates, run.events
    place = {event.index: at for at, event in enumerate(events)}
    values = data_flow(run.trace)
    origins = Counter(place[value.origin] for value in values)
    acting = set(candidates)
    many = max(1, len(values))
    most = max(origins.values(), default=0)
    known = set(lexicon.numbers(run.trace.task))
    fresh = []
    for text in run.texts:
        found = lexicon.numbers(text[:8000])
        fresh.append(len(found - known))
        known |= found
    return {
        "origin": [origins[at] / many for at in candidates],
        "origin_main": [float(0 < origins[at] == most) for at in candidates],
        "origin_next": [
            origins[at + 1] / many if at + 1 not in acting else 0.0 for at in candidates
        ],
        "new_numbers": [math.log1p(fresh[at]) for at in candidates],
    }


def _reception(run: Run) -> dict[str, list[float]]:
    """What the next step and the ledger make of it, and what it repeats."""
    candidates, words = run.candidates, run.words
    task = lexicon.words(run.trace.task)
    following = [run.topics[at] for at in candidates[1:]] + [frozenset[str]()]
    own: dict[str, int] = {}
    like_own = []
    for at in candidates:
        agent = run.events[at].agent
        like_own.append(_alike(words[at], words[own[agent]]) if agent in own else 0.0)
        own[agent] = at
    ledgers = [run.ledger_after(at) for at in candidates]
    acts = [float(at in run.workers) for at in candidates]
    return {
        "agreed_next": [float("agree" in t) for t in following],
        "fixed_next": [float("fix" in t) for t in following],
        "unable_next": [float("unable" in t) for t in following],
        "thanked_next": [float("thanks" in t) for t in following],
        "verified_next": [float("verify" in t) for t in following],
        "like_previous": [
            0.0,
            *(_alike(words[a], words[b]) for a, b in pairwise(candidates)),
        ],
        "like_own": like_own,
        "like_task": [len(words[at] & task) / max(1, len(task)) for at in candidates],
        "claim": [
            float(
                at in run.workers
                and k > 0
                and not run.uses_tool(at)
                and len(run.texts[at]) >= SHORT
            )
            for k, at in enumerate(candidates)
        ],
        "satisfied_next": [
            a * (led is not None and led.satisfied is True) * run.concluded
            for a, led in zip(acts, ledgers, strict=True)
        ],
        "satisfied_here": [
            float(led is not None and led.satisfied is True and run.concluded)
            for led in (run.ledgers[at] for at in candidates)
        ],
        "no_progress_next": [
            a * (led is not None and led.progress is False)
            for a, led in zip(acts, ledgers, strict=True)
        ],
    }


def _combined(run: Run, of: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """The columns that join a feature with how the run ended."""
    done = float(run.concluded)
    stuck = 1 - done
    flat = float(run.coordinator is None)
    acts = [float(at in run.workers) for at in run.candidates]

    def scaled(name: str, factor: float) -> list[float]:
        return [value * factor for value in of[name]]

    def larger(one: str, other: str, factor: float) -> list[float]:
        return [max(a, b * factor) for a, b in zip(of[one], of[other], strict=True)]

    approved = larger("satisfied_next", "agreed_next", flat)
    early = ("first_act", "second_act", "third_act")
    joined = {
        "claim_done": scaled("claim", done),
        "claim_stuck": scaled("claim", stuck),
        "approved_done": [a * value * done for a, value in zip(acts, approved, strict=True)],
        "code_done": scaled("code", done),
        "code_stuck": scaled("code", stuck),
        "assume_done": [value * done for value in larger("assume", "fake", 1.0)],
        "origin_done": scaled("origin", done),
        "act_rank_stuck": scaled("act_rank", stuck),
        "early_act_stuck": [
            stuck * sum(values) for values in zip(*(of[name] for name in early), strict=True)
        ],
    }
    return joined | {f"{name}_done": scaled(name, done) for name in (*early, "act_rank")}


def _numbers(flags: list[bool]) -> list[float]:
    return [float(flag) for flag in flags]


def _first(flags: list[bool]) -> list[float]:
    """1 at the first that holds, else 0."""
    at = flags.index(True) if True in flags else -1
    return [float(k == at) for k in range(len(flags))]


def _alike(a: frozenset[str], b: frozenset[str]) -> float:
    """Shared words over all words."""
    return len(a & b) / max(1, len(a | b))


def _code_length(text: str) -> float:
    return math.log1p(sum(map(len, text.split("```")[1::2]))) / 3
