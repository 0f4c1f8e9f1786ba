"""The figures of a sweep, in the report's style; each is drawn from the tables and nothing else."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lacewing.pages import svg
from lacewing.sweep.axes import Frame, Place, dot, plain, powers, square, steps
from lacewing.sweep.gather import Row

WIDTH = 760
MOST_LABELS = 24
FLOOR = 1e-3
"""Nats; smaller token losses are drawn here."""
BINS = 56
"""Hexagons across the density plot."""


def frontier(data: dict[str, Any]) -> str:
    """Validation loss against geometric-mean edges, lower left is better; bars are intervals.

    Args:
        data: What frontier.json says.
    """
    shown = [point for point in data["points"] if point["edges"] is not None]
    frame = Frame(64, WIDTH - 24, 64, 400)
    edges = [p[k] for p in shown for k in ("edges", "low", "high") if p[k] is not None]
    losses = [p["validation_loss"] for p in shown]
    x, y = frame.log_x(edges, 1.5), frame.linear_y(losses)
    tasks = "one task" if len(data["tasks"]) == 1 else f"{len(data['tasks'])} tasks"
    title = f"edges at {data['target_loss']:g} nats, geometric mean over {tasks} (log)"
    body = frame.x_axis(x, powers(edges), title)
    body += frame.y_axis(y, steps(losses), "validation loss, nats per token")
    body += _legend(any(p["side"] == "dense" for p in shown))
    body += _staircase([(x(p["edges"]), y(p["validation_loss"])) for p in shown], frame)
    for point in shown:
        at, height = x(point["edges"]), y(point["validation_loss"])
        sparse = point["side"] == "sparse"
        if point["low"] is not None:
            kind = "a" if sparse else "b"
            bar = svg.line(x(point["low"]), height, x(point["high"]), height, kind)
            body.append(bar.replace("/>", ' stroke-opacity="0.35"/>'))
        mark = dot if sparse else square
        body.append(mark(at, height, "fa" if sparse else "fb", _about(point)))
    if len(shown) <= MOST_LABELS:
        body += _labels(shown, x, y)
    name = f"Capability and interpretability: loss against edges of {len(shown)} models"
    return svg.figure(WIDTH, 452, body, name)


def _legend(dense: bool) -> list[str]:
    body = [dot(70, 20, "fa", "sparse"), svg.text(80, 24, "weight-sparse", "")]
    if dense:
        body += [square(186, 20, "fb", "dense"), svg.text(196, 24, "dense twin", "")]
    body.append(svg.text(WIDTH - 24, 24, "bars: 95 % over tasks", "soft small", "end"))
    return body


def _staircase(places: Sequence[tuple[float, float]], frame: Frame) -> list[str]:
    """The frontier: from left to right, the lowest loss so far."""
    line: list[tuple[float, float]] = []
    for at, height in sorted(places, key=lambda p: (p[0], -p[1])):
        if not line:
            line = [(at, float(frame.top)), (at, height)]
        elif height > line[-1][1]:  # lower on the page is less loss
            line += [(at, line[-1][1]), (at, height)]
    return [svg.path([*line, (float(frame.right), line[-1][1])], "same")] if line else []


def _labels(shown: Sequence[Row], x: Place, y: Place) -> list[str]:
    """Short names beside the marks, moved up or down where they would touch."""
    body: list[str] = []
    taken: list[tuple[float, float]] = []
    for point in sorted(shown, key=lambda p: y(p["validation_loss"])):
        at, height = x(point["edges"]), y(point["validation_loss"])
        right = at < WIDTH - 150
        place = height - 8
        while any(abs(place - h) < 12 and abs(at - a) < 110 for a, h in taken):
            place += 12
        taken.append((at, place))
        body.append(
            svg.text(
                at + (8 if right else -8),
                place,
                _short(point),
                "soft small",
                "start" if right else "end",
            )
        )
    return body


def _short(point: Row) -> str:
    if point["side"] == "dense":  # it has neither: its label says whose twin it is
        density = point["label"].partition("density ")[2].partition(",")[0]
        words = ["twin of", f"w{point['width']}", density]
    else:
        kept = "no AbsTopK" if point["activation"] == 1 else f"a{point['activation']:g}"
        words = [f"w{point['width']}", f"1/{1 / point['density']:.3g}", kept]
    return " ".join(words) + (f" s{point['seed']}" if point["seed"] else "")


def _about(point: Row) -> str:
    bounds = "" if point["low"] is None else f" [{point['low']:.0f}, {point['high']:.0f}]"
    return (
        f"{point['label']}: {point['edges']:.0f} edges{bounds}, validation loss "
        f"{point['validation_loss']:.3f}"
    )


def sizes(rows: Sequence[Row], trials: Mapping[float, int]) -> str:
    """Edges against target loss for sparse and dense, with the ratio and the number of circuits.

    Args:
        rows: Rows of `tables.sizes` of one model, or of all.
        trials: Prunings of each model and task by target.
    """
    drawn = [row for row in rows if row["circuits"]]
    sides = [("sparse", "a", "fa", "sparse")]
    if "dense" in drawn[0]:
        sides.append(("dense", "b", "fb", "dense twin"))
    frame = Frame(64, WIDTH - 100, 64, 360)
    every = [
        row[side + end]
        for row in drawn
        for side, *_ in sides
        for end in ("", "_low", "_high")
        if row[side + end] is not None
    ]
    targets = [row["target"] for row in rows]
    x, y = frame.log_x(targets), frame.log_y(every)
    title = "target loss, nats (log); below: dense / sparse, circuits a side"
    body = frame.x_axis(x, [], title)
    body[0] = svg.text((frame.left + frame.right) / 2, 432, title, "soft", "middle")
    body += frame.y_axis(y, powers(every), "edges per circuit, geometric mean (log)")
    for row in rows:
        body += _under(row, x(row["target"]), frame)
    for side, line, fill, label in sides:
        body += _curve(drawn, side, line, fill, x, y)
        body.append(svg.text(x(drawn[-1]["target"]) + 12, y(drawn[-1][side]) + 4, label))
    most, least = max(trials.values()), min(trials.values())
    budget = f"{most}" if most == least else f"{least} to {most}"
    note = f"best of {budget} prunings a circuit, both sides alike; bars: 95 % over tasks"
    body.append(svg.text(WIDTH - 24, 24, note, "soft small", "end"))
    return svg.figure(WIDTH, 446, body, "Circuit size against target loss, sparse and dense")


def _under(row: Row, at: float | int, frame: Frame) -> list[str]:
    """Tick, ratio and count of one target."""
    ratio = row.get("ratio")
    return [
        svg.line(at, frame.top, at, frame.bottom, "grid"),
        svg.text(at, frame.bottom + 16, plain(row["target"]), "soft small", "middle"),
        svg.text(at, frame.bottom + 34, f"{ratio:.1f}x" if ratio else "-", "small", "middle"),
        svg.text(at, frame.bottom + 50, f"n={row['circuits']}", "soft small", "middle"),
    ]


def _curve(rows: Sequence[Row], side: str, line: str, fill: str, x: Place, y: Place) -> list[str]:
    body = [svg.path([(x(row["target"]), y(row[side])) for row in rows], line)]
    mark = dot if side == "sparse" else square
    for row in rows:
        at = x(row["target"])
        if row[f"{side}_low"] is not None:
            bar = svg.line(at, y(row[f"{side}_low"]), at, y(row[f"{side}_high"]), line)
            body.append(bar.replace("/>", ' stroke-opacity="0.35"/>'))
        body.append(mark(at, y(row[side]), fill, f"{side}, {row[side]:.0f} edges"))
    return body


def correlation(losses: Mapping[str, np.ndarray], row: Row, label: str) -> str:
    """How often tokens have which loss in both models: darker is more often.

    Args:
        losses: [sequence, token] nats of `sparse` and `dense`.
        row: Their row of the correlation table.
        label: The sparse model's name.
    """
    size = 420.0
    frame = Frame(84, 84 + size, 64, 64 + size)
    least = min(float(each.min()) for each in losses.values())
    floor = max(FLOOR, 10 ** math.floor(math.log10(max(least, FLOOR))))
    sparse, dense = (np.maximum(losses[side].ravel(), floor) for side in ("sparse", "dense"))
    ends = [floor, float(max(sparse.max(), dense.max()))]
    x, y = frame.log_x(ends, 1.1), frame.log_y(ends, 1.1)
    ticks = [t for t in powers(ends) if math.isclose(math.log10(t) % 1, 0, abs_tol=1e-9)]
    body = frame.x_axis(x, ticks, "loss of the sparse model, nats (log)")
    body += frame.y_axis(y, ticks, "loss of its dense twin, nats (log)")
    scale = math.log(ends[1] * 1.1 / (ends[0] / 1.1))
    start = math.log(ends[0] / 1.1)
    across = (np.log(sparse) - start) / scale * size + frame.left
    down = frame.bottom - (np.log(dense) - start) / scale * size
    body += _hexagons(across, down, size / BINS)
    body.append(svg.line(frame.left, frame.bottom, frame.right, frame.top, "c"))
    body += _facts(row, label, frame.right + 24)
    if least < floor:
        note = f"under {floor:g} nats: drawn there"
        body.append(svg.text(frame.right + 24, frame.bottom, note, "soft small"))
    return svg.figure(WIDTH, 548, body, f"Token losses of {label} and of its dense twin")


def _hexagons(x: np.ndarray, y: np.ndarray, step: float | int) -> list[str]:
    """Counts in a honeycomb, as opacity by their logarithm."""
    tall = step * math.sqrt(3)
    # Two rectangular lattices, the second moved by half a cell; each point goes to the nearer one.
    first = np.stack((np.round(x / step), np.round(y / tall)))
    second = np.stack((np.floor(x / step) + 0.5, np.floor(y / tall) + 0.5))

    def distance(cell: np.ndarray) -> np.ndarray:
        return (cell[0] * step - x) ** 2 + (cell[1] * tall - y) ** 2

    nearer = np.where(distance(first) <= distance(second), first, second)
    cells, counts = np.unique(nearer, axis=1, return_counts=True)
    radius = step / math.sqrt(3)
    corners = " ".join(
        f"{radius * math.sin(i * math.pi / 3):.2f},{radius * math.cos(i * math.pi / 3):.2f}"
        for i in range(6)
    )
    shape = f'<defs><polygon id="hex" points="{corners}"/></defs>'
    most = math.log1p(counts.max())
    drawn = [
        f'<use href="#hex" x="{a * step:.1f}" y="{b * tall:.1f}" class="fa" '
        f'fill-opacity="{0.08 + 0.92 * math.log1p(n) / most:.2f}"/>'
        for (a, b), n in zip(cells.T, counts, strict=True)
    ]
    return [shape, *drawn]


def _facts(row: Row, label: str, left: float | int) -> list[str]:
    """The numbers beside the density plot."""

    def bounded(name: str) -> str:
        low, high = row[f"{name}_interval"]
        return f"{row[name]:.3f} [{low:.3f}, {high:.3f}]"

    lines = [
        *((part.strip(), "soft") for part in label.split(",")),
        ("", ""),
        ("Pearson, log losses", "soft"),
        (bounded("pearson"), ""),
        ("Spearman", "soft"),
        (bounded("spearman"), ""),
        ("", ""),
        (f"{row['tokens']:,} tokens", "soft"),
        (f"{row['sequences']:,} sequences", "soft"),
        ("dashed: equal losses", "soft"),
    ]
    return [svg.text(left, 80 + 19 * i, text, kind) for i, (text, kind) in enumerate(lines) if text]
