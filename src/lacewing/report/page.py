"""The report as one HTML page: no file beside it is needed, and nothing is fetched.

Everything that a run, a circuit or a task holds is inserted as text. Its content security policy
lets only the page's own style and script run.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from lacewing.model.weights import FLOOR_AXIS
from lacewing.pages import svg
from lacewing.pages.templating import asset, environment
from lacewing.tasks.text import NOT_PYTHON
from lacewing.verification.finding import YES

HERE = Path(__file__).parent
SITES_NOTE = (
    "Rows are sites, from what the first block reads (bottom) to the last residual stream (top). Blue weights are "
    "positive, orange dashed ones negative. Grey lines follow a residual channel from where it is written to where it "
    "is read; they are no edges. Hover a dot or a line."
)

LATENTS_NOTE = (
    "Rows are the sites that have an autoencoder, from bottom to top; a dot is a latent, or a channel of what the "
    "latents miss. What has no autoencoder runs freely. Hover a dot."
)


def page(data: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        data: What `gather` collected.
        figures: SVG by name: training, comparison, circuit-NAME, verification-NAME.
    """
    training = data["config"]["training"]
    tasks = data["tasks"] or []
    scored = sorted((row for row in tasks if "loss" in row), key=lambda row: row["loss"])
    return (
        _templates()
        .get_template("report.html")
        .render(
            title=f"lacewing: {data['run']}",
            style=asset(style()),
            script=asset(script()),
            data=data,
            model=data["config"]["model"],
            training=training,
            kind=_kind(training.get("density")),
            facts=_facts(data, len(scored)),
            scored=scored,
            unfit=_unfit(tasks),
            figures={name: Markup(figure) for name, figure in figures.items()},  # noqa: S704 - drawn here
            sites=SITES_NOTE,
            latent_sites=LATENTS_NOTE,
            densities=[
                (name, density)
                for name, density in data["summary"]["densities"].items()
                if ".weight" in name and "ln" not in name
            ],
        )
    )


def suite(found: Mapping[str, Any]) -> str:
    """Every test of the faithfulness suite, where it was run; what failed first."""
    return _templates().get_template("suite.html").render(found=found).strip()


def block_densities(summary: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The densities of the block matrices alone."""
    matrices = tuple(f"{name}.weight" for name in FLOOR_AXIS)
    return [(n, d) for n, d in summary["densities"].items() if n.endswith(matrices)]


def _templates() -> Environment:
    found = environment(HERE / "templates")
    found.globals.update(worst_first=_worst_first, tail=_tail, quoted=repr, yes=YES)
    return found


def _kind(density: Any) -> str:
    if isinstance(density, float | int) and density < 1:
        return f"{density:.3g} of the weights of each block matrix"
    return "all weights (dense)"


def _facts(data: Mapping[str, Any], scored: int) -> list[tuple[str, str]]:
    tasks, circuits = data["tasks"] or [], data["circuits"]
    verified = [c for c in circuits if c["short_test_passed"]]
    zero = 1 - max((d for _, d in block_densities(data["summary"])), default=1.0)
    facts = [
        (f"{data['summary']['validation_loss']:.2f}", "nats per token on validation text"),
        (f"{zero:.1%}", "of each block matrix is zero, at least"),
        (f"{sum(t['learned'] for t in tasks)} of {scored}", "tasks learned to under 0.15 nats"),
        (f"{len(verified)} of {len(circuits)}", "circuits pass 2 of 2 short tests"),
    ]
    if not scored:
        del facts[2]
    if data["comparison"]:
        edges = data["comparison"]["edges"]
        low, high = edges["interval"]
        facts.append((f"{edges['ratio']:.1f}x", f"fewer edges than dense [{low:.1f}, {high:.1f}]"))
    return facts


def _unfit(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which tasks do not apply to this model's text, and why; nothing where all do."""
    left = [row for row in rows if "loss" not in row]
    if not left:
        return ""
    foreign = next((row["error"] for row in left if NOT_PYTHON in row["error"]), None)
    reasons: dict[str, list[str]] = {}
    for row in left:
        # Where the text is no Python, what its tokenizer lacks does not matter.
        reasons.setdefault(foreign or _reason(row["error"]), []).append(row["name"])
    told = "; ".join(f"{reason} ({', '.join(names)})" for reason, names in reasons.items())
    some = "None" if len(left) == len(rows) else f"{len(left)}"
    if some == "None" and len(reasons) == 1:
        told = next(iter(reasons))
    verb = {"None": "applies", "1": "does not apply"}.get(some, "do not apply")
    return f"{some} of the {len(rows)} tasks {verb}: {told}."


def _reason(error: str) -> str:
    """Why a task could not be scored, without its name and answers, so that tasks share it."""
    return re.sub(r"^task '[^']*': ", "", re.sub(r" \(.*?\) are not", " are not", error))


def _worst_first(tests: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    rank = {False: 0, None: 1, True: 2}
    return sorted(tests, key=lambda test: rank[test["passed"]])


def _tail(prompt: str) -> str:
    return "\n".join(prompt.split("\n")[-3:])


def script() -> str:
    """The page's own script: it switches the theme."""
    return _file("page.js")


def _file(name: str) -> str:
    return (HERE / "assets" / name).read_text(encoding="utf-8")


def style() -> str:
    """The style sheet of a page, in the reader's theme."""
    light = ";".join(f"--{name}:{value}" for name, value in svg.LIGHT.items())
    dark = ";".join(f"--{name}:{value}" for name, value in svg.DARK.items())
    figures = svg.rules({name: f"var(--{name})" for name in svg.LIGHT})
    return (
        f":root{{{light};color-scheme:light dark}}"
        f"@media(prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}"
        f":root[data-theme=dark]{{{dark}}}{_file('page.css')}"
        f"svg {figures.replace('}', '}svg ').removesuffix('svg ')}"
    )
