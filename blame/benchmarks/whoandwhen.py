"""What the ranker gets right on Who&When, and what not.

    python blame/benchmarks/whoandwhen.py --data DIR

Prints one table: question-disjoint cross-validation, transfer between subsets and sources,
baselines, calibration, abstention, learning curve and the shuffled-label control. Exact matching;
no model, no network, no right answers. Figures of several deals of the folds are their mean; the
interval is that of the mean count. Who&When's kinds of runs are known here; for other systems, and
for the weights that ship, see unseen.py.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from lacewing_blame.attribution import Attribution
from lacewing_blame.events import Trace
from lacewing_blame.ranker.calibrate import abstention, expected_calibration_error, reliability
from lacewing_blame.ranker.crossval import (
    cross_validate,
    learning_curve,
    shuffled_labels,
    source,
    transfer,
)
from lacewing_blame.reading.read import read_folder
from lacewing_blame.scoring import baselines, confidence, score
from lacewing_blame.statistics import wilson

COMMAND = "python blame/benchmarks/whoandwhen.py --data DIR"


CEILING = (
    "two annotations of the same 43 hand-crafted runs agree on 35 % of the steps and 60 % of the "
    "agents"
)


@dataclass(frozen=True)
class Bench:
    """What to measure."""

    data: Path
    """Folder with algorithm_generated/ and hand_crafted/."""
    seeds: int = 10
    """Deals of the folds that are averaged."""
    folds: int = 5
    """Folds."""


def main() -> None:
    """Measure and print."""
    bench = tyro.cli(Bench, description=__doc__)
    start = time.process_time()
    traces = read_folder(bench.data)
    flat = [trace for trace in traces if trace.id.startswith("algorithm_generated")]
    crafted = [trace for trace in traces if trace.id.startswith("hand_crafted")]
    print(f"{COMMAND} --seeds {bench.seeds} --folds {bench.folds}")
    print(f"{len(flat)} algorithm-generated (AG) and {len(crafted)} hand-crafted (HC) runs")
    print("label defects found by the loader:")
    for trace in traces:
        for note in trace.notes:
            print(f"  {trace.id}: {note}")
    deals = [cross_validate(traces, bench.folds, seed) for seed in range(bench.seeds)]
    _cross_validation(traces, deals)
    _transfers(flat, crafted)
    _baselines({"AG": flat, "HC": crafted})
    _calibration(traces, deals)
    _curve(flat, bench)
    _control({"AG": flat, "HC": crafted}, bench)
    print(f"{time.process_time() - start:.0f} seconds of one processor")


def _share(name: str, shares: Sequence[float], n: int) -> str:
    """A mean share with the interval of so many of n, and its range over deals."""
    mean = float(np.mean(shares))
    low, high = wilson(mean * n, n)
    spread = f" ({100 * min(shares):.1f} to {100 * max(shares):.1f})" if len(shares) > 1 else ""
    return f"{name} {100 * mean:.1f} [{100 * low:.0f}, {100 * high:.0f}]{spread}"


def _line(name: str, traces: Sequence[Trace], deals: Sequence[Sequence[Attribution]]) -> None:
    figures = [score(traces, deal) for deal in deals]
    told = [
        _share(key, [figure[key]["accuracy"] for figure in figures], len(traces))
        for key in ("agent", "step", "joint", "top_3", "within_1", "within_3", "within_5")
    ]
    mrr = float(np.mean([figure["mrr"] for figure in figures]))
    print(f"  {name}, n = {len(traces)}: " + "; ".join(told[:4]))
    print(f"    {'; '.join(told[4:])}; mrr {mrr:.2f}")


def _only(
    traces: Sequence[Trace], deals: Sequence[Sequence[Attribution]], start: str
) -> tuple[list[Trace], list[list[Attribution]]]:
    """One subset of the runs and of the answers."""
    kept = [at for at, trace in enumerate(traces) if trace.id.startswith(start)]
    return [traces[at] for at in kept], [[deal[at] for at in kept] for deal in deals]


def _cross_validation(traces: Sequence[Trace], deals: Sequence[Sequence[Attribution]]) -> None:
    print("\nquestion-disjoint cross-validation, per cent [95 %] (range over deals)")
    for name, start in (("AG", "algorithm_generated"), ("HC", "hand_crafted"), ("both", "")):
        _line(name, *_only(traces, deals, start))
        if name == "HC":
            print(f"    human ceiling: {CEILING}")


def _transfers(flat: Sequence[Trace], crafted: Sequence[Trace]) -> None:
    print("\ntransfer, per cent [95 %]")
    for name, learn, test in (("AG -> HC", flat, crafted), ("HC -> AG", crafted, flat)):
        _line(name, test, [transfer(learn, test)])
    for subset, runs in (("AG", flat), ("HC", crafted)):
        for here, there in (("GAIA", "AssistantBench"), ("AssistantBench", "GAIA")):
            learn = [trace for trace in runs if source(trace) == here]
            test = [trace for trace in runs if source(trace) == there]
            _line(f"{subset}, {here} -> {there}", test, [transfer(learn, test)])


def _baselines(subsets: dict[str, list[Trace]]) -> None:
    print("\nbaselines, agent / step, per cent")
    for name, runs in subsets.items():
        for rule, row in baselines(runs).items():
            shares = [
                value if isinstance(value, float) else value["accuracy"]
                for value in (row["agent"], row["step"])
            ]
            print(f"  {name} {rule}: {100 * shares[0]:.1f} / {100 * shares[1]:.1f}")


def _calibration(traces: Sequence[Trace], deals: Sequence[Sequence[Attribution]]) -> None:
    """Calibration and abstention, beside what perfect calibration would show by chance."""
    print("\ncalibration of the step named (expected error in 10 bins) and abstention")
    deal = np.random.default_rng(0)
    for name, start in (("AG", "algorithm_generated"), ("HC", "hand_crafted"), ("both", "")):
        runs, answers = _only(traces, deals, start)
        errors, ideal, half, whole, sure, right = [], [], [], [], [], []
        for one in answers:
            p = [confidence(a) for a in one]
            hit = [
                t.label is not None and a.step == t.label.step
                for t, a in zip(runs, one, strict=True)
            ]
            errors.append(expected_calibration_error(p, hit))
            for _ in range(40):
                drawn = list(deal.random(len(p)) < np.array(p))
                ideal.append(expected_calibration_error(p, drawn))
            curve = abstention(p, hit)
            half.append(curve[4]["accuracy"])
            whole.append(curve[9]["accuracy"])
            sure, right = sure + p, right + hit
        lift = float(np.mean(half) / np.mean(whole))
        print(
            f"  {name}: error {np.mean(errors):.3f} per deal, "
            f"{expected_calibration_error(sure, right):.3f} over all deals together; "
            f"a perfectly calibrated ranker on so few runs shows {np.mean(ideal):.3f}; "
            f"step accuracy at half coverage {100 * np.mean(half):.1f}, {lift:.2f} times"
        )
        if name == "both":
            print(
                "  reliability, all deals together: "
                + "; ".join(
                    f"{row['promised']:.2f} promised, {row['correct']:.2f} correct (n {row['n']})"
                    for row in reliability(sure, right)
                )
            )
            steps = np.mean(
                [
                    [
                        r["accuracy"]
                        for r in abstention(
                            [confidence(a) for a in one],
                            [
                                t.label is not None and a.step == t.label.step
                                for t, a in zip(runs, one, strict=True)
                            ],
                        )
                    ]
                    for one in answers
                ],
                axis=0,
            )
            print(
                "  step accuracy at coverage 10 ... 100 %: "
                + " ".join(f"{100 * value:.0f}" for value in steps)
            )


def _curve(flat: Sequence[Trace], bench: Bench) -> None:
    print("\nlearning curve on AG, runs learned from: agent / step, per cent")
    sizes = (10, 20, 40, 60)
    sums = {size: [0.0, 0.0] for size in sizes}
    for seed in range(bench.seeds):
        for size, answers in learning_curve(flat, sizes, bench.folds, seed).items():
            figures = score(flat, answers)
            sums[size][0] += figures["agent"]["accuracy"] / bench.seeds
            sums[size][1] += figures["step"]["accuracy"] / bench.seeds
    print("  " + "; ".join(f"{s}: {100 * a:.1f} / {100 * b:.1f}" for s, (a, b) in sums.items()))


def _control(subsets: dict[str, list[Trace]], bench: Bench) -> None:
    print("\ncontrol, labels shuffled among the steps that may be to blame: step, per cent")
    for name, runs in subsets.items():
        shares, chance = [], []
        for seed in range(bench.seeds):
            shuffled = shuffled_labels(runs, seed)
            figures = score(shuffled, cross_validate(shuffled, bench.folds, seed))
            shares.append(figures["step"]["accuracy"])
            chance.append(figures["baselines"]["chance"]["step"])
        print(f"  {name}: {_share('step', shares, len(runs))}; chance {100 * np.mean(chance):.1f}")


if __name__ == "__main__":
    sys.exit(main())
