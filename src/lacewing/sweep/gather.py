"""What a sweep's folder holds so far, as plain rows: models, circuits, failures."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.sweep.accuracy import Score
from lacewing.sweep.config import SweepConfig, read_config
from lacewing.sweep.points import MODEL, RESULT, TASK, Point, points
from lacewing.sweep.work import Job, failure, finished
from lacewing.tasks.registry import names

SIDES = ("sparse", "dense")
CONFIG = "sweep.json"

Row = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """All finished jobs of a sweep."""

    config: SweepConfig
    models: list[Row]
    """One per trained model: point, side, label, losses, folder (relative to the sweep's)."""
    scores: list[Row]
    """One per model and task: the unpruned model's loss, accuracy, interval."""
    sizes: list[Row]
    """One per model, task and target: edges, nodes, losses, prunings, circuit (relative)."""
    failed: list[Row]
    """Jobs that failed when they were last tried, and models without a twin: job, error."""
    open: int
    """Jobs not yet done."""
    cells: list[Row] = field(default_factory=list)
    """One per sparse model and task, done or not: label, task, state in words."""


def gather(output: Path) -> Found:
    """Read every finished job below a sweep's folder.

    Raises:
        ConfigError, ArtifactError: the folder holds no sweep, or a job there is damaged.
    """
    config = read_config(output / CONFIG)
    found = Found(config, [], [], [], [], 0)
    count = 0
    goals = len(config.targets)
    for point in points(config):
        job = Job(point, None)
        jobs = [Job(point, name) for name in config.tasks or names()]
        if not finished(job, output):
            count += 1 + len(jobs)
            reason = "FAILED" if _failure(job, output, found.failed) else "NOT TRAINED"
            found.cells.extend(_cell(pruning, reason) for pruning in jobs)
            continue
        _models(job, output, found)
        for pruning in jobs:
            if finished(pruning, output):
                before = len(found.sizes), len(found.scores)
                _circuits(pruning, output, found)
                rows, scores = found.sizes[before[0] :], found.scores[before[1] :]
                found.cells.append(_cell(pruning, _state(rows, scores, goals)))
            else:
                count += 1
                reason = "FAILED" if _failure(pruning, output, found.failed) else "NOT DONE"
                found.cells.append(_cell(pruning, reason))
    return replace(found, open=count)


def _cell(job: Job, state: str) -> Row:
    return {"label": job.model.label, "task": job.task_name, "state": state}


def _state(rows: list[Row], scores: list[Row], goals: int) -> str:
    """What came of a model's task, in words: circuits by side, of all targets."""
    said = []
    for score in scores:
        side = score["side"]
        reached = sum(r["side"] == side and r["edges"] is not None for r in rows)
        said.append(f"{side} {reached}/{goals}" if score.get("learned") else f"{side} not learned")
    return ", ".join(said) or "no prompts"


def name_of(point: Point, side: str) -> str:
    """A model's name for people."""
    if side == "sparse":
        return f"{point.label}, seed {point.seed}"
    return f"dense twin of {point.label}, seed {point.seed}"


def _failure(job: Job, output: Path, failed: list[Row]) -> bool:
    """Note a job that failed; whether it did."""
    if error := failure(job, output):
        failed.append({"job": job.label, "error": error})
    return error is not None


def _models(job: Job, output: Path, found: Found) -> None:
    folder = job.folder(output)
    with artifacts.foreign(folder / RESULT):
        _model_rows(artifacts.open_folder(folder, MODEL).json(RESULT), job, output, found)


def _model_rows(result: Row, job: Job, output: Path, found: Found) -> None:
    folder = job.folder(output)
    for side in SIDES:
        if result[side] is None:
            continue
        about = {key: result[side][key] for key in ("id", "validation_loss", "nonzero", "seconds")}
        found.models.append(
            _point(job.point, side) | about | {"folder": _relative(folder / side, output)}
        )
    if result["twin_error"]:
        found.failed.append({"job": f"twin of {job.label}", "error": result["twin_error"]})


def _circuits(job: Job, output: Path, found: Found) -> None:
    folder = job.folder(output)
    with artifacts.foreign(folder / RESULT):
        _circuit_rows(artifacts.open_folder(folder, TASK).json(RESULT), job, output, found)


def _circuit_rows(result: Row, job: Job, output: Path, found: Found) -> None:
    folder = job.folder(output)
    if result["error"]:
        found.failed.append({"job": job.label, "error": result["error"]})
    for side, score in result["sides"].items():
        about = {"task": result["task"]} | score | Score.in_row(score, folder / RESULT)
        found.scores.append(_point(job.point, side) | about)
    for row in result["rows"]:
        circuit = row.get("circuit")
        place = _relative(artifacts.inside(folder, circuit), output) if circuit else None
        about = {"task": result["task"], **row, "circuit": place}
        about |= Score.in_row(row, folder / RESULT)
        found.sizes.append(_point(job.point, row["side"]) | about)


def _point(point: Point, side: str) -> Row:
    return {
        "model": f"{point.name}/{side}",
        "side": side,
        "label": name_of(point, side),
        "width": point.width,
        "density": point.density if side == "sparse" else 1.0,
        "activation": point.activation if side == "sparse" else 1.0,
        "seed": point.seed,
        "point": point.name,
    }


def _relative(path: Path, output: Path) -> str:
    return path.relative_to(output).as_posix()
