"""`python -m benchmarks.memory`: peak memory of training and pruning, ours and the published way.

Every case runs alone in a process of its own, three steps at the reference shape. What counts is
the largest resident set, less that of a process which only imports.
"""

import resource
import subprocess
import sys
from collections.abc import Callable

from benchmarks import pruning, steps
from benchmarks.steps import Run
from lacewing.kernels.memory import keep_pages

CASES: dict[str, Callable[[], Run]] = {
    "import": lambda: lambda: None,
    "train published": lambda: steps.published(steps.reference()),
    "train published, checkpointing": lambda: steps.published(steps.reference(), True),
    "train dense": lambda: steps.dense(steps.reference()),
    "train ours": lambda: steps.ours(steps.reference()),
    "prune published": lambda: pruning.search(steps.reference(), 1)[0],
    "prune ours": lambda: pruning.search(steps.reference(), 1)[1],
}


def peak(case: str) -> float:
    """Peak resident memory of one case, in MB, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", case]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def run(case: str) -> None:
    """Three steps of a case, then its peak."""
    keep_pages()
    step = CASES[case]()
    for _ in range(3):
        step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """A table of all cases."""
    if len(sys.argv) > 1:
        return run(sys.argv[1])
    least = peak("import")
    print("| case | peak memory, MB |\n| --- | --- |")
    for case in list(CASES)[1:]:
        print(f"| {case} | {peak(case) - least:,.0f} |", flush=True)
    return None


if __name__ == "__main__":
    main()
