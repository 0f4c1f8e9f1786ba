"""The figures of a sweep; each is drawn from its tables and nothing else."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.ticker import FuncFormatter, NullLocator

from lacewing.pages.plots import Plot
from lacewing.pages.svg import LIGHT
from lacewing.sweep.gather import Row

WIDTH = 760
MOST_LABELS = 24
FLOOR = 1e-3
"""Nats; smaller token losses are drawn here."""
BINS = 56
"""Hexagons across the density plot."""
SIDES = {"sparse": ("o", "plus", "weight-sparse"), "dense": ("s", "minus", "dense twin")}
"""Mark, colour and name of either side."""


def frontier(data: dict[str, Any], colours: Mapping[str, str] = LIGHT) -> Plot:
    """Validation loss against geometric-mean edges, lower left is better; bars are intervals.

    Args:
        data: What frontier.json says.
        colours: `svg.LIGHT` or `svg.DARK`.
    """
    shown = [point for point in data["points"] if point["edges"] is not None]
    plot = Plot(WIDTH, 452, (64, 52, WIDTH - 24, 388), colours)
    edges = [p[k] for p in shown for k in ("edges", "low", "high") if p[k] is not None]
    losses = [p["validation_loss"] for p in shown]
    room = 0.12 * (max(losses) - min(losses)) or 0.1
    _logarithmic(plot, "x", edges, 1.5)
    plot.axes.set_ylim(min(losses) - room, max(losses) + room)
    tasks = "one task" if len(data["tasks"]) == 1 else f"{len(data['tasks'])} tasks"
    title = f"edges at {data['target_loss']:g} nats, geometric mean over {tasks} (log)"
    plot.named(title, "validation loss, nats per token")
    _staircase(plot, shown)
    for point in shown:
        at, height = point["edges"], point["validation_loss"]
        shape, colour, _ = SIDES[point["side"]]
        if point["low"] is not None:
            plot.line([point["low"], point["high"]], [height, height], colour, alpha=0.35)
        plot.mark(at, height, shape, colour, _about(point))
    if len(shown) <= MOST_LABELS:
        _labels(plot, shown)
    _legend(plot, "bars: 95 % over tasks", any(p["side"] == "dense" for p in shown))
    return plot


def _logarithmic(
    plot: Plot, axis: str, values: Sequence[float | int], room: float | int = 1.15
) -> None:
    """A logarithmic axis around positive values, with plain numbers on it."""
    low, high = min(values) / room, max(values) * room
    along = plot.axes.xaxis if axis == "x" else plot.axes.yaxis
    (plot.axes.set_xscale if axis == "x" else plot.axes.set_yscale)("log")
    (plot.axes.set_xlim if axis == "x" else plot.axes.set_ylim)(low, high)
    along.set_ticks([t for t in _powers(low, high) if low <= t <= high])
    along.set_minor_locator(NullLocator())
    along.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))


def _powers(low: float | int, high: float | int) -> list[float]:
    """Ticks: powers of ten, and 2 and 5 times them where there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    return [step * 10.0**power for power in range(first, last + 1) for step in steps]


def _plain(value: float | int) -> str:
    """A tick's label: 1,000, 0.15, 0.0015."""
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def _legend(plot: Plot, note: str, dense: bool) -> None:
    sides = [name for name in SIDES if dense or name == "sparse"]
    for shape, colour, name in (SIDES[side] for side in sides):
        plot.axes.plot([], [], shape, color=plot.colours[colour], label=name, markersize=7)
    plot.axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.09),
        ncols=2,
        frameon=False,
        borderaxespad=0,
        labelcolor=plot.colours["ink"],
        fontsize=8.6,
    )
    plot.note(WIDTH - 24, 20, note, "soft", 7, "right")


def _staircase(plot: Plot, shown: Sequence[Row]) -> None:
    """The frontier: from left to right, the lowest loss so far."""
    across: list[float] = []
    up: list[float] = [plot.axes.get_ylim()[1]]
    for point in sorted(shown, key=lambda p: (p["edges"], p["validation_loss"])):
        if point["validation_loss"] < up[-1]:
            across.append(point["edges"])
            up.append(point["validation_loss"])
    if across:
        ends = [across[0], *across, plot.axes.get_xlim()[1]]
        plot.line(ends, [*up, up[-1]], "faint", drawstyle="steps-post", linewidth=1)


def _labels(plot: Plot, shown: Sequence[Row]) -> None:
    """Short names beside the marks, moved down where they would touch."""
    taken: list[tuple[float, float]] = []
    for point in sorted(shown, key=lambda p: -p["validation_loss"]):
        at = (point["edges"], point["validation_loss"])
        x, y = plot.axes.transData.transform(at)
        down = -8.0
        while any(abs(y - down - h) < 12 and abs(x - a) < 110 for a, h in taken):
            down += 12
        taken.append((x, y - down))
        right = x < WIDTH - 150
        plot.axes.annotate(
            _short(point),
            at,
            (6 if right else -6, -0.72 * down),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize=7,
            color=plot.colours["soft"],
        )


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


def sizes(
    rows: Sequence[Row], trials: Mapping[float, int], colours: Mapping[str, str] = LIGHT
) -> Plot:
    """Edges against target loss for sparse and dense, with the ratio and the number of circuits.

    Args:
        rows: Rows of `tables.sizes` of one model, or of all.
        trials: Prunings of each model and task by target.
        colours: `svg.LIGHT` or `svg.DARK`.
    """
    drawn = [row for row in rows if row["circuits"]]
    sides = [side for side in SIDES if side in drawn[0]]
    plot = Plot(WIDTH, 446, (64, 90, WIDTH - 100, 372), colours)
    ends = ("", "_low", "_high")
    every = [row[s + e] for row in drawn for s in sides for e in ends if row[s + e] is not None]
    targets = [row["target"] for row in rows]
    _logarithmic(plot, "x", targets)
    _logarithmic(plot, "y", every)
    plot.axes.set_xticks(targets, [_under(row) for row in rows])
    plot.named(
        "target loss, nats (log); below: dense / sparse, circuits a side",
        "edges per circuit, geometric mean (log)",
    )
    for side in sides:
        _curve(plot, drawn, side)
    most, least = max(trials.values()), min(trials.values())
    budget = f"{most}" if most == least else f"{least} to {most}"
    note = f"best of {budget} prunings a circuit, both sides alike; bars: 95 % over tasks"
    _legend(plot, note, "dense" in sides)
    return plot


def _under(row: Row) -> str:
    """Tick, ratio and count of one target."""
    ratio = row.get("ratio")
    return f"{_plain(row['target'])}\n{f'{ratio:.1f}x' if ratio else '-'}\nn={row['circuits']}"


def _curve(plot: Plot, rows: Sequence[Row], side: str) -> None:
    shape, colour, _ = SIDES[side]
    plot.line([row["target"] for row in rows], [row[side] for row in rows], colour)
    for row in rows:
        at, low, high = row["target"], row[f"{side}_low"], row[f"{side}_high"]
        if low is not None:
            plot.line([at, at], [low, high], colour, alpha=0.35)
        plot.mark(at, row[side], shape, colour, f"{side}, {row[side]:.0f} edges")


def accuracy(rows: Sequence[Row], note: str, colours: Mapping[str, str] = LIGHT) -> Plot:
    """Share of pairs right against edges, a mark a target; dashed: the whole models.

    Args:
        rows: Rows of `tables.accuracy`; a line goes through those of the same circuits.
        note: What the bars are.
        colours: `svg.LIGHT` or `svg.DARK`.
    """
    drawn = [row for row in rows if row["circuits"]]
    sides = [side for side in SIDES if f"{side}_edges" in drawn[0]]
    plot = Plot(WIDTH, 446, (64, 62, WIDTH - 24, 376), colours)
    names = [f"{s}_edges{end}" for s in sides for end in ("", "_low", "_high")]
    _logarithmic(plot, "x", [r[n] for r in drawn for n in names if r[n] is not None], 1.3)
    shares = [r[f"{s}_right{end}"] for r in drawn for s in sides for end in ("", "_low")]
    shares += [r[f"{s}_full"] for r in drawn for s in sides]
    least = min(share for share in shares if share is not None)
    room = max(0.01, 0.1 * (1 - least))
    plot.axes.set_ylim(max(-room, least - room), 1 + 2 * room)
    plot.axes.set_yticks([tick for tick in np.linspace(0, 1, 11) if tick > least - room])
    plot.axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    up = "pairs right on test prompts (small numbers: target loss, nats; dashed: whole model)"
    plot.named("edges per circuit (log)", up)
    for side in sides:
        _reached(plot, drawn, side)
    _legend(plot, note, "dense" in sides)
    return plot


def _reached(plot: Plot, rows: Sequence[Row], side: str) -> None:
    """The marks of one side, with bars both ways, and a line through the same circuits."""
    shape, colour, name = SIDES[side]
    rows = [row for row in rows if row[f"{side}_edges"] is not None]
    same = [row for row in rows if not row["partial"]]
    if same:
        across = [row[f"{side}_edges"] for row in same]
        plot.line(across, [row[f"{side}_right"] for row in same], colour)
        full = same[-1][f"{side}_full"]
        plot.line(
            plot.axes.get_xlim(), [full, full], colour, linestyle="--", linewidth=1, alpha=0.7
        )
    for row in rows:
        x, y = row[f"{side}_edges"], row[f"{side}_right"]
        for ends, vertical in ((f"{side}_right", True), (f"{side}_edges", False)):
            low, high = row[f"{ends}_low"], row[f"{ends}_high"]
            if low is not None:
                bar = ([x, x], [low, high]) if vertical else ([low, high], [y, y])
                plot.line(*bar, colour, alpha=0.35)
        said = f"{name} at {row['target']:g} nats: {x:,.0f} edges, {y:.1%} right"
        plot.mark(x, y, shape, colour, said)
    _targets(plot, rows, side)


def _targets(plot: Plot, rows: Sequence[Row], side: str) -> None:
    """Each mark's target: above the sparse ones, below the dense, further off where they touch."""
    away = 1 if side == "sparse" else -1
    taken: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: row[f"{side}_edges"]):
        label = f"{row['target']:g}" + (f" (n={row['circuits']})" if row["partial"] else "")
        at = (row[f"{side}_edges"], row[f"{side}_right"])
        x, y = plot.axes.transData.transform(at)
        off = 11.0
        while any(abs(y + away * off - h) < 10 and abs(x - a) < 7 * len(label) for a, h in taken):
            off += 10
        taken.append((x, y + away * off))
        plot.axes.annotate(
            label,
            at,
            (-4 * away, 0.72 * away * off),
            textcoords="offset points",
            ha="right" if away > 0 else "left",
            va="center",
            fontsize=6.5,
            color=plot.colours[SIDES[side][1]],
        )


def correlation(
    losses: Mapping[str, np.ndarray], row: Row, label: str, colours: Mapping[str, str] = LIGHT
) -> Plot:
    """How often tokens have which loss in both models: darker is more often.

    Args:
        losses: [sequence, token] nats of `sparse` and `dense`.
        row: Their row of the correlation table.
        label: The sparse model's name.
        colours: `svg.LIGHT` or `svg.DARK`.
    """
    size = 420.0
    plot = Plot(WIDTH, 548, (84, 64, 84 + size, 64 + size), colours)
    least = min(float(each.min()) for each in losses.values())
    floor = max(FLOOR, 10 ** math.floor(math.log10(max(least, FLOOR))))
    sparse, dense = (np.maximum(losses[side].ravel(), floor) for side in ("sparse", "dense"))
    ends = [floor, float(max(sparse.max(), dense.max()))]
    low, high = (math.log10(end) for end in (ends[0] / 1.1, ends[1] * 1.1))
    plot.axes.hexbin(
        sparse,
        dense,
        gridsize=BINS,
        xscale="log",
        yscale="log",
        extent=(low, high, low, high),
        mincnt=1,
        norm=PowerNorm(0.4, vmin=0),
        cmap=plot.shades("plus"),
        linewidths=0.1,
    )
    for axis in ("x", "y"):
        _logarithmic(plot, axis, ends, 1.1)
    plot.line(ends, ends, "third", linestyle="--")
    title = "loss of its dense twin, nats (log)"
    plot.named("loss of the sparse model, nats (log)", title)
    note = [f"under {floor:g} nats: drawn there"] if least < floor else []
    for number, (text, colour) in enumerate(_facts(row, label, note)):
        plot.note(84 + size + 24, 84 + 19 * number, text, colour)
    return plot


def _facts(row: Row, label: str, notes: Sequence[str]) -> list[tuple[str, str]]:
    """The numbers beside the density plot, with their colours."""

    def bounded(name: str) -> str:
        low, high = row[f"{name}_interval"]
        return f"{row[name]:.3f} [{low:.3f}, {high:.3f}]"

    return [
        *((part.strip(), "soft") for part in label.split(",")),
        ("", "soft"),
        ("Pearson, log losses", "soft"),
        (bounded("pearson"), "ink"),
        ("Spearman", "soft"),
        (bounded("spearman"), "ink"),
        ("", "soft"),
        (f"{row['tokens']:,} tokens", "soft"),
        (f"{row['sequences']:,} sequences", "soft"),
        ("dashed: equal losses", "soft"),
        *((note, "soft") for note in notes),
    ]
