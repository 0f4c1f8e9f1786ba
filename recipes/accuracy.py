"""Accuracy against edges: a model's circuits, and its twin's, at the paper's eight target losses.

    python recipes/accuracy.py --models builtin:sparse builtin:dense \
        --tasks while_return_true var_if --output runs/accuracy

For each task and model one mask is learned, and the smallest circuit that meets each target is
selected from it (`lacewing.pruning.walks`); targets below the whole model's own loss are left out,
as in a sweep. Each circuit is then asked on test pairs how often it prefers the right answer in
both prompts of a pair, with Wilson's 95 % interval over pairs. One model alone is fine too.

    OUTPUT/SIDE/TASK.json            the whole model's score
    OUTPUT/SIDE/TASK/TARGET/         a circuit
    OUTPUT/SIDE/TASK/TARGET.json     its row, or why there is none
    OUTPUT/accuracy.md               the tables
    OUTPUT/TASK.svg, .png, _dark     a figure a task; with several tasks `all` is their mean

What is finished is kept, so the same command goes on; a mask on its way is learned anew. --table
only writes the tables and figures of what is there. Cells that are not done are printed as such.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import tyro

from lacewing import artifacts
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import prompt_sets
from lacewing.errors import ConfigError, DataError
from lacewing.kernels.memory import keep_pages
from lacewing.model.store import Model, load
from lacewing.pages import svg
from lacewing.pages.names import safe_name
from lacewing.progress import for_at_most, say
from lacewing.pruning.walks import Walks
from lacewing.sweep import figures
from lacewing.sweep.accuracy import circuit_score, full_score
from lacewing.sweep.config import TARGETS
from lacewing.sweep.gather import SIDES
from lacewing.sweep.tables import accuracy
from lacewing.sweep.writing import accuracy_table, number
from lacewing.tasks.registry import get, names
from lacewing.tasks.scoring import LEARNED, evaluate
from lacewing.tasks.task import Task

Row = dict[str, Any]
ALL = "all"
"""The mean over tasks."""


@dataclass(frozen=True)
class Recipe:
    """A model, or a sparse one and its dense twin."""

    models: tuple[str, ...] = ("builtin:sparse", "builtin:dense")
    """A sparse model, and its dense twin where there is one."""
    tasks: tuple[str, ...] = ()
    """Names of tasks; none means all twenty, of which those that both have learned are shown."""
    output: Path = Path("runs/accuracy")
    """Where everything is kept."""
    targets: tuple[float, ...] = TARGETS
    """Target losses, in nats."""
    search: PruneConfig = field(
        default_factory=lambda: PruneConfig(penalty_from=1e-4, penalty_to=0.1)
    )
    """How all models are searched (recipes/compare.py); its target is not read."""
    corpus: str = "code:standard_library"
    """Where prompts come from."""
    threads: int = 1
    """Threads."""
    stop_after: int = 0
    """Seconds after which it ends with exit status 75, to go on later; 0: never."""
    table: bool = False
    """Only write the tables and figures of what is there."""

    def sides(self) -> dict[str, str]:
        """Models by side."""
        if not 1 <= len(self.models) <= len(SIDES):
            raise SystemExit(f"--models takes one or two models, not {len(self.models)}")
        return dict(zip(SIDES, self.models, strict=False))

    def wanted(self) -> dict[str, Task]:
        """Tasks by name."""
        return {task.name: task for task in map(get, self.tasks or names())}

    def place(self, side: str, task: str, target: float | None = None) -> Path:
        """The file of a row: a circuit's, or the whole model's."""
        end = "" if target is None else f"/{target:g}"
        return self.output / side / f"{safe_name(task)}{end}.json"


def plan(given: Recipe, models: dict[str, Model]) -> None:
    """Refuse a folder of other models or another search.

    Raises:
        ConfigError: naming what differs.
    """
    search = replace(given.search, target_loss=LEARNED, validation_target=None).as_json()
    asked = {side: model.id for side, model in models.items()} | {"corpus": given.corpus}
    path = given.output / "plan.json"
    if path.exists():
        artifacts.check_same(given.output, "circuits", artifacts.read_json(path), asked | search)
    artifacts.write_json(path, asked | search)


def prune_task(given: Recipe, side: str, model: Model, task: Task) -> None:
    """Find the circuits of one model and task that are not there yet."""
    whole = given.place(side, task.name)
    if all(given.place(side, task.name, target).exists() for target in given.targets):
        return
    try:
        sets = prompt_sets(model, task, given.search, given.corpus)
    except DataError as error:
        artifacts.write_json(whole, {"error": str(error)})
        return
    full = evaluate(model, sets.validation).loss
    test = asdict(full_score(model, sets.test))
    artifacts.write_json(whole, {"validation": full, "test": test})
    if full > LEARNED:
        return
    walks = Walks(model, task, sets)
    for target in sorted(given.targets, reverse=True):
        path = given.place(side, task.name, target)
        if not path.exists():
            about = {"task": task.name, "side": side, "target": target, "edges": None}
            reason = f"the full model's loss is {full:.4f} nats" if full > target else None
            row = about | (
                {"reason": reason} if reason else circuit_row(given, walks, target, path)
            )
            artifacts.write_json(path, row)
            say(f"{side} {task.name} at {target:g}: {row['reason'] or row['edges']}")


def circuit_row(given: Recipe, walks: Walks, target: float, path: Path) -> Row:
    """Find and keep the circuit of one target; its size and score, or why there is none."""
    config = replace(given.search, target_loss=target, validation_target=None)
    try:
        circuit = walks.circuit(config)
    except DataError as error:
        return {"reason": str(error)}
    place = path.with_suffix("")
    circuit.save(place, replace=place.exists())
    size = {"edges": circuit.n_edges, "nodes": circuit.n_nodes, "seconds": circuit.seconds}
    score = circuit_score(walks.model, circuit, walks.sets.test)
    return {"reason": None, "test": asdict(score)} | size


def rows(given: Recipe) -> tuple[list[Row], list[Row], dict[tuple[str, str], str]]:
    """Circuits and whole models that are there, and what there is not: by side and task, why."""
    sizes: list[Row] = []
    scores: list[Row] = []
    missing: dict[tuple[str, str], str] = {}
    for side in given.sides():
        for task in given.wanted():
            whole = given.place(side, task)
            facts = artifacts.read_json(whole) if whole.exists() else {}
            if "test" not in facts:
                missing[side, task] = facts.get("error", "NOT DONE")
                continue
            about = {"point": "", "task": task, "side": side}
            scores.append(about | facts)
            if facts["validation"] > LEARNED:
                missing[side, task] = f"not learned ({facts['validation']:.3f} nats on validation)"
                continue
            paths = [given.place(side, task, target) for target in given.targets]
            sizes += [about | artifacts.read_json(path) for path in paths if path.exists()]
            if left := [path.stem for path in paths if not path.exists()]:
                missing[side, task] = f"NOT DONE: {', '.join(left)}"
    return sizes, scores, missing


def of_one_task(given: Recipe, sizes: list[Row], scores: list[Row]) -> list[Row]:
    """A row a target with what each model has there, be it one side alone."""
    table = [{"target": t, "circuits": 0, "tasks": 0, "partial": False} for t in given.targets]
    for side in given.sides():
        mine = [[row for row in some if row["side"] == side] for some in (sizes, scores)]
        for row, more in zip(table, accuracy(*mine, sorted(given.targets), LEARNED), strict=True):
            counts = {key: max(row[key], more[key]) for key in ("circuits", "tasks")}
            row |= more | counts | {"partial": False}
    return table


def curves(given: Recipe) -> Iterator[tuple[str, list[Row]]]:
    """A table a task that all models have circuits of; with several, their mean last."""
    sizes, scores, _ = rows(given)
    done = []
    for task in given.wanted():
        mine = [[row for row in some if row["task"] == task] for some in (sizes, scores)]
        if len({row["side"] for row in mine[0]}) == len(given.sides()):
            done.append(task)
            yield task, of_one_task(given, *mine)
    if len(done) > 1:
        some = ([row for row in each if row["task"] in done] for each in (sizes, scores))
        yield ALL, accuracy(*some, given.targets, LEARNED)


def whole(given: Recipe, task: str) -> str:
    """What the whole models get right of one task, in words."""
    said = []
    for side, source in given.sides().items():
        test = artifacts.read_json(given.place(side, task))["test"]
        right = number(test["right"], test["right_low"], test["right_high"], "{:.1%}")
        loss = number(test["loss"], test["loss_low"], test["loss_high"], "{:.4f}")
        said.append(f"{source} {right} of {test['pairs']} pairs at {loss} nats")
    return f"Whole models: {', '.join(said)}."


def tell(given: Recipe) -> str:
    """Write figures and tables of what is there; the tables."""
    lines: list[str] = []
    for task, found in curves(given):
        one = task != ALL
        lines += [f"## {task}", "", *([whole(given, task), ""] if one else [])]
        lines += accuracy_table(found, one=one)
        note = f"bars: 95 % over {'test pairs' if one else 'tasks'}"
        for theme, colours in (("", svg.LIGHT), ("_dark", svg.DARK)):
            if any(row["circuits"] for row in found):
                plot = figures.accuracy(found, note, colours)
                for kind, content in (("svg", plot.svg()), ("png", plot.png())):
                    path = given.output / f"{safe_name(task)}{theme}.{kind}"
                    artifacts.write_bytes(path, content)
    sizes, _, missing = rows(given)
    for row in sizes:
        if row["reason"]:
            lines.append(f"- {row['side']}, {row['task']}, {row['target']:g}: {row['reason']}")
    lines += [f"- {side}, {task}: {why}" for (side, task), why in missing.items()]
    artifacts.write_bytes(given.output / "accuracy.md", artifacts.utf8("\n".join(lines) + "\n"))
    return "\n".join(lines)


def main(given: Recipe) -> None:
    """Prune what is missing, and print the tables."""
    keep_pages()
    torch.set_num_threads(given.threads)
    if not given.table:
        models = {side: load(source) for side, source in given.sides().items()}
        try:
            plan(given, models)
        except ConfigError as error:
            raise SystemExit(str(error)) from error
        try:
            with for_at_most(given.stop_after):
                for task in given.wanted().values():
                    for side, model in models.items():
                        prune_task(given, side, model, task)
        finally:
            tell(given)
    print(tell(given))


if __name__ == "__main__":
    main(tyro.cli(Recipe))
