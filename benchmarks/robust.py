"""`python -m benchmarks.robust`: how many nodes a circuit needs that stands this or that.

One circuit of a task for every constraint, for all that `--robust` asks, and for the worst
subset too: its size, the search's seconds, and what it fails of the suite, of which `controls` and
`stability` are left out (they say nothing of one circuit, but of searches like it).

    python -m benchmarks.robust --model builtin:sparse --task single_double_quote --minutes 20
"""

import time
from dataclasses import dataclass

import tyro

from lacewing.circuit.config import CONSTRAINTS, Constraint, PruneConfig
from lacewing.circuit.prompts import PromptSets, prompt_sets
from lacewing.errors import DataError
from lacewing.kernels.memory import keep_pages
from lacewing.model import store
from lacewing.model.store import Model
from lacewing.progress import for_at_most
from lacewing.pruning.prune import prune
from lacewing.tasks.registry import get
from lacewing.tasks.task import Task
from lacewing.verification.suite import PARTS
from lacewing.verification.verify import verify

SEARCHES = ("controls", "stability")
Asked = tuple[Constraint, ...]
ASKED: dict[str, Asked] = {
    "nothing but the target": (),
    **{kind: (kind,) for kind in CONSTRAINTS if kind != "worst"},
    "all six (`--robust`)": PruneConfig().constraints,
    "these and `worst`": CONSTRAINTS,
}


@dataclass(frozen=True)
class Trust:
    """What to measure."""

    model: str = "builtin:taught-tiny"
    """A model."""
    task: str = "indent_for"
    """One of its tasks."""
    worst: bool = True
    """Ask for the worst subset too, which may take long."""
    only: tuple[Constraint, ...] = ()
    """Only these constraints, each alone."""
    minutes: int = 0
    """A search that takes longer is given up, and its row says so; 0: none."""


def row(bench: Trust, model: Model, task: Task, sets: PromptSets, asked: Asked) -> str:
    """One circuit: nodes, edges, test loss, seconds, and the tests that it does not pass."""
    config = PruneConfig(robust=True, constraints=asked) if asked else PruneConfig()
    began = time.perf_counter()
    try:
        with for_at_most(60 * bench.minutes):
            circuit = prune(model, task, config, sets=sets)
    except DataError:
        return f"no circuit | | | {time.perf_counter() - began:.0f} | | "
    except SystemExit:
        return f"not found in {bench.minutes} minutes | | | | | "
    seconds = time.perf_counter() - began
    parts = {name: part for name, part in PARTS.items() if name not in SEARCHES}
    tests = verify(model, circuit, parts=parts, quiet=True).tests
    failed = ", ".join(
        test.name + " (unresolved)" * (test.passed is None) for test in tests if not test.passed
    )
    loss, passed = circuit.losses["circuit"], sum(bool(test.passed) for test in tests)
    return (
        f"{circuit.n_nodes} | {circuit.n_edges} | {loss:.3f} | {seconds:.0f} | "
        f"{passed} of {len(tests)} | {failed or 'nothing'}"
    )


def main(bench: Trust) -> None:
    """One line per choice of constraints, as a table."""
    keep_pages()
    model, task = store.load(bench.model), get(bench.task)
    sets = prompt_sets(model, task, PruneConfig())
    print("| has to hold under | nodes | edges | test loss | seconds | passes | fails |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    rows: dict[str, Asked] = {name: (name,) for name in bench.only} or ASKED
    for name, asked in rows.items():
        if bench.worst or "worst" not in asked:
            print(f"| {name} | {row(bench, model, task, sets, asked)} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Trust))
