"""The charts of a report: loss and density over tokens, verification bars, dense against sparse."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lacewing.pages import svg
from lacewing.statistics import geometric_mean

WIDTH = 760


def training(metrics: Sequence[dict[str, Any]], twin_loss: float | None) -> str:
    """Training and validation loss over tokens, and the density below them.

    Args:
        metrics: Lines of metrics.jsonl.
        twin_loss: Validation loss of the dense twin, drawn as a line.
    """
    tokens = [row["tokens"] for row in metrics]
    losses = [row[key] for row in metrics for key in ("loss", "validation_loss")]
    low, high = min([*losses, twin_loss or losses[0]]), _robust_top(losses)
    low = math.floor(low * 5) / 5
    high = max(math.ceil(high * 5) / 5, low + 0.2)

    def x(value: float | int) -> float:
        return 60 + (WIDTH - 190) * value / max(tokens)

    def y(value: float | int) -> float:
        return 20 + 220 * (high - min(value, high)) / (high - low)

    body = _loss_axes(low, high, y)
    ends = _apart(*(y(metrics[-1][key]) for key in ("loss", "validation_loss")))
    named = (("loss", "a", "training"), ("validation_loss", "b", "validation"))
    for (key, kind, label), end in zip(named, ends, strict=True):
        body.append(svg.path([(x(r["tokens"]), y(r[key])) for r in metrics], kind))
        body.append(svg.text(x(max(tokens)) + 8, end + 4, f"{label} {metrics[-1][key]:.2f}"))
    if twin_loss is not None:
        body.append(svg.line(60, y(twin_loss), x(max(tokens)), y(twin_loss), "c"))
        body.append(svg.text(66, y(twin_loss) + 16, f"dense twin {twin_loss:.2f}", "soft"))
    body += _density(metrics, x)
    for share in (0, 0.25, 0.5, 0.75, 1):
        at = share * max(tokens)
        body.append(svg.text(x(at), 350, f"{at / 1e6:.3g} M", "soft small", "middle"))
    body.append(svg.text(x(max(tokens)) + 34, 350, "tokens", "soft small"))
    return svg.figure(WIDTH, 362, body, "Loss in nats per token, and density, over training tokens")


def _apart(one: float, two: float, gap: float = 15) -> tuple[float, float]:
    """Two heights, moved away from each other where words there would touch."""
    more = max(0.0, gap - abs(one - two)) / 2
    return (one - more, two + more) if one <= two else (one + more, two - more)


def _robust_top(losses: Sequence[float]) -> float:
    """Leave out the first moments, which would flatten all that follows."""
    return sorted(losses)[max(0, int(0.97 * len(losses)) - 1)]


def _loss_axes(low: float, high: float, y: Any) -> list[str]:
    body = [svg.text(60, 12, "loss, nats per token", "soft small")]
    steps = max(1, round((high - low) / 0.2))
    for i in range(0, steps + 1, max(1, steps // 5)):
        value = low + i * 0.2
        body.append(svg.line(60, y(value), WIDTH - 130, y(value), "grid"))
        body.append(svg.text(52, y(value) + 4, f"{value:.1f}", "soft small", "end"))
    return body


def _density(metrics: Sequence[dict[str, Any]], x: Any) -> list[str]:
    lowest = math.log10(min(row["density"] for row in metrics))

    def y(density: float | int) -> float:
        return 268 + 60 * math.log10(density) / min(lowest, -0.3)

    body = [svg.text(60, 260, "density of block matrices (log)", "soft small")]
    for value in (1.0, min(row["density"] for row in metrics)):
        body.append(svg.line(60, y(value), WIDTH - 130, y(value), "grid"))
        body.append(svg.text(52, y(value) + 4, f"{value:.3g}", "soft small", "end"))
    return [*body, svg.path([(x(r["tokens"]), y(r["density"])) for r in metrics], "a")]


def verification(result: dict[str, Any], target: float) -> str:
    """Losses of one verification on one scale from 0 to past chance, with controls as ranges."""
    rows = [("full model", result["full"], result["full_interval"], None)]
    for name, label in (("sufficient", "circuit alone"), ("necessary", "without the circuit")):
        test = result[name]
        rows.append((label, test["loss"], test["interval"], None))
        control = test["random"]
        spread = (control["lowest"], control["highest"])
        other = "random circuits alone" if name == "sufficient" else "without random circuits"
        rows.append((other, control["mean"], spread, control["count"]))
    top = max(0.75, *(r[2][1] for r in rows)) * 1.02

    def x(value: float | int) -> float:
        return 170 + (WIDTH - 270) * min(value, top) / top

    body = []
    for value, label in ((target, f"target {target:g}"), (math.log(2), "chance")):
        body.append(svg.line(x(value), 18, x(value), 18 + 26 * len(rows), "grid"))
        body.append(svg.text(x(value), 12, label, "soft small", "middle"))
    for i, (label, value, (low, high), count) in enumerate(rows):
        middle = 34 + 26 * i
        kind = "soft" if count else ""
        body.append(svg.text(160, middle + 4, label, kind, "end"))
        fill = "ff" if count else ("fa" if i < 2 else "fb")
        body.append(
            f'<rect x="{x(low):.1f}" y="{middle - 4}" height="8" rx="3" class="{fill}" '
            f'width="{max(2.0, x(high) - x(low)):.1f}"/>'
        )
        body.append(f'<circle cx="{x(value):.1f}" cy="{middle}" r="4" class="node"/>')
        body.append(svg.text(x(high) + 8, middle + 4, f"{value:.3f}", kind))
    return svg.figure(
        WIDTH, 26 + 26 * len(rows), body, f"Verification of {result['task']}: loss in nats"
    )


def comparison(result: dict[str, Any]) -> str:
    """Edges of sparse and dense circuits per task, on a log scale."""
    tasks = result["tasks"]
    counts = {
        side: [
            geometric_mean(
                np.array(
                    [
                        float(max(1, r["edges"]))
                        for r in result["rows"]
                        if r["task"] == t and r["side"] == side
                    ]
                )
            )
            for t in tasks
        ]
        for side in ("sparse", "dense")
    }
    every = [*counts["sparse"], *counts["dense"]]
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every) + 1))

    def x(value: float | int) -> float:
        return 220 + (WIDTH - 290) * (math.log10(value) - low) / max(1, high - low)

    height = 40 + 26 * len(tasks)
    body = []
    for power in range(low, high + 1):
        body.append(svg.line(x(10**power), 22, x(10**power), height - 12, "grid"))
        body.append(svg.text(x(10**power), 14, f"{10**power:,}", "soft small", "middle"))
    for i, task in enumerate(tasks):
        middle = 36 + 26 * i
        sparse, dense = counts["sparse"][i], counts["dense"][i]
        body.append(svg.text(210, middle + 4, task, "", "end"))
        body.append(svg.line(x(sparse), middle, x(dense), middle, "grid"))
        for value, fill in ((sparse, "fa"), (dense, "fb")):
            body.append(
                f'<circle cx="{x(value):.1f}" cy="{middle}" r="5" class="{fill}"><title>{value:.0f} edges</title></circle>'
            )
        body.append(
            svg.text(max(x(sparse), x(dense)) + 10, middle + 4, f"{dense / sparse:.1f}x", "soft")
        )
    return svg.figure(
        WIDTH, height, body, "Edges per circuit: sparse (blue) and dense (orange), log scale"
    )
