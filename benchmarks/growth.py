"""`python -m benchmarks.growth`: how the time of a step grows with width, density and layers.

One quantity is varied at a time from the reference shape; every point is the fastest of some steps.
Exponents are fitted to the logarithms over all points of a line. Writes growth.json, and growth.svg
and growth.png for the docs.
"""

import gc
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from benchmarks import steps
from lacewing.kernels.memory import keep_pages
from lacewing.pages import svg

WIDTHS, LAYERS = (256, 512, 1024, 2048), (1, 2, 4, 8)
DENSITIES = (1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256, 1 / 512, 1 / 1000)
PANEL, HEIGHT = 260, 250


@dataclass(frozen=True)
class Growth:
    """What to measure."""

    output: Path = Path("docs")
    """Folder for the figure and the numbers."""
    times: int = 3
    """Steps per point; the fastest counts."""


def fastest(step: Callable[[], object], times: int) -> float:
    """Least seconds of a step after one to warm up."""
    step()
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        step()
        spent.append(time.perf_counter() - began)
    return min(spent)


def lines(times: int) -> dict[str, dict[str, Any]]:
    """Seconds per step of ours and of a plain dense step, against each quantity."""
    configs = {
        "width": [(w, steps.reference(width=w)) for w in WIDTHS],
        "density": [(d, steps.reference(density=d)) for d in DENSITIES],
        "layers": [(n, steps.reference(layers=n)) for n in LAYERS],
    }
    found: dict[str, dict[str, Any]] = {}
    for name, points in configs.items():
        rows: dict[str, Any] = {"x": [value for value, _ in points], "ours": [], "dense": []}
        for value, config in points:
            for side, make in (("ours", steps.ours), ("dense", steps.dense)):
                if side == "dense" and name == "density" and rows["dense"]:
                    rows["dense"].append(rows["dense"][0])  # does not depend on it
                    continue
                seconds = fastest(make(config), times)
                gc.collect()
                rows[side].append(seconds)
                print(f"{name} {value:g} {side}: {seconds:.3f} s", flush=True)
        rows["exponent"] = {s: exponent(rows["x"], rows[s]) for s in ("ours", "dense")}
        found[name] = rows
    return found


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Slope of log y against log x."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def figure(found: dict[str, dict[str, Any]]) -> str:
    """Three panels on logarithmic axes: ours in blue, dense in orange."""
    body = []
    for i, (name, rows) in enumerate(found.items()):
        body += _panel(name, rows, 48 + i * PANEL)
    return svg.figure(48 + 3 * PANEL, HEIGHT, body, "Seconds per training step")


def _panel(name: str, rows: dict[str, Any], left: float) -> list[str]:
    low, high = math.log10(0.1), math.log10(20)
    first, last = (math.log(end) for end in (min(rows["x"]), max(rows["x"])))

    def x(value: float) -> float:
        return left + (PANEL - 60) * (math.log(value) - first) / (last - first)

    def y(value: float) -> float:
        return HEIGHT - 40 - (HEIGHT - 80) * (math.log10(value) - low) / (high - low)

    body = [svg.text(left, 18, f"against {name}")]
    for tick in (0.1, 1, 10):
        body.append(svg.line(left, y(tick), left + PANEL - 60, y(tick), "grid"))
        body.append(svg.text(left - 6, y(tick) + 4, f"{tick:g} s", "soft small", "end"))
    labelled = rows["x"] if len(rows["x"]) < 5 else rows["x"][::2]
    for value in labelled:
        label = f"1/{1 / value:.0f}" if value < 1 else f"{value}"
        body.append(svg.text(x(value), HEIGHT - 20, label, "soft small", "middle"))
    for side, kind, fill in (("dense", "b", "fb"), ("ours", "a", "fa")):
        points = [(x(a), y(b)) for a, b in zip(rows["x"], rows[side], strict=True)]
        body.append(svg.path(points, kind))
        body += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" class="{fill}"/>' for a, b in points]
        at = points[-1] if rows["x"][-1] > rows["x"][0] else points[0]
        label = f"{'sparse' if side == 'ours' else side} {rows['exponent'][side]:+z.2f}"
        # Above the dense line, and below the other as far as it falls under the words.
        place = at[1] - 9 if side == "dense" else max(b for _, b in points[-2:]) + 20
        body.append(svg.text(at[0], place, label, "small", "end"))
    return body


def main(growth: Growth) -> None:
    """Measure, and write the figure."""
    keep_pages()
    torch.manual_seed(0)
    found = lines(growth.times)
    drawing = figure(found)
    (growth.output / "growth.json").write_text(json.dumps(found, indent=1) + "\n")
    (growth.output / "growth.svg").write_text(svg.standalone(drawing) + "\n")
    (growth.output / "growth.png").write_bytes(svg.png(drawing))


if __name__ == "__main__":
    main(tyro.cli(Growth))
