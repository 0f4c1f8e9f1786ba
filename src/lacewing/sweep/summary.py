"""Write what a sweep has found so far: frontier.json, and tables and figures in summary/."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.pages import svg
from lacewing.pages.plots import Plot
from lacewing.sweep import figures
from lacewing.sweep.correlation import correlations, losses_of
from lacewing.sweep.gather import Found, Row, gather
from lacewing.sweep.tables import accuracy, frontier, sizes
from lacewing.sweep.writing import markdown

KIND = "sweep summary"
FRONTIER, SUMMARY = "frontier.json", "summary"


def summarise(output: Path) -> dict[str, Any]:
    """Write the summary of all finished jobs; an unfinished sweep has one too.

    Args:
        output: The sweep's folder.

    Returns:
        The frontier (as frontier.json), sizes, correlations, and where they were written.

    Raises:
        ConfigError, ArtifactError: the folder holds no sweep, or a job there is damaged
            or elsewhere.
    """
    artifacts.refuse_links(output)
    found = gather(output)
    result: dict[str, Any] = {
        "frontier": frontier(found),
        "sizes": sizes(found),
        "accuracy": accuracy(
            found.sizes, found.scores, found.config.targets, found.config.main_target
        ),
        "correlation": correlations(found, output),
    }
    artifacts.write_json(output / FRONTIER, result["frontier"])
    files = {
        "frontier.csv": _csv(result["frontier"]["points"]),
        "sizes.csv": _csv(result["sizes"]),
        "accuracy.csv": _csv(result["accuracy"]),
        "correlation.csv": _csv(result["correlation"]),
        "circuits.csv": _csv(found.sizes),
        "summary.md": artifacts.utf8(markdown(found, result)),
    }
    for theme, colours in (("", svg.LIGHT), ("_dark", svg.DARK)):
        for name, plot in draw(found, result, output, colours).items():
            files[f"{name}{theme}.svg"] = plot.svg()
            files[f"{name}{theme}.png"] = plot.png()
    artifacts.write_folder(
        output / SUMMARY,
        KIND,
        files=files,
        json={f"{name}.json": value for name, value in result.items()},
        replace=(output / SUMMARY).exists(),
    )
    return result | {"folder": str(output), "summary": str(output / SUMMARY)}


def draw(
    found: Found, result: dict[str, Any], output: Path, colours: Mapping[str, str]
) -> dict[str, Plot]:
    """Every figure for which there is something to show, by name."""
    drawn: dict[str, Plot] = {}
    if any(point["edges"] is not None for point in result["frontier"]["points"]):
        drawn["frontier"] = figures.frontier(result["frontier"], colours)
    names = [row["point"] for row in result["sizes"]]
    overall = [row for row in result["sizes"] if row["point"] == names[-1]] if names else []
    if any(row["circuits"] for row in overall):
        drawn["sizes"] = figures.sizes(overall, found.config.trials_at, colours)
    if any(row["circuits"] for row in result["accuracy"]):
        note = "lines: the same circuits; bars: 95 % over tasks, of a single circuit over pairs"
        drawn["accuracy"] = figures.accuracy(result["accuracy"], note, colours)
    twins = [row for row in result["correlation"] if row["kind"] == "sparse-dense"]
    losses = {m["point"]: m["validation_loss"] for m in found.models if m["side"] == "sparse"}
    best = min(twins, key=lambda row: losses[row["point"]], default=None)
    if best is not None:
        label = next(m["label"] for m in found.models if m["point"] == best["point"])
        drawn["correlation"] = figures.correlation(
            losses_of(output, best["point"]), best, label, colours
        )
    return drawn


def _csv(rows: Sequence[Row]) -> bytes:
    """Rows as CSV; lists and objects as JSON in their cell."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        nested = {k: json.dumps(v) for k, v in row.items() if isinstance(v, list | tuple | dict)}
        writer.writerow(row | nested)
    return artifacts.utf8(file.getvalue())
