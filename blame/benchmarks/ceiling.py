"""How far rules and signals go on these runs when they may look at the labels.

    python blame/benchmarks/ceiling.py --data DIR [DIR ...]

Four figures per system (every folder of logs below a DIR), each the share of runs whose labelled
step is among the first three:

* the best of all rules of place and role, by the system's own labels, and what the same choice gets
  when the labels are dealt at random among the steps, which is the luck of choosing;
* the best single signal of the ranker, also by the system's own labels, ties shared out;
* weights for all signals and places learned from the system's own labels and tested on the very
  same runs, the best of three ridges: too good by far where runs are few;
* the same with every run left out in turn: what knowing the system's labels is worth.
"""

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from lacewing_blame.events import Trace
from lacewing_blame.ranker import logit
from lacewing_blame.ranker.train import MEANT, NARROW, Example, example, system_of
from lacewing_blame.reading.read import read_folder
from lacewing_blame.rules import hits, rules
from lacewing_blame.signals.meanings import GENERAL, PLACE, SIGNALS

COMMAND = "python blame/benchmarks/ceiling.py --data DIR [DIR ...]"
TOP = 3
DEALS, SEED = 200, 0
RIDGES = (1.0, 10.0, 100.0)
NAMES = GENERAL + PLACE
GOAL = 1.5


@dataclass(frozen=True)
class Bench:
    """What to measure."""

    data: tuple[Path, ...]
    """Folders of systems, each a folder of logs."""


def main() -> None:
    """Measure and print."""
    bench = tyro.cli(Bench, description=__doc__)
    traces = [trace for folder in bench.data for trace in read_folder(folder)]
    known = [example(trace) for trace in traces]
    print(f"{COMMAND}\nlabelled step within the first {TOP}, per cent\n")
    rows = []
    for name in sorted({system_of(trace) for trace in traces}):
        pairs = [(t, e) for t, e in zip(traces, known, strict=True) if system_of(t) == name]
        best, luck = _rules([trace for trace, _ in pairs])
        single, which = _single([one for _, one in pairs])
        inside, out = _learned([one for _, one in pairs])
        rows.append((best, inside, out))
        print(
            f"{name} (n {len(pairs)}): best rule {100 * best:.0f}, with labels at random "
            f"{100 * luck:.0f}; best signal {100 * single:.0f} ({which}); learned from these very "
            f"runs {100 * inside:.0f}, each left out {100 * out:.0f}"
        )
    best, inside, out = (float(np.mean(column)) for column in zip(*rows, strict=True))
    print(
        f"\nmean over systems: best rule {100 * best:.1f}, {GOAL} times that {150 * best:.1f}; "
        f"learned from these very runs {100 * inside:.1f} ({inside / best:.2f} times), each left "
        f"out {100 * out:.1f} ({out / best:.2f} times)"
    )


def _rules(traces: Sequence[Trace]) -> tuple[float, float]:
    """What the best rule gets, and what it gets where labels are dealt at random."""
    found = [rules(trace) for trace in traces]
    best = max(np.mean(hits([one[name] for one in found], traces, TOP)) for name in found[0])
    deal = random.Random(SEED)
    firsts = {name: [set(one[name][:TOP]) for one in found] for name in found[0]}
    lucky = []
    for _ in range(DEALS):
        labels = [deal.choice(one["all first"]) for one in found]
        lucky.append(
            max(
                np.mean([label in first for label, first in zip(labels, rule, strict=True)])
                for rule in firsts.values()
            )
        )
    return float(best), float(np.mean(lucky))


def _single(runs: Sequence[Example | None]) -> tuple[float, str]:
    """The best signal, either way up, and its name; ties count by their share."""
    table = {}
    for name in SIGNALS:
        for side in (1, -1):
            total = 0.0
            for one in runs:
                if one is None:
                    continue
                values = [side * row[0] for row in one.general.columns([name])]
                above = sum(value > values[one.chosen] for value in values)
                equal = sum(value == values[one.chosen] for value in values)
                total += max(0.0, min(1.0, (TOP - above) / equal))
            table[f"{'' if side > 0 else 'least '}{name}"] = total / len(runs)
    name = max(table, key=lambda one: table[one])
    return table[name], name


def _learned(runs: Sequence[Example | None]) -> tuple[float, float]:
    """The best over ridges of weights learned from the system itself: inside, and each left out."""
    used = [one for one in runs if one is not None]
    rows = [one.general.columns(NAMES) for one in used]
    chosen = [one.chosen for one in used]
    signs = [SIGNALS[name].sign for name in NAMES]
    meant = {at: MEANT * sign for at, sign in enumerate(signs) if sign}

    def right(places: Sequence[int], tested: int, ridge: float) -> bool:
        learned = logit.fit(
            [rows[at] for at in places],
            [chosen[at] for at in places],
            signs,
            ridge,
            meant,
            narrow=NARROW["general"],
        )
        scores = np.asarray(rows[tested]) @ np.asarray(learned)
        return int((scores > scores[chosen[tested]]).sum()) < TOP

    every = range(len(used))
    inside = max(sum(right(every, at, ridge) for at in every) for ridge in RIDGES)
    out = max(
        sum(right([one for one in every if one != at], at, ridge) for at in every)
        for ridge in RIDGES
    )
    return inside / len(runs), out / len(runs)


if __name__ == "__main__":
    sys.exit(main())
