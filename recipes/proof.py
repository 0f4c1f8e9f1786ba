"""Training for proof: does a model that was disturbed while it learned have circuits that hold?

    python recipes/proof.py --run runs/middle --output runs/proof

RUN is a natural model that was trained with `--keep 0.5`. From that checkpoint, arms of equal text,
each with two orders of it (seeds):

    before    as the run went on
    nodes     nodes of random sites at their running mean
    halves    random halves of what is idle ablated, as `complement.random` draws them
    idle      a price on the norm that idle channels keep up
    fewer     fewer active channels

For each: bits per byte, tasks learned, and over its circuits the edges and the loss when others of
the rest run, random halves (`complement.random`) and the worst subset that a search finds
(`complement.worst`). Edges (geometric means) and losses (means) are over the tasks for which all
finished arms that have any circuit have one, so that an arm gains nothing by learning less; their
intervals resample tasks. Nothing is chosen by these numbers.

Where RUN is finished, its own seed of `before` is RUN itself: the same settings on the same text,
so that a branch would end with the same weights. The table says so.

Every cell has its file (OUTPUT/ARM-SEED/{reading,TASK}.json), what is done is kept, the same
command goes on; --table only prints. Cells that are not done are printed as such.
"""

import dataclasses
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from lacewing import artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.data.corpus import Corpus
from lacewing.errors import DataError
from lacewing.kernels.memory import keep_pages
from lacewing.model.store import Model, load
from lacewing.progress import for_at_most
from lacewing.pruning.prune import prune
from lacewing.statistics import bootstrap
from lacewing.tasks.batch import prompts
from lacewing.tasks.registry import get, names
from lacewing.tasks.scoring import evaluate
from lacewing.training.branch import branch, kept_steps
from lacewing.training.evaluate import text_bits_per_byte
from lacewing.training.run import finished, training_of
from lacewing.verification.suite import PARTS
from lacewing.verification.verify import verify

ARMS: dict[str, dict[str, Any]] = {
    "before": {},
    "nodes": {"ablated_nodes": 0.1},
    "halves": {"ablated_halves": 0.5},
    "idle": {"idle_price": 0.1},
    "fewer": {"abs_topk": 0.125},
}
"""What each arm changes of the run."""
LIBRARY = "code:standard_library"
TESTS = ("complement.random", "complement.worst")
PAIRS, LONGEST = 256, 64


@dataclass(frozen=True)
class Recipe:
    """Arms of one run."""

    run: Path
    """The run, finished or not, with the checkpoint kept."""
    output: Path
    """Where everything is kept."""
    step: int = 0
    """The kept checkpoint; by default the first."""
    arms: tuple[str, ...] = tuple(ARMS)
    """Only these."""
    seeds: tuple[int, ...] = (0, 1)
    """Orders of the text."""
    tasks: tuple[str, ...] = ()
    """Only these; by default all that an arm has learned."""
    search: PruneConfig = field(default_factory=PruneConfig)
    """How every arm's circuits are searched for."""
    corpus: str | None = None
    """Where the run's text is now, if it was moved."""
    threads: int = 1
    """Threads."""
    stop_after: int = 0
    """Seconds after which it ends with exit status 75, to go on later; 0: never."""
    table: bool = False
    """Only print what there is."""

    def each(self) -> Iterator[tuple[str, int, Path]]:
        """Every arm and seed, seeds outermost, with its folder."""
        for seed in self.seeds:
            for arm in self.arms:
                if arm not in ARMS:
                    raise SystemExit(f"no arm {arm!r}; there are: {', '.join(ARMS)}")
                yield arm, seed, self.output / f"{arm}-{seed}"


def trained(given: Recipe, step: int, arm: str, seed: int, place: Path) -> Path:
    """The run of an arm, trained if it has to be; the run itself where the arm changes nothing."""
    changes = ARMS[arm] | {"seed": seed}
    if finished(given.run) and not finished(place / "run"):
        whole = training_of(given.run)
        if dataclasses.replace(whole, **changes) == whole:
            return given.run
    return branch(given.run, step, place / "run", changes, corpus=given.corpus).folder


def reading(place: Path, model: Model, itself: bool = False) -> dict[str, Any]:
    """What an arm knows: bits per byte, and its loss on every task; kept once it is measured."""
    path = place / "reading.json"
    if not path.exists():
        text = Corpus.parse(LIBRARY)
        row: dict[str, Any] = {"id": model.id, "bits_per_byte": text_bits_per_byte(model, text)}
        row |= {"itself": itself, "tasks": {}}
        for name in names():
            try:
                test = prompts(get(name), text, model.tokenizer, "test", PAIRS, LONGEST)
            except DataError as error:
                row["tasks"][name] = {"learned": False, "error": str(error)}
            else:
                row["tasks"][name] = dataclasses.asdict(evaluate(model, test))
        artifacts.write_json(path, row)
    found: dict[str, Any] = artifacts.read_json(path)
    return found


def learned(given: Recipe, row: dict[str, Any]) -> list[str]:
    """Tasks of one arm that circuits are searched for."""
    wanted = given.tasks or names()
    return [name for name in wanted if row["tasks"][name]["learned"]]


def judged(given: Recipe, place: Path, model: Model, task: str) -> None:
    """Find an arm's circuit for one task, and what the rest can do to it."""
    file, folder = place / f"{task}.json", place / task
    if file.exists():
        return
    state = artifacts.unfinished(folder)
    if folder.exists():
        circuit = Circuit.load(folder)
        circuit.check(model)
        old, new = circuit.config.as_json(), given.search.as_json()
        artifacts.check_same(folder, "a circuit", old, new)
    else:
        try:
            circuit = prune(model, task, given.search, corpus=LIBRARY, state=state)
        except DataError as error:
            artifacts.write_json(file, {"error": str(error)})
            return
        circuit.save(folder)
        shutil.rmtree(state)
    parts = {"complement": PARTS["complement"]}
    proof = verify(model, circuit, corpus=LIBRARY, folder=folder, parts=parts)
    tests = {t.name: t.as_json() for t in proof.tests if t.name in TESTS}
    facts = {"nodes": circuit.n_nodes, "edges": circuit.n_edges, "losses": dict(circuit.losses)}
    artifacts.write_json(file, {"model": model.id, **facts, "tests": tests})


def work(given: Recipe) -> None:
    """Train, read and judge what is missing: first all arms of a seed, so that they compare."""
    step = given.step or next(iter(kept_steps(given.run)), 0)
    for arm, seed, place in given.each():
        run = trained(given, step, arm, seed, place)
        model = load(run)
        row = reading(place, model, itself=run == given.run)
        for task in learned(given, row):
            judged(given, place, model, task)


def cells(given: Recipe, place: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """An arm's finished cells by task, and how many are open."""
    path = place / "reading.json"
    if not path.exists():
        return {}, 0
    found, open_ = {}, 0
    for task in learned(given, artifacts.read_json(path)):
        file = place / f"{task}.json"
        if file.exists():
            found[task] = artifacts.read_json(file)
        else:
            open_ += 1
    return found, open_


def shared(known: dict[Path, tuple[dict[str, dict[str, Any]], int]]) -> list[str]:
    """Tasks for which every finished arm that has any circuit has one."""
    every = [
        {task for task, row in found.items() if row.get("edges")}
        for found, open_ in known.values()
        if not open_
    ]
    with_circuit = [tasks for tasks in every if tasks]
    return sorted(set.intersection(*with_circuit)) if with_circuit else []


def table(given: Recipe) -> str:
    """A row an arm and seed; what is not done says so."""
    known = {place: cells(given, place) for _, _, place in given.each()}
    common = shared(known)
    head = ["arm", "seed", "bits per byte", "learned", "circuits", "edges", *TESTS]
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for arm, seed, place in given.each():
        path = place / "reading.json"
        if not path.exists():
            begun = "NOT DONE, begun" if (place / "run").exists() else "NOT DONE"
            lines.append(f"| {arm} | {seed} | {begun} |" + " - |" * (len(head) - 3))
            continue
        row, (found, open_) = artifacts.read_json(path), known[place]
        count = sum(bool(score["learned"]) for score in row["tasks"].values())
        circuits = sum("edges" in cell for cell in found.values())
        order = f"{seed}, the run itself" if row.get("itself") else str(seed)
        said = [arm, order, f"{row['bits_per_byte']:.3f}", str(count)]
        said.append(f"{circuits}" + (f"; {open_} cells NOT DONE" if open_ else ""))
        mine = [found[task] for task in common if found.get(task, {}).get("edges")]
        if mine and len(mine) == len(common):
            said += [edges(mine), *(withstood(mine, test) for test in TESTS)]
        else:
            said += ["NOT DONE" if open_ else "-"] * (1 + len(TESTS))
        lines.append(f"| {' | '.join(said)} |")
    tasks = ", ".join(common) or "none"
    said_of_all = (
        "Edges and losses over the tasks that all finished arms with circuits share: "
        f"{tasks}. -: no circuit, or none of a shared task. In brackets 95 % over tasks; over "
        "pairs where there is one task."
    )
    return "\n".join([*lines, "", said_of_all])


def edges(rows: list[dict[str, Any]]) -> str:
    """Their geometric mean, with the interval over tasks."""
    logs = np.log([float(row["edges"]) for row in rows])
    mean = f"{np.exp(logs.mean()):.0f}"
    if len(rows) < 2:
        return mean
    low, high = np.exp(bootstrap(logs))
    return f"{mean} [{low:.0f}, {high:.0f}]"


def withstood(rows: list[dict[str, Any]], test: str) -> str:
    """The mean loss over some circuits, its interval, the control's, and how many pass."""
    tests = [row["tests"][test] for row in rows]
    values, controls = (np.array([one[name] for one in tests]) for name in ("value", "control"))
    # Files hold no single pairs: over several tasks these are what is drawn.
    low, high = bootstrap(values) if len(tests) > 1 else (tests[0]["low"], tests[0]["high"])
    passed = sum(one["passed"] is True for one in tests)
    return (
        f"{values.mean():.3f} [{low:.3f}, {high:.3f}] (control {controls.mean():.3f}); "
        f"{passed} of {len(tests)} pass"
    )


def main(given: Recipe) -> None:
    """Do what is not done yet, and print the table."""
    keep_pages()
    torch.set_num_threads(given.threads)
    try:
        with for_at_most(given.stop_after):
            if not given.table:
                work(given)
    finally:
        print(table(given))


if __name__ == "__main__":
    main(tyro.cli(Recipe))
