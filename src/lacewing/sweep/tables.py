"""The tables of a sweep: the frontier, circuit size against target loss, token-loss correlation.

Edges are averaged geometrically over tasks, and intervals (95 %) resample tasks: with few of them
they are rough, and with one there is none.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lacewing.statistics import geometric_mean, interval
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
