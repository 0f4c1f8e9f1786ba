"""A sweep's summary in words and tables, as Markdown."""

from collections.abc import Sequence
from itertools import product
from typing import Any

from lacewing.sweep.gather import Found, Row


def markdown(found: Found, result: dict[str, Any]) -> str:
    """The whole summary."""
    config = found.config
    lines = [
        "# Sweep",
        "",
        f"{len(found.models)} models on `{config.corpus}`, {config.training.tokens:,} training "
        f"tokens each (twins fewer), pruning seed {config.pruning.seed}. Every model and task had "
        f"{config.trials} prunings at {config.main_target:g} nats and {config.trials_elsewhere} at "
        "each other target, sparse or dense alike. Edges are geometric means over tasks; brackets "
        "are 95 % intervals that resample tasks (none with a single task).",
        "",
    ]
    if found.open:
        lines += [f"**Not finished: {found.open} jobs are open.**", ""]
    lines += _frontier(result["frontier"])
    lines += _sizes(result["sizes"])
    lines += _accuracy(result["accuracy"])
    lines += _correlation(result["correlation"])
    lines += _scores(found)
    lines += _cells(found)
    if found.failed:
        lines += ["## Failed", ""]
        lines += [f"- {row['job']}: {row['error']}" for row in found.failed]
        lines.append("")
    return "\n".join(lines)


def _frontier(frontier: dict[str, Any]) -> list[str]:
    tasks = frontier["tasks"]
    rows = [
        [
            point["label"],
            str(point["seed"]),
            f"{point['validation_loss']:.3f}",
            f"{point['nonzero']:,}",
            number(point["edges"], point["low"], point["high"]),
            number(point["nodes"]),
            f"{len(point['reached'])}" + (f"; {point['reason']}" if point["reason"] else ""),
        ]
        for point in frontier["points"]
    ]
    common = ", ".join(f"`{task}`" for task in tasks) or "none"
    return [
        f"## Frontier at {frontier['target_loss']:g} nats",
        "",
        f"Averaged over the tasks that all models with a size have a circuit for: {common}.",
        "",
        *table(
            ["model", "seed", "validation loss", "nonzero", "edges", "nodes", "tasks with circuit"],
            rows,
        ),
    ]


def _sizes(sizes: Sequence[Row]) -> list[str]:
    if not sizes:
        return []
    last = sizes[-1]["point"]
    rows = [
        [
            f"{row['target']:g}",
            number(row["sparse"], row["sparse_low"], row["sparse_high"]),
            number(row.get("dense"), row.get("dense_low"), row.get("dense_high")),
            number(row.get("ratio"), row.get("ratio_low"), row.get("ratio_high"), "{:.1f}"),
            str(row["tasks"]),
            str(row["circuits"]),
            f"{row['sparse_prunings']}, {row.get('dense_prunings', '-')}",
        ]
        for row in sizes
        if row["point"] == last
    ]
    of = "all models" if last == "all" else "the model"
    return [
        "## Circuit size against target loss",
        "",
        f"Edges over {of} and the tasks where sparse and dense both reached the target; "
        "ratio is dense / sparse, prunings are those of either side.",
        "",
        *table(
            ["target, nats", "sparse", "dense", "ratio", "tasks", "circuits a side", "prunings"],
            rows,
        ),
    ]


def _accuracy(rows: Sequence[Row]) -> list[str]:
    if not any(row["circuits"] for row in rows):
        return []
    return [
        "## Accuracy against edges",
        "",
        "A pair is right where the right answer is preferred in both of its prompts; test pairs. "
        "The same circuits at every target, but for strict ones that fewer of them reach; these "
        "say so.",
        "",
        *accuracy_table(rows),
    ]


def accuracy_table(rows: Sequence[Row], *, one: bool = False) -> list[str]:
    """Rows of `tables.accuracy` as a Markdown table.

    Args:
        rows: The rows.
        one: Whether they are of one task and model, so that nothing is averaged.
    """
    forms = {"edges": "{:,.0f}", "right": "{:.1%}", "full": "{:.1%}", "loss": "{:.4f}"}
    words = {"edges": "edges", "right": "pairs right", "full": "whole model", "loss": "loss, nats"}
    shown = [name for name in forms if not (one and name == "full")]
    sides = [s for s in ("sparse", "dense") if rows and f"{s}_edges" in rows[0]]
    head = ["target, nats", *(f"{side}: {words[name]}" for side in sides for name in shown)]
    lines = []
    for row in rows:
        cells = [f"{row['target']:g}"]
        for side, name in product(sides, shown):
            ends = [row[f"{side}_{name}{end}"] for end in ("", "_low", "_high")]
            cells.append(number(*ends, form=forms[name]))
        if not one:
            fewer = "; fewer than below" if row["partial"] else ""
            cells += [str(row["tasks"]), f"{row['circuits']} a side{fewer}"]
        lines.append(cells)
    return table(head if one else [*head, "tasks", "circuits"], lines)


def _cells(found: Found) -> list[str]:
    """Every model and task: circuits by side, or that it is not done."""
    if not found.cells:
        return []
    tasks = list(dict.fromkeys(cell["task"] for cell in found.cells))
    rows: dict[str, list[str]] = {}
    for cell in found.cells:
        rows.setdefault(cell["label"], []).append(cell["state"])
    goals = len(found.config.targets)
    return [
        "## Cells",
        "",
        f"Targets of {goals} that have a circuit, by side; what is not done says so.",
        "",
        *table(["model", *tasks], [[label, *states] for label, states in rows.items()]),
    ]


def _correlation(correlations: Sequence[Row]) -> list[str]:
    if not correlations:
        return []
    rows = [
        [
            row["kind"],
            row["point"] + ("" if row["other"] == row["point"] else f" and {row['other']}"),
            number(row["pearson"], *row["pearson_interval"], form="{:.3f}"),
            number(row["spearman"], *row["spearman_interval"], form="{:.3f}"),
            f"{row['tokens']:,} in {row['sequences']:,}",
        ]
        for row in correlations
    ]
    return [
        "## Token losses on the same validation text",
        "",
        "Pearson of log losses, Spearman of ranks; intervals resample sequences. Models of one "
        "kind and two seeds, where there are any, show what is possible.",
        "",
        *table(["models", "", "Pearson", "Spearman", "tokens in sequences"], rows),
    ]


def _scores(found: Found) -> list[str]:
    """Task losses of the unpruned models."""
    models = list(dict.fromkeys(row["model"] for row in found.scores))
    if not models:
        return []
    losses = {(row["model"], row["task"]): row for row in found.scores}
    rows = []
    for task in dict.fromkeys(row["task"] for row in found.scores):
        cells = [task]
        for model in models:
            row = losses.get((model, task))
            mark = "**" if row and row["learned"] else ""
            cells.append(f"{mark}{row['loss']:.3f}{mark}" if row else "-")
        rows.append(cells)
    return [
        "## Tasks",
        "",
        "Test loss of the unpruned models, nats; bold is learned (validation loss at most "
        f"{found.config.main_target:g}).",
        "",
        *table(["task", *(f"`{model}`" for model in models)], rows),
    ]


def short(result: dict[str, Any]) -> str:
    """The frontier and the sizes for a terminal."""
    lines = []
    for point in result["frontier"]["points"]:
        edges = number(point["edges"], point["low"], point["high"])
        reason = f"  ({point['reason']})" if point["reason"] else ""
        lines.append(
            f"{point['label']:58} {point['validation_loss']:.3f} nats/token  {edges} edges{reason}"
        )
    sizes = result["sizes"]
    for row in (r for r in sizes if r["point"] == sizes[-1]["point"]):
        ratio = number(row.get("ratio"), row.get("ratio_low"), row.get("ratio_high"), "{:.1f}")
        lines.append(
            f"at {row['target']:g} nats: {number(row['sparse'])} sparse, "
            f"{number(row.get('dense'))} dense edges; ratio {ratio}; {row['circuits']} a side"
        )
    for row in (r for r in result["accuracy"] if r["circuits"]):
        sides = [s for s in ("sparse", "dense") if f"{s}_edges" in row]
        said = [f"{side} {row[f'{side}_right']:.1%}" for side in sides]
        lines.append(f"at {row['target']:g} nats, pairs right: {', '.join(said)}")
    frontier = result["frontier"]
    lines += [f"FAILED {row['job']}: {row['error']}" for row in frontier["failed"]]
    if frontier["jobs_open"]:
        lines.append(f"{frontier['jobs_open']} jobs are open: run the sweep again to go on")
    lines.append(f"tables and figures: {result['summary']}")
    return "\n".join(lines)


def number(
    value: float | int | None,
    low: float | int | None = None,
    high: float | int | None = None,
    form: str = "{:,.0f}",
) -> str:
    """A number with its interval; a dash where there is none."""
    if value is None:
        return "-"
    if low is None or high is None:
        return form.format(value)
    return f"{form.format(value)} [{form.format(low)}, {form.format(high)}]"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table, and a blank line after it."""
    lines = [head, ["---"] * len(head), *rows]
    return [*(f"| {' | '.join(cells)} |" for cells in lines), ""]
