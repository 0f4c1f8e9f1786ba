"""What the finished cells of `benchmarks.watch` say, with intervals."""

import math
from typing import Any

import numpy as np

from lacewing.statistics import wilson

KINDS = ("backdoor", "shortcut", "drift", "tamper", "shift")
BASELINES = ("loss", "entropy", "activations")


def poisson(count: int) -> tuple[float, float]:
    """Exact 95 % interval of a Poisson mean, by bisection."""

    def below(mean: float, most: int) -> float:
        return sum(math.exp(-mean) * mean**k / math.factorial(k) for k in range(most + 1))

    def solve(wanted: float, most: int) -> float:
        low, high = 0.0, 10.0 + 4 * count
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if below(middle, most) > wanted else (low, middle)
        return low

    return (solve(0.975, count - 1) if count else 0.0), solve(0.025, count)


def share(hits: int, n: int) -> str:
    """A rate with Wilson's interval."""
    low, high = wilson(hits, n)
    return f"{hits}/{n} [{low:.0%}, {high:.0%}]"


def table(rows: list[dict[str, Any]], seeds: int) -> None:
    """What all finished cells say."""
    print(
        "\n| kind | finished | found in the text | at once by the probe | named right | "
        "median delay | loss | entropy | activations |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind in KINDS:
        of_kind = [r for r in rows if r["kind"] == kind]
        good = [r for r in of_kind if r["planted"]]
        left = f"{len(of_kind)} of {seeds}" + ("" if len(of_kind) == seeds else " (unfinished)")
        if not good:
            print(f"| {kind} | {left} | | | | | | | |")
            continue
        seen = [r for r in good if r["found"]["ours"]]
        cause = "text" if kind == "shift" else "model"
        named = share(sum(r["cause"] == cause for r in seen), len(seen))
        once = share(sum(r["at_once"] for r in good), len(good))
        delays = [delay(good, name) for name in ("ours", *BASELINES)]
        cells = [kind, left, share(len(seen), len(good)), once, named, *delays]
        print(f"| {' | '.join(cells)} |")
    drifts = [r for r in rows if r["kind"] == "drift" and r["planted"]]
    early = sum(r["loss_moved"] is not None and r["loss_moved"] < 0.05 for r in drifts)
    print(f"\ndrifts found before the task loss moved by 0.05 nats: {share(early, len(drifts))}")
    hits = [r["hit"] for r in rows if r.get("hit") is not None]
    print(
        f"tamperings whose weight or node is among the first three: {share(sum(hits), len(hits))}"
    )
    missed = [r for r in rows if not r["planted"]]
    print(f"not planted: {len(missed)}")


def delay(rows: list[dict[str, Any]], name: str) -> str:
    """Median tokens to the first alarm, and how many had one."""
    times = [row["found"][name][0] if row["found"][name] else math.inf for row in rows]
    middle = float(np.median(times))
    told = "none" if math.isinf(middle) else f"{middle:,.0f}"
    return f"{told} ({sum(not math.isinf(t) for t in times)})"
