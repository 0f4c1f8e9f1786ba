"""Circuits of a model that lacewing did not train, on four tasks: found, judged, and the table.

    python -m recipes.smollm2 models/smollm2
    nice -n 19 python -m recipes.open_circuits --model hf:models/smollm2 --output runs/open

Tasks: indirect_object, subject_verb, greater_than (templates), single_double_quote (code of the
standard library). All are found before the first is judged, as another task's circuit is one of the
controls. Every one goes through the suite without `stability`, `controls` and
`alternatives`; the first goes through all of it when everything else is done. Interrupt it at any
time, or give it --stop-after: the same command goes on, in the middle of a search too.

What is not done is printed as NOT DONE; what was found and fails is printed with what it fails. A
task that the model itself does not know at the target is searched at its own loss plus 0.1 nats.
Circuits of SmolLM2 that were found so stand in recipes/smollm2_circuits, and are taken from there;
--anew searches instead. --pack puts what OUTPUT has there.
--table prints what is there, and what every test measured beside its control; nothing else is
done. OUTPUT/TASK has the circuits with their verdicts, OUTPUT/TASK.json what came of each.
"""

import dataclasses
import math
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import tyro

from lacewing import artifacts
from lacewing.ablation.run import ablated_loss
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import OPEN_SEARCH, PruneConfig
from lacewing.circuit.prompts import prompt_sets
from lacewing.errors import DataError
from lacewing.kernels.memory import keep_pages
from lacewing.model.store import Model, load
from lacewing.progress import for_at_most, say
from lacewing.pruning.prune import prune
from lacewing.report.commands import of_circuit
from lacewing.tasks.registry import get
from lacewing.verification.suite import parts_without
from lacewing.verification.verify import verify

TASKS = ("indirect_object", "subject_verb", "greater_than", "single_double_quote")
SLOW = ("stability", "controls", "alternatives")
"""Parts of the suite that search again, for hours."""
KEPT = Path(__file__).parent / "smollm2_circuits"
"""Circuits that were searched for with SEARCH, some half an hour of one core each."""
ABOVE = 0.1
"""Nats above the model's own loss, where that is above the target."""
SEARCH = dataclasses.replace(OPEN_SEARCH, validation_target=0.07)
"""500 steps of 12 pairs. Chosen at 0.12 nats on 96 pairs, a circuit had 0.208 on test pairs."""


@dataclass(frozen=True)
class Recipe:
    """Four circuits of an open model."""

    model: str
    """Such as hf:models/smollm2."""
    output: Path
    """Where everything is kept."""
    tasks: tuple[str, ...] = TASKS
    """Only these; the first is the one that goes through the whole suite."""
    search: PruneConfig = field(default_factory=lambda: SEARCH)
    """How all of them are searched for."""
    whole: bool = True
    """Run the whole suite on the first task, after all else."""
    anew: bool = False
    """Search for circuits that stand in recipes/smollm2_circuits too."""
    pack: bool = False
    """Put the circuits of OUTPUT into recipes/smollm2_circuits, and do nothing else."""
    threads: int = 1
    """Threads."""
    stop_after: int = 0
    """Seconds after which it ends with exit status 75, to go on later; 0: never."""
    table: bool = False
    """Print what is there and what every test measured, and do nothing else."""


def row_file(given: Recipe, task: str) -> Path:
    """What came of a task."""
    return given.output / f"{task}.json"


def row_of(given: Recipe, task: str) -> dict[str, Any] | None:
    """The same, where it was written down for this search."""
    file = row_file(given, task)
    if not file.exists():
        return None
    row: dict[str, Any] = artifacts.read_json(file)
    artifacts.check_same(file, "a search", row["asked"], given.search.as_json())
    return row


def config_of(given: Recipe, model: Model, task: str) -> tuple[PruneConfig, float]:
    """The search of a task, at its own loss plus some where the target is lower; and that loss.

    Raises:
        DataError: there are no prompts, or the model is at chance.
    """
    search, file = given.search, given.output / "full.json"
    known = artifacts.read_json(file) if file.exists() else {}
    key = f"{model.id} {task} {search.validation_pairs} {search.seed}"
    if key not in known:
        prompts = prompt_sets(model, get(task), search).validation
        known[key] = float(ablated_loss(model, prompts, None).mean())
        given.output.mkdir(parents=True, exist_ok=True)
        artifacts.write_json(file, known)
    full = known[key]
    if full + ABOVE >= math.log(2):
        raise DataError(f"the model has {full:.3f} nats on {task}: it has not learned it")
    if full <= search.chosen_at:
        return search, full
    reached = round(full + ABOVE, 3)
    room = search.target_loss - search.chosen_at
    return dataclasses.replace(
        search, target_loss=reached, validation_target=max(full, reached - room)
    ), full


def kept(model: Model, task: str, config: PruneConfig) -> Circuit | None:
    """The circuit that an earlier search of the same model left in this repository."""
    file = KEPT / f"{task}.tar.xz"
    if not file.exists():
        return None
    circuit = unpacked(file)
    if (circuit.model_id, circuit.config) != (model.id, config):
        other = "model" if circuit.model_id != model.id else "search"
        say(f"{file} has a circuit of another {other}: {task} is searched for")
        return None
    return dataclasses.replace(circuit, model_source=model.source)


def unpacked(file: Path) -> Circuit:
    """The circuit in a file that `pack` wrote."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(file) as whole:
            whole.extractall(folder, filter="data")
        return Circuit.load(Path(folder) / file.name.split(".")[0])


def nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """An entry without its owner and time, so that the same circuit is the same file.

    Searches that were interrupted are left out.
    """
    if ".unfinished" in entry.name:
        return None
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def pack(given: Recipe) -> None:
    """Every circuit of the output as one small file.

    `Circuit.save(pack=True)` packs the pairs alone. Here 768 KB are edges, all that there can be:
    gzip leaves 217 of them, xz 12.
    """
    KEPT.mkdir(exist_ok=True)
    for task in given.tasks:
        if (given.output / task).exists():
            with tarfile.open(KEPT / f"{task}.tar.xz", "w:xz") as whole:
                for file in sorted((given.output / task).iterdir()):
                    whole.add(file, f"{task}/{file.name}", filter=nobodys)


def found(given: Recipe, model: Model, task: str) -> Circuit:
    """The circuit of a task: as it was saved, from this repository, or searched for now.

    Raises:
        DataError: there is none.
    """
    folder = given.output / task
    config, _ = config_of(given, model, task)
    if folder.exists():
        circuit = Circuit.load(folder)
        circuit.check(model)
        artifacts.check_same(folder, "a circuit", circuit.config.as_json(), config.as_json())
        return circuit
    state = artifacts.unfinished(folder)
    circuit = None if given.anew else kept(model, task, config)
    if circuit is None:
        circuit = prune(model, task, config, state=state)
    circuit.save(folder)
    if state.exists():  # what is taken from the repository was not searched for
        shutil.rmtree(state)
    return circuit


def find_all(given: Recipe, model: Model) -> None:
    """Find every circuit before the first is judged: `other_task` compares with those beside it.

    Of a task without one the reason is written down as its row.
    """
    for task in given.tasks:
        if row_of(given, task) is not None:
            continue
        try:
            found(given, model, task)
        except DataError as error:
            row: dict[str, Any] = {
                "asked": given.search.as_json(),
                "skipped": list(SLOW),
                "error": str(error),
            }
            artifacts.write_json(row_file(given, task), row)


def judged(given: Recipe, model: Model, task: str, skip: Sequence[str]) -> dict[str, Any]:
    """Run the suite on a task's circuit, after it was found; what came of it."""
    asked = {"asked": given.search.as_json(), "skipped": list(skip)}
    circuit = found(given, model, task)
    folder = given.output / task
    proof = verify(model, circuit, folder=folder, parts=parts_without(tuple(skip), more=True))
    proof.save(folder)
    said: dict[str, Any] = {"folder": task, "task": task, "edited_from": None}
    said |= {"config": circuit.config.as_json(), "verification": proof.as_json()}
    commands = list(of_circuit(model.source, said))
    commands[-1] += " --more" + (f" --skip {' '.join(skip)}" if skip else "")
    test = proof.sufficient
    return asked | {
        "model": model.name or model.source,
        "model_id": model.id,
        "nodes": circuit.n_nodes,
        "all_nodes": sum(map(len, model.means.values())),
        "losses": dict(circuit.losses),
        "target": circuit.target_loss,
        "interval": list(test.interval),
        "pairs": proof.pairs,
        "verdict": proof.verdict,
        "tests": {one.name: one.passed for one in proof.tests},
        "left_out": [left.name for left in proof.left_out],
        "seconds": {"search": circuit.seconds, "suite": sum((proof.seconds or {}).values())},
        "commands": commands,
    }


def plan(given: Recipe) -> list[tuple[str, tuple[str, ...]]]:
    """What there is to do, in order: a task, and what its suite leaves out."""
    return [(task, SLOW) for task in given.tasks] + [(given.tasks[0], ())] * given.whole


def is_done(given: Recipe, task: str, skip: Sequence[str]) -> bool:
    """Whether a task was judged as far as is asked."""
    row = row_of(given, task)
    return row is not None and ("error" in row or set(row["skipped"]) <= set(skip))


def cells(row: dict[str, Any], nodes: str) -> list[str]:
    """Size, losses and target of a circuit that was found; an interval where it was judged."""
    loss, target, ends = row["losses"]["circuit"], row["target"], row.get("interval")
    return [
        nodes,
        f"{loss:.3f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""),
        f"{row['losses']['full']:.3f}",
        f"{target:g}{'' if loss <= target else ' MISSED'}",
        str(row.get("pairs", "-")),
    ]


def line(given: Recipe, task: str) -> list[str]:
    """The row of a task: what came of it, or that it is not done."""
    row, folder = row_of(given, task), given.output / task
    if row is None and folder.exists():
        circuit = Circuit.load(folder)
        known = {"losses": circuit.losses, "target": circuit.target_loss}
        return [*cells(known, f"{circuit.n_nodes:,}"), "NOT DONE"]
    if row is None:
        begun = artifacts.unfinished(folder).exists()
        return [*["-"] * 5, "NOT DONE, begun" if begun else "NOT DONE"]
    if "error" in row:
        return [*["-"] * 5, f"no circuit: {row['error']}"]
    skipped = f" (left out: {', '.join(row['skipped'])})" if row["skipped"] else ""
    nodes = f"{row['nodes']:,} of {row['all_nodes']:,}"
    return [*cells(row, nodes), row["verdict"] + skipped]


def table(given: Recipe) -> str:
    """What came of every task; what is not done says so."""
    lines = [
        "| task | nodes | test loss [95 %] | whole model | target | pairs | suite |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {task} | {' | '.join(line(given, task))} |" for task in given.tasks]
    open_ = sum(not is_done(given, task, skip) for task, skip in plan(given))
    return "\n".join([*lines, f"\n{open_} of {len(plan(given))} steps are not done."])


def tests_table(given: Recipe) -> str:
    """What every test of the suite measured on each circuit that was judged."""
    found: dict[str, dict[str, str]] = {}
    judged_ = [task for task in given.tasks if (given.output / task / "verification.json").exists()]
    for task in judged_:
        for test in artifacts.read_json(given.output / task / "verification.json")["tests"]:
            found.setdefault(test["name"], {})[task] = measured(test)
    lines = [f"| test | {' | '.join(judged_)} |", "| --- " * (len(judged_) + 1) + "|"]
    for name, cells_ in found.items():
        lines.append(f"| {name} | {' | '.join(cells_.get(task, '-') for task in judged_)} |")
    return "\n".join(lines) if judged_ else ""


def measured(test: dict[str, Any]) -> str:
    """One cell: the value with its interval, its control, and the verdict."""
    ends = f" [{test['low']:.3f}, {test['high']:.3f}]" if test.get("low") is not None else ""
    control = f", {test['control']:.3f}" if test.get("control") is not None else ""
    verdict = {True: "passes", False: "fails", None: "not shown"}[test["passed"]]
    return f"{test['value']:.3f}{ends}{control}: {verdict}"


def main(given: Recipe) -> None:
    """Do what is not done yet, and print the table."""
    if given.table or given.pack:
        print(table(given), tests_table(given), sep="\n\n")
        if given.pack:
            pack(given)
        return
    for task in given.tasks:
        get(task)  # a name that no task has is a mistake, and no row of the table
    keep_pages()
    torch.set_num_threads(given.threads)
    try:
        with for_at_most(given.stop_after):
            if all(is_done(given, task, skip) for task, skip in plan(given)):
                return
            model = load(given.model)
            find_all(given, model)
            for task, skip in plan(given):
                if not is_done(given, task, skip):
                    began = time.monotonic()
                    row = judged(given, model, task, skip)
                    artifacts.write_json(row_file(given, task), row)
                    print(f"{task}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    finally:
        print(table(given))


if __name__ == "__main__":
    main(tyro.cli(Recipe))
