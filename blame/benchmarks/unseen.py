"""What the ranker is worth on a system it has not seen: leave one system out.

    python blame/benchmarks/unseen.py --data DIR [DIR ...]

Every folder of logs below a DIR is a system. For each the ranker is learned from all others and
asked about this one; nothing of it is seen before, its temperature included. Beside it stand the
best of all rules of place and role, chosen in hindsight with this system's own labels (the goal is
set against it); the rule best on the system's other runs, run by run, which is the same without the
luck of choosing among so many; and the rule that was best on the other systems, which is what one
would have known. Intervals are bootstrapped over the runs of each system, its rules fixed.
`--weights FILE` also learns from all systems. How far labels themselves go: `ceiling.py`.
"""

import hashlib
import platform
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from lacewing_blame.attribution import Attribution
from lacewing_blame.events import Trace
from lacewing_blame.ranker.calibrate import expected_calibration_error
from lacewing_blame.ranker.ranking import rank_seen
from lacewing_blame.ranker.shape import kind_of
from lacewing_blame.ranker.train import (
    ANSWERS_FROM,
    MEANT,
    RIDGE,
    Example,
    example,
    learn,
    system_of,
)
from lacewing_blame.ranker.watch import RATE, deviations
from lacewing_blame.ranker.weights import Ranker
from lacewing_blame.reading.read import read_folder
from lacewing_blame.rules import hits, rules
from lacewing_blame.scoring import confidence

COMMAND = "python blame/benchmarks/unseen.py --data DIR [DIR ...]"
TOP = 3
WITHIN = 3
DRAWS, SEED = 2000, 0
ALIASES = {
    "transport_agent": "Action_Expert",
    "stay_agent": "Action_Expert",
    "food_attr_agent": "Action_Expert",
    "manager_agent": "Task_Planner",
    "verifier_agent": "Verification_Expert",
}
"""Roles that AgentForesight's labels name instead of the agents."""
CEILING = (
    "two annotations of the same 43 hand-crafted runs agree on 35 % of the steps and 60 % of the "
    "agents"
)


@dataclass(frozen=True)
class Bench:
    """What to measure."""

    data: tuple[Path, ...]
    """Folders of systems, each a folder of logs."""
    weights: Path | None = None
    """Where to write weights learned from all systems."""


@dataclass(frozen=True)
class System:
    """One system left out, and what was answered."""

    name: str
    traces: list[Trace]
    answers: list[Attribution]
    rankings: dict[str, list[list[int]]]
    """By rule, the ranking of every run."""

    def first(self, top: int) -> list[bool]:
        """Whether the ranker's first so many hold the labelled step, run by run."""
        steps = [[suspect.step for suspect in answer.ranking] for answer in self.answers]
        return hits(steps, self.traces, top)

    def rule(self, name: str, top: int) -> list[bool]:
        """The same for a rule."""
        return hits(self.rankings[name], self.traces, top)

    def crossed(self, top: int) -> list[float]:
        """Run by run, how often the rules hit that are best on the other runs."""
        flags = np.array([self.rule(name, top) for name in self.rankings], float)
        found = []
        for at in range(len(self.traces)):
            others = flags.sum(1) - flags[:, at]
            found.append(float(flags[others == others.max(), at].mean()))
        return found

    def hindsight(self, top: int) -> list[bool]:
        """The same for the best rule of this system, by its own labels."""
        return self.rule(_best([self], top), top)

    @property
    def long(self) -> bool:
        """Whether its runs are none of Who&When's kinds."""
        return all(kind_of(trace) == "general" for trace in self.traces)

    def agents(self) -> list[bool]:
        """Whether the agent of the first suspect is the labelled one, or has its role."""
        pairs = [
            (a.ranking[0].agent, t.label) for a, t in zip(self.answers, self.traces, strict=True)
        ]
        return [
            label is not None
            and label.agent.casefold() in (said.casefold(), ALIASES.get(said, said).casefold())
            for said, label in pairs
        ]


def main() -> None:
    """Measure and print."""
    bench = tyro.cli(Bench, description=__doc__)
    start = time.process_time()
    traces = [trace for folder in bench.data for trace in read_folder(folder)]
    known = [example(trace) for trace in traces]
    systems = [_left_out(name, traces, known) for name in sorted({system_of(t) for t in traces})]
    print(f"{COMMAND}\n{len(traces)} runs of {len(systems)} systems, each left out in turn\n")
    _systems(systems)
    _ratios(systems)
    _sure(systems, "all systems")
    _sure([system for system in systems if system.long], "systems of long runs")
    _online(systems, known)
    print(f"\nhuman ceiling: {CEILING}")
    if bench.weights is not None:
        usable = [one for one in known if one is not None]
        learn(usable, len(traces), _provenance(traces)).save(bench.weights)
        print(f"weights learned from all {len(traces)} runs: {bench.weights}")
    print(f"{time.process_time() - start:.0f} seconds of one processor")


def _left_out(name: str, traces: Sequence[Trace], known: Sequence[Example | None]) -> System:
    """A system, answered by a ranker that saw no run of it."""
    others = [one for one in known if one is not None and one.system != name]
    ranker: Ranker = learn(others, len(others))
    own = [trace for trace in traces if system_of(trace) == name]
    answers = [rank_seen(trace, ranker.see(trace), ranker, explained=0) for trace in own]
    found = [rules(trace) for trace in own]
    return System(name, own, answers, {rule: [one[rule] for one in found] for rule in found[0]})


def _share(flags: Sequence[float]) -> float:
    return sum(flags) / len(flags)


def _chance(system: System, top: int) -> float:
    return sum(min(1.0, top / len(a.ranking)) for a in system.answers) / len(system.answers)


def _best(systems: Sequence[System], top: int) -> str:
    """The rule with the largest mean over systems."""
    return max(
        systems[0].rankings, key=lambda rule: sum(_share(s.rule(rule, top)) for s in systems)
    )


def _systems(systems: Sequence[System]) -> None:
    for top in (1, TOP, 5):
        print(f"step within the first {top}, per cent [95 %]")
        for system in systems:
            flags = system.first(top)
            low, high = _bootstrap([flags], lambda drawn: _share(drawn[0]))
            hindsight = _best([system], top)
            crossed = _share(system.crossed(top))
            elsewhere = _best([s for s in systems if s is not system], top)
            print(
                f"  {system.name} (n {len(flags)}): {100 * _share(flags):.0f} "
                f"[{100 * low:.0f}, {100 * high:.0f}]; chance {100 * _chance(system, top):.0f}; "
                f"best rule in hindsight {100 * _share(system.rule(hindsight, top)):.0f} "
                f"({hindsight}); rule best on its other runs {100 * crossed:.0f}; rule best "
                f"elsewhere "
                f"{100 * _share(system.rule(elsewhere, top)):.0f} ({elsewhere})"
            )
    print("agent of the first suspect, roles counted as the data's README says, per cent")
    for system in systems:
        print(f"  {system.name}: {100 * _share(system.agents()):.0f}")


def _ratios(systems: Sequence[System]) -> None:
    """The ranker's mean over systems against that of rules, with an interval of the ratio."""
    for top in (1, TOP):
        own = [system.first(top) for system in systems]
        print(f"\nmean over systems, first {top}: {100 * np.mean([_share(f) for f in own]):.1f}")
        elsewhere = [
            s.rule(_best([other for other in systems if other is not s], top), top) for s in systems
        ]
        for name, ruled in (
            ("the best rule of each system, in hindsight", [s.hindsight(top) for s in systems]),
            ("the rule best on the system's other runs", [s.crossed(top) for s in systems]),
            ("the rule best on the other systems", elsewhere),
        ):
            pairs = [list(zip(a, b, strict=True)) for a, b in zip(own, ruled, strict=True)]

            def ratio(drawn: Sequence[Sequence[Any]]) -> float:
                ours = sum(_share([a for a, _ in one]) for one in drawn)
                theirs = sum(_share([b for _, b in one]) for one in drawn)
                return ours / max(theirs, 1e-9)

            low, high = _bootstrap(pairs, ratio)
            shares = [(_share(a), _share(b)) for a, b in zip(own, ruled, strict=True)]
            each = np.mean([a / b for a, b in shares if b]) if all(b for _, b in shares) else None
            print(
                f"  against {name} ({100 * np.mean([b for _, b in shares]):.1f}): "
                f"{ratio(pairs):.2f} times [{low:.2f}, {high:.2f}]"
                + (f"; mean of the systems' ratios {each:.2f}" if each is not None else "")
            )


def _sure(systems: Sequence[System], which: str) -> None:
    """Calibration of the first suspect on systems not seen, and what abstention leaves."""
    sure = [confidence(a) for s in systems for a in s.answers]
    right = [flag for s in systems for flag in s.first(1)]
    names = [s.name for s in systems for _ in s.answers]
    deal = random.Random(SEED)
    ideal = [
        expected_calibration_error(sure, [deal.random() < p for p in sure]) for _ in range(200)
    ]
    print(
        f"\n{which}: calibration error {expected_calibration_error(sure, right):.3f}; a "
        f"perfectly calibrated ranker on so few runs shows {np.mean(ideal):.3f}"
    )
    print("  by system, promised and right:")
    for s in systems:
        promised = np.mean([confidence(a) for a in s.answers])
        print(f"    {s.name}: {promised:.2f}, {_share(s.first(1)):.2f}")
    order = sorted(range(len(sure)), key=lambda at: -sure[at])
    for share in (0.1, 0.25, 0.5, 1.0):
        kept = order[: max(1, round(share * len(order)))]
        print(
            f"  surest {100 * share:.0f} %: right {100 * _share([right[at] for at in kept]):.0f} %"
        )
    kept = [at for at in order if sure[at] >= ANSWERS_FROM]
    told = {name: sum(names[at] == name for at in kept) for name in dict.fromkeys(names)}
    print(
        f"  named by default (probability at least {ANSWERS_FROM}): {len(kept)} of {len(sure)}, "
        f"right {100 * _share([right[at] for at in kept]):.0f} %; by system {told}"
    )


def _online(systems: Sequence[System], known: Sequence[Example | None]) -> None:
    """Alarms while runs unfold, each system watched by weights and a threshold of the others."""
    print(
        f"\nonline, false alarms held to {100 * RATE:.0f} % of the beginnings of the others' runs, "
        "up to the labelled step (there are no successful runs in these data):"
    )
    seen = {}
    for system in systems:
        others = [one for one in known if one is not None and one.system != system.name]
        ranker = learn(others, len(others))
        seen[system.name] = [(t, deviations(t, ranker)) for t in system.traces if t.label]
    totals = []
    for system in systems:
        above = _threshold([runs for name, runs in seen.items() if name != system.name])
        early, near, late = 0, 0, 0
        for trace, scores in seen[system.name]:
            first = next((step for step, value in scores if value >= above), None)
            label = trace.label.step if trace.label else 0
            early += first is not None and first < label
            near += first is not None and label <= first <= label + WITHIN
            late += first is not None and first > label + WITHIN
        n = len(seen[system.name])
        totals.append((early / n, near / n))
        print(
            f"  {system.name}: alarm up to {WITHIN} steps after the label {100 * near / n:.0f} %, "
            f"before it {100 * early / n:.0f} %, later {100 * late / n:.0f} %"
        )
    early, near = (100 * float(np.mean(column)) for column in zip(*totals, strict=True))
    print(
        f"  mean over systems: up to {WITHIN} steps after {near:.0f} %, before {early:.0f} %; "
        f"at or before {WITHIN} steps after, false alarms included: {near + early:.0f} %"
    )
    print(f"  threshold from all systems: {_threshold(list(seen.values())):.2f} deviations")


def _threshold(systems: Sequence[Sequence[tuple[Trace, list[tuple[int, float]]]]]) -> float:
    """What a share of `RATE` of the beginnings exceed, every system counting the same."""
    worst = []
    for runs in systems:
        for trace, scores in runs:
            label = trace.label.step if trace.label else 0
            before = [value for step, value in scores if step < label]
            worst.append((max(before, default=-99.0), 1 / len(runs) / len(systems)))
    share = 0.0
    for value, weight in sorted(worst, reverse=True):
        share += weight
        if share > RATE:
            return value + 1e-9
    return -99.0


def _bootstrap(groups: Sequence[Sequence[Any]], figure: Any) -> tuple[float, float]:
    """The middle 95 % of a figure over draws of as many runs from each group."""
    deal = random.Random(SEED)
    drawn = sorted(
        figure([deal.choices(group, k=len(group)) for group in groups]) for _ in range(DRAWS)
    )
    return drawn[int(0.025 * DRAWS)], drawn[int(0.975 * DRAWS)]


def _provenance(traces: Sequence[Trace]) -> dict[str, Any]:
    """What the weights come from, so that it can be checked."""
    text = "\n".join(f"{t.id} {t.group} {t.label}" for t in traces)
    return {
        "data": "Who&When (arXiv 2505.00212; MIT): 84 algorithm-generated and 39 hand-crafted "
        "runs; AgentForesight (arXiv 2605.08715; MIT): TravelPlanner 24, WebArena 10, VitaBench 6, "
        "SWE-bench Pro 4 runs, labels by language models",
        "labels_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "ridge": RIDGE,
        "meant": MEANT,
        "command": f"{COMMAND} --weights FILE",
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


if __name__ == "__main__":
    sys.exit(main())
