"""The tables of a sweep: the frontier, circuit size against target loss, accuracy against edges.

Edges are averaged geometrically over tasks, and intervals (95 %) resample tasks: with few of them
they are rough, and with one there is none.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lacewing.statistics import bootstrap, geometric_mean, interval
from lacewing.sweep.gather import SIDES, Found, Row

RESAMPLES = 2000


def frontier(found: Found) -> dict[str, Any]:
    """Validation loss against geometric-mean edges at the main target, one point per model.

    All points are averaged over the same tasks: those that every model shown reached. Models that
    reached few are left out, fewest first, until half of the best model's tasks are common.

    Returns:
        What frontier.json says (docs/sweep.md has its schema).
    """
    main = found.config.main_target
    rows = [r for r in found.sizes if r["target"] == main and r["edges"] is not None]
    by_model = {
        m["model"]: {r["task"]: r for r in rows if r["model"] == m["model"]} for m in found.models
    }
    common = _common({model: set(tasks) for model, tasks in by_model.items()})
    points = []
    for model in found.models:
        reached = by_model[model["model"]]
        point: Row = {
            key: model[key]
            for key in (
                "label",
                "side",
                "width",
                "density",
                "activation",
                "seed",
                "validation_loss",
            )
        }
        point |= {"nonzero": model["nonzero"], "model": model["folder"]}
        point |= {"edges": None, "low": None, "high": None, "nodes": None, "reason": None}
        if set(common) <= set(reached) and common:
            edges = [reached[task]["edges"] for task in common]
            point["edges"], (point["low"], point["high"]) = mean_edges(edges)
            point["nodes"] = mean_edges([reached[task]["nodes"] for task in common])[0]
        else:
            point["reason"] = _why(reached, common)
        point["reached"] = sorted(reached)
        point["circuits"] = [reached[task]["circuit"] for task in sorted(reached)]
        points.append(point)
    return {
        "target_loss": main,
        "tasks": common,
        "prunings_per_task": found.config.trials,
        "points": points,
        "failed": found.failed,
        "jobs_open": found.open,
    }


def _common(reached: dict[str, set[str]]) -> list[str]:
    """Tasks that all models have in common, but for those with the fewest (see `frontier`)."""
    left = {model: tasks for model, tasks in reached.items() if tasks}
    best = max((len(tasks) for tasks in left.values()), default=0)
    while left:
        shared = set.intersection(*left.values())
        if shared and 2 * len(shared) >= best:
            return sorted(shared)
        least = min(left, key=lambda model: len(left[model]))
        del left[least]
    return []


def _why(reached: dict[str, Row], common: Sequence[str]) -> str:
    if not reached:
        return "no task has a circuit"
    missing = sorted(set(common) - set(reached))
    return f"no circuit for {', '.join(missing)}" if missing else "no task in common"


def sizes(found: Found) -> list[Row]:
    """Edges of sparse and dense circuits at every target, of each model and of all together.

    Both are averaged over the same models and tasks: those where both sides reached the target.
    """
    cells: dict[tuple[float, str, str], dict[str, Row]] = {}
    for row in found.sizes:
        if row["edges"] is not None:
            cells.setdefault((row["target"], row["point"], row["task"]), {})[row["side"]] = row
    paired = any(model["side"] == "dense" for model in found.models)
    wanted = set(SIDES) if paired else {"sparse"}
    names = list(dict.fromkeys(m["point"] for m in found.models))
    table = []
    for point in [*names, "all"] if len(names) > 1 else names:
        for target in sorted(found.config.targets):
            chosen = {
                (p, task): sides
                for (t, p, task), sides in cells.items()
                if t == target and point in (p, "all") and wanted <= sides.keys()
            }
            table.append({"point": point, "target": target} | _compared(chosen, paired))
    return table


def _compared(cells: dict[tuple[str, str], dict[str, Row]], paired: bool) -> Row:
    """Geometric means of both sides over some cells, their ratio, and intervals over tasks."""
    tasks = sorted({task for _, task in cells})
    row: Row = {"tasks": len(tasks), "circuits": len(cells)}
    for side in SIDES if paired else SIDES[:1]:
        grouped = [[c[side]["edges"] for (_, t), c in cells.items() if t == task] for task in tasks]
        row[side], (row[f"{side}_low"], row[f"{side}_high"]) = mean_edges(grouped)
        row[f"{side}_prunings"] = sum(c[side]["prunings"] for c in cells.values())
    if paired:
        ratios = [
            [
                max(1, c["dense"]["edges"]) / max(1, c["sparse"]["edges"])
                for (_, t), c in cells.items()
                if t == task
            ]
            for task in tasks
        ]
        row["ratio"], (row["ratio_low"], row["ratio_high"]) = mean_edges(ratios, least=0)
    return row


def mean_edges(
    values: Sequence[Any], least: float | int = 1
) -> tuple[float | None, tuple[float | None, float | None]]:
    """Geometric mean and its 95 % interval over tasks.

    Args:
        values: A number per task, or several, whose geometric mean is the task's.
        least: What smaller numbers count as, so that their logarithm exists.
    """
    if not values:
        return None, (None, None)
    each = np.array(
        [geometric_mean(np.maximum(np.atleast_1d(v).astype(float), least)) for v in values]
    )
    if len(each) == 1:
        return geometric_mean(each), (None, None)
    drawn = np.random.default_rng(0).integers(len(each), size=(RESAMPLES, len(each)))
    return geometric_mean(each), interval(np.exp(np.log(each)[drawn].mean(1)))


def accuracy(
    sizes: Sequence[Row], scores: Sequence[Row], targets: Sequence[float], main: float
) -> list[Row]:
    """How often circuits are right, and their edges, of the same cells at every target.

    A cell is a model and a task with a circuit on every side. The curve is over the cells of the
    strictest target that more than half of those with the main target reach, so that it does not
    move with what is averaged. Stricter targets have fewer of these cells, and are `partial`.

    Args:
        sizes: A row per circuit: point, task, side, target, edges, and its `test` (see `Score`).
        scores: A row per whole model and task: point, task, side, and `test`.
        targets: The targets, in nats.
        main: The main one.

    Returns:
        A row per target, strictest first: cells, tasks, and by side edges, share of pairs right,
        task loss and the whole model's share, with 95 % intervals over tasks; of a single cell,
        over its pairs.
    """
    sides = list(dict.fromkeys(row["side"] for row in scores))
    found: dict[float, dict[tuple[str, str], dict[str, Row]]] = {t: {} for t in sorted(targets)}
    whole = {(r["point"], r["task"], r["side"]): r["test"] for r in scores if r.get("test")}
    for row in sizes:
        known = row.get("test") and (row["point"], row["task"], row["side"]) in whole
        if known and row["edges"] is not None and row["target"] in found:
            found[row["target"]].setdefault((row["point"], row["task"]), {})[row["side"]] = row
    reached = {
        t: {c for c, by in cells.items() if len(by) == len(sides)} for t, cells in found.items()
    }
    enough = [t for t in reached if t <= main and 2 * len(reached[t]) > len(reached[main])]
    steady = reached[enough[0]] if enough and reached[main] else set()
    table = []
    for target, cells in found.items():
        chosen = sorted(reached[target] & steady)
        row = {"target": target, "circuits": len(chosen), "partial": len(chosen) < len(steady)}
        row["tasks"] = len({task for _, task in chosen})
        for side in sides:
            rows = {cell: cells[cell][side] for cell in chosen}
            row |= _accurate(side, rows, [whole[*cell, side] for cell in chosen])
        table.append(row)
    return table


def _accurate(side: str, rows: dict[tuple[str, str], Row], whole: Sequence[Row]) -> Row:
    """Edges, share of pairs right and loss of one side's circuits, and the whole models' share."""

    def by_task(values: Sequence[float | int]) -> list[list[float | int]]:
        grouped: dict[str, list[float | int]] = {}
        for (_, task), value in zip(rows, values, strict=True):
            grouped.setdefault(task, []).append(value)
        return list(grouped.values())

    tests = [row["test"] for row in rows.values()]
    edges, (low, high) = mean_edges(by_task([row["edges"] for row in rows.values()]))
    row: Row = {f"{side}_edges": edges, f"{side}_edges_low": low, f"{side}_edges_high": high}
    for name, values in (("right", tests), ("loss", tests), ("full", whole)):
        key = "right" if name == "full" else name
        mean, ends = mean_share(by_task([test[key] for test in values]))
        if len(values) == 1:
            ends = values[0][f"{key}_low"], values[0][f"{key}_high"]
        row |= {f"{side}_{name}": mean}
        row |= {f"{side}_{name}_low": ends[0], f"{side}_{name}_high": ends[1]}
    return row


def mean_share(
    groups: Sequence[Sequence[float | int]],
) -> tuple[float | None, tuple[float | None, float | None]]:
    """Mean over tasks of means over models, and its 95 % interval over tasks.

    Args:
        groups: The numbers of each task.
    """
    if not groups:
        return None, (None, None)
    each = np.array([np.mean(group) for group in groups])
    return float(each.mean()), bootstrap(each) if len(each) > 1 else (None, None)
