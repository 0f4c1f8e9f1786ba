"""Write the report of a run: report.json, index.html, and the figures as SVG and PNG beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.circuit.drawing import drawing
from lacewing.errors import ArtifactError, ConfigError
from lacewing.model.store import load
from lacewing.pages import svg
from lacewing.progress import say
from lacewing.report import charts
from lacewing.report.gather import Shown, circuits_of, gather
from lacewing.report.page import page

KIND = "report"


def report(run: Path, output: Path) -> Path:
    """Write everything measured about a run into a folder.

    Args:
        run: A finished run; with circuits under RUN/circuits (and their verification.json), a
            comparison under RUN/comparison, and task scores in RUN/tasks.json, as far as they
            exist. What is missing is named in the report, with the command that makes it; what is left
            out is named on standard error too.
        output: The folder; an older report there is replaced, anything else is not.

    Returns:
        The page, index.html.

    Raises:
        ConfigError: `output` holds something that is no report.
        ArtifactError: the run is missing or damaged.

    Example:
        >>> report(Path("runs/mine"), Path("report")).name
        'index.html'
    """
    _check_place(output)
    model = load(run)
    found, left_out = circuits_of(run, model)
    data = gather(run, output, model, found, left_out)
    figures = draw(data, found)
    files = {"index.html": artifacts.utf8(page(data, figures))}
    for name, figure in figures.items():
        files[f"{name}.svg"] = svg.standalone(figure).encode()
        files[f"{name}.png"] = svg.png(figure)
    artifacts.write_folder(
        output, KIND, files=files, json={"report.json": data}, replace=output.exists()
    )
    say(f"left out: {'; '.join(left_out)}", bool(left_out))
    return output / "index.html"


def draw(data: dict[str, Any], found: Sequence[Shown]) -> dict[str, str]:
    """Every figure of a report, as SVG by name."""
    comparison = data["comparison"]
    figures = {"training": charts.training(data["metrics"], _twin_loss(comparison))}
    if comparison:
        figures["comparison"] = charts.comparison(comparison)
    for (_, circuit, model), facts in zip(found, data["circuits"], strict=True):
        figures[f"circuit-{facts['name']}"] = drawing(model, circuit)
        if facts["verification"]:
            verified = charts.verification(facts["verification"], circuit.target_loss)
            figures[f"verification-{facts['name']}"] = verified
    return figures


def _twin_loss(comparison: dict[str, Any] | None) -> float | None:
    """The validation loss of the dense model compared with, if its folder is still there."""
    if comparison is None:
        return None
    try:
        return load(comparison["dense"]).validation_loss
    except ArtifactError:
        return None


def _check_place(output: Path) -> None:
    if not output.exists():
        return
    try:
        artifacts.read_manifest(output, KIND)
    except ArtifactError as error:
        raise ConfigError(
            f"{output} exists and is no report of lacewing: choose another --output; nothing "
            "was written"
        ) from error
