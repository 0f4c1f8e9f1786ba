"""What the finished cells of `benchmarks.watch` say, with intervals."""

import math
from typing import Any

import numpy as np

from lacewing.statistics import wilson

KINDS = ("backdoor", "shortcut", "drift", "tamper", "coarse", "shift")
SEEN_BY = ("text", "probe")
"""What raises the monitor's alarms."""
BASELINES = ("loss", "entropy", "activations")
WAYS = {"found": SEEN_BY, "in the text alone": SEEN_BY[:1]} | {name: (name,) for name in BASELINES}
"""What may raise an alarm, by what it is called."""


def poisson(count: int) -> tuple[float, float]:
    """Exact 95 % interval of a Poisson mean, by bisection."""

    def below(mean: float, most: int) -> float:
        logs = (k * math.log(mean or 1e-300) - mean - math.lgamma(k + 1) for k in range(most + 1))
        return sum(map(math.exp, logs))

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


def first(found: dict[str, list[int]], *names: str) -> float:
    """Tokens to the first alarm of some."""
    return min((at for name in names for at in found[name]), default=math.inf)


def table(rows: list[dict[str, Any]], seeds: int) -> None:
    """What all finished cells say."""
    print(
        "\n| kind | finished | found | in the text alone | the same text, model unchanged | "
        "named right | median delay | in the text | loss | entropy | activations |"
    )
    print(f"|{' --- |' * 11}")
    for kind in KINDS:
        of_kind = [r for r in rows if r["kind"] == kind]
        good = [r for r in of_kind if r["planted"]]
        wanted = max(seeds, len(of_kind))
        left = f"{len(of_kind)} of {wanted}" + (" (unfinished)" if len(of_kind) < wanted else "")
        if not good:
            print(f"| {kind} | {left} |{' |' * 9}")
            continue
        seen = [r for r in good if r["found"]["text"]]
        cause = "text" if kind == "shift" else "model"
        named = share(sum(r["cause"] == cause for r in seen), len(seen))
        found = [
            share(sum(first(r["found"], *names) < math.inf for r in good), len(good))
            for names in (SEEN_BY, SEEN_BY[:1])
        ]
        controls = [r["control"] for r in good if "control" in r]
        alone = share(sum(bool(c["text"]) for c in controls), len(controls)) if controls else ""
        ways = (SEEN_BY, SEEN_BY[:1], *((b,) for b in BASELINES))
        cells = [kind, left, *found, alone, named, *(delay(good, *names) for names in ways)]
        print(f"| {' | '.join(cells)} |")
    changes = [r for r in rows if r["kind"] != "shift" and r["planted"]]
    print("\nof all changes of the model:")
    for told, names in WAYS.items():
        hits = sum(first(r["found"], *names) < math.inf for r in changes)
        print(f"  {told}: {share(hits, len(changes))}")
    drifts = [r for r in changes if r["kind"] == "drift" and r["late"] is not None]
    print("of drifts that moved the task loss by 0.05 nats, told before it:")
    for told, names in WAYS.items():
        early = sum(first(r["found"], *names) < r["late"] for r in drifts)
        print(f"  {told}: {share(early, len(drifts))}")
    hits = [r["hit"] for r in changes if r.get("hit") is not None]
    print(
        f"tamperings whose weight or node is among the first three: {share(sum(hits), len(hits))}"
    )
    print(f"not planted: {sum(not r['planted'] for r in rows)}")


def delay(rows: list[dict[str, Any]], *names: str) -> str:
    """Median tokens to the first alarm, and how many had one."""
    times = [first(row["found"], *names) for row in rows]
    middle = float(np.median(times))
    told = "none" if math.isinf(middle) else f"{middle:,.0f}"
    return f"{told} ({sum(not math.isinf(t) for t in times)})"
