"""Tables by hand, and figures that hold the tables' numbers."""

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from lacewing.pages.plots import Plot
from lacewing.sweep import figures
from lacewing.sweep.config import SweepConfig
from lacewing.sweep.gather import Found, Row
from lacewing.sweep.tables import accuracy, frontier, mean_edges, sizes
from lacewing.sweep.writing import accuracy_table, markdown

CONFIG = SweepConfig(targets=(0.05, 0.15))
Edges = dict[str, dict[str, int | None]]


def found(edges: Edges, elsewhere: Edges | None = None) -> Found:
    """A sweep of models POINT/SIDE with some edges by task, at 0.15 and at 0.05 nats."""
    models, rows = [], []
    for number, name in enumerate(edges):
        point, side = name.split("/")
        about: dict[str, Any] = {
            "model": name,
            "side": side,
            "label": name,
            "width": 64,
            "density": 0.1 if side == "sparse" else 1.0,
            "activation": 0.25,
            "seed": 0,
            "point": point,
        }
        facts = {"validation_loss": 3.0 + 0.1 * number, "nonzero": 1000, "folder": name}
        models.append(about | facts)
        for target, table in ((0.15, edges), (0.05, elsewhere or {})):
            for task, count in table.get(name, {}).items():
                row = {"task": task, "target": target, "edges": count, "nodes": count}
                place = None if count is None else f"{name}/{task}"
                rows.append(about | row | {"prunings": 4, "circuit": place})
    return Found(CONFIG, models, [], rows, [], 0)


TWO = found(
    {
        "a/sparse": {"x": 10, "y": 40},
        "a/dense": {"x": 100, "y": 1600},
        "b/sparse": {"x": 5, "y": 20},
        "b/dense": {"x": 200, "y": None},
    },
    {"a/sparse": {"x": 30}, "a/dense": {"x": 90}},
)


def test_the_frontier_by_hand() -> None:
    """Models with both tasks are averaged over both; b's twin, which has one, is left out."""
    data = frontier(found({"a/sparse": {"x": 10, "y": 40}, "b/sparse": {"x": 5, "y": 80}}))
    assert ["x", "y"] == data["tasks"]
    assert [20, 20] == pytest.approx([point["edges"] for point in data["points"]])
    assert [10, 40] == pytest.approx([data["points"][0][end] for end in ("low", "high")])


def test_models_with_few_tasks_do_not_shrink_the_frontier() -> None:
    """One with a single task of four is left out, and says why; its circuit is still listed."""
    full = dict.fromkeys("wxyz", 10)
    data = frontier(found({"a/sparse": full, "b/sparse": full, "c/sparse": {"x": 3}}))
    assert ["w", "x", "y", "z"] == data["tasks"]
    poor = data["points"][2]
    assert (None, "no circuit for w, y, z") == (poor["edges"], poor["reason"])
    assert ["c/sparse/x"] == poor["circuits"]


def test_no_circuits_at_all() -> None:
    """A frontier without edges says so, and is no error."""
    data = frontier(found({"a/sparse": {"x": None}}))
    assert ([], None, "no task has a circuit") == (
        data["tasks"],
        data["points"][0]["edges"],
        data["points"][0]["reason"],
    )


def test_sizes_by_hand() -> None:
    """Means over tasks of means over models, only where both sides have a circuit."""
    table = {(row["point"], row["target"]): row for row in sizes(TWO)}
    assert 6 == len(table)
    every = table["all", 0.15]
    assert (2, 3) == (every["tasks"], every["circuits"])
    x, y = np.sqrt(10 * 5), 40
    assert pytest.approx(np.sqrt(x * y)) == every["sparse"]
    assert pytest.approx(np.sqrt(np.sqrt(100 * 200) * 1600)) == every["dense"]
    assert pytest.approx(np.sqrt(np.sqrt(10 * 40) * 40)) == every["ratio"]
    assert (12, 12) == (every["sparse_prunings"], every["dense_prunings"])
    alone = table["a", 0.05]
    assert (30, 90, 3) == pytest.approx((alone["sparse"], alone["dense"], alone["ratio"]))
    assert (None, None) == (alone["ratio_low"], alone["ratio_high"])
    assert (None, 0) == (table["b", 0.05]["sparse"], table["b", 0.05]["circuits"])


def test_an_interval_resamples_tasks() -> None:
    """Equal tasks have no spread; one task has no interval; the bootstrap's is near normal."""
    same, bounds = mean_edges([7, 7, 7])
    assert [7, 7, 7] == pytest.approx([same, *bounds])
    assert (None, None) == mean_edges([7])[1]
    logs = np.random.default_rng(1).normal(3, 1, size=100)
    mean, (low, high) = mean_edges(list(np.exp(logs)))
    assert mean is not None
    assert low is not None
    assert high is not None
    assert pytest.approx(2 * 1.96 * logs.std() / 10, rel=0.1) == np.log(high / low)


def marks(plot: Plot) -> dict[str, tuple[float, float]]:
    """Values of the marks of a figure, by what they say when hovered; the file says the same."""
    places = {}
    for line in plot.axes.lines:
        if (said := plot.titles.get(line.get_gid())) is not None:
            places[said] = (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
    titles = ElementTree.fromstring(plot.svg()).iter("{http://www.w3.org/2000/svg}title")
    assert set(places) == {title.text for title in titles}
    return places


def test_the_frontier_figure_holds_the_table() -> None:
    """A mark per model, on one logarithmic scale of edges and one linear scale of loss."""
    data = frontier(found({f"{n}/sparse": {"x": n, "y": 4 * n} for n in (5, 50, 80)}))
    drawn = list(marks(figures.frontier(data)).items())
    assert [
        f"{n}/sparse: {2 * n} edges [{n}, {4 * n}], validation loss {loss}"
        for n, loss in ((5, "3.000"), (50, "3.100"), (80, "3.200"))
    ] == [title for title, _ in drawn]
    assert [(10, 3.0), (100, 3.1), (160, 3.2)] == [pytest.approx(place) for _, place in drawn]


def test_the_sizes_figure_holds_the_table() -> None:
    """A mark per side and target with circuits, the ratio and the count under every target."""
    rows = [row for row in sizes(TWO) if row["point"] == "all"]
    figure = figures.sizes(rows, CONFIG.trials_at)
    expected = {f"{side}, {row[side]:.0f} edges" for row in rows for side in ("sparse", "dense")}
    assert expected == set(marks(figure))
    words = re.findall(r">([^<>]+)</text>", figure.svg().decode())
    for row in rows:
        assert f"{row['ratio']:.1f}x" in words
        assert f"n={row['circuits']}" in words


def test_the_density_plot_holds_every_token() -> None:
    """A hexagon per occupied cell; equal losses lie on the diagonal only; the numbers beside it."""
    losses = np.exp(np.random.default_rng(0).normal(size=(20, 16)))
    facts = {"pearson": 0.91, "pearson_interval": (0.9, 0.92), "spearman": 0.81}
    row = facts | {"spearman_interval": (0.8, 0.82), "tokens": 320, "sequences": 20}
    figure = figures.correlation({"sparse": losses, "dense": losses}, row, "a, b")
    (cells,) = (c for c in figure.axes.collections if c.get_array() is not None)
    assert losses.size == cells.get_array().sum()
    middles = np.array([np.log(path.vertices[:6]).mean(0) for path in cells.get_paths()])
    wide = np.ptp(np.log(figure.axes.get_xlim())) / figures.BINS
    assert np.abs(middles[:, 0] - middles[:, 1]).max() <= 2 * wide
    words = re.findall(r">([^<>]+)</text>", figure.svg().decode())
    assert {"0.910 [0.900, 0.920]", "0.810 [0.800, 0.820]", "320 tokens"} <= set(words)


def test_the_markdown_says_what_failed_and_what_is_open() -> None:
    """Numbers with their intervals, and a line for every failure."""
    whole = found({"a/sparse": {"x": 10, "y": 40}})
    partly = Found(CONFIG, whole.models, [], whole.sizes, [{"job": "j", "error": "broke"}], 3)
    result = {"frontier": frontier(partly), "sizes": sizes(partly), "correlation": []}
    result["accuracy"] = accuracy([], [], CONFIG.targets, CONFIG.main_target)
    text = markdown(partly, result)
    assert "20 [10, 40]" in text
    assert "3 jobs are open" in text
    assert "- j: broke" in text


def measured_rows(
    shares: dict[str, dict[float, float]], sides: tuple[str, ...] = ("sparse", "dense")
) -> tuple[list[Row], list[Row]]:
    """Rows of circuits POINT/TASK with some share right by target, and of the whole models."""
    sizes: list[Row] = []
    scores: list[Row] = []
    for name, by_target in shares.items():
        point, task = name.split("/")
        for number, side in enumerate(sides):
            test = {"pairs": 100, "loss": 0.1, "loss_low": 0.05, "loss_high": 0.2}
            about = {"point": point, "task": task, "side": side}
            whole = test | {"right": 0.99, "right_low": 0.95, "right_high": 1.0}
            scores.append(about | {"test": whole})
            for target, share in by_target.items():
                right = share - 0.1 * number
                shown = {"right": right, "right_low": right - 0.02, "right_high": right + 0.01}
                edges = 10 * (1 + number)
                sizes.append(about | {"target": target, "edges": edges, "test": test | shown})
    return sizes, scores


WIDE = (0.015, 0.05, 0.15, 0.5)
SHARES = {
    "a/x": {0.5: 0.6, 0.15: 0.8, 0.05: 0.9, 0.015: 0.98},
    "a/y": {0.5: 0.5, 0.15: 0.7, 0.05: 0.8},
    "b/x": {0.5: 0.4, 0.15: 0.9},
}


def test_accuracy_by_hand() -> None:
    """The curve is over a/x and a/y, which reach 0.05; b/x, which does not, moves no mean of it."""
    rows = {row["target"]: row for row in accuracy(*measured_rows(SHARES), WIDE, 0.15)}
    assert list(WIDE) == list(rows)
    counts = [(row["circuits"], row["tasks"], row["partial"]) for row in rows.values()]
    assert [(1, 1, True), (2, 2, False), (2, 2, False), (2, 2, False)] == counts
    assert [0.98, 0.85, 0.75, 0.55] == pytest.approx([r["sparse_right"] for r in rows.values()])
    assert [0.88, 0.75, 0.65, 0.45] == pytest.approx([r["dense_right"] for r in rows.values()])
    assert (0.7, 0.8) == pytest.approx(
        (rows[0.15]["sparse_right_low"], rows[0.15]["sparse_right_high"])
    )
    assert (10, 20) == pytest.approx((rows[0.15]["sparse_edges"], rows[0.15]["dense_edges"]))
    one = rows[0.015]
    assert (0.96, 0.99) == pytest.approx((one["sparse_right_low"], one["sparse_right_high"]))
    assert (0.95, 1.0) == (one["sparse_full_low"], one["sparse_full_high"])
    said = accuracy_table(list(rows.values()))
    assert "fewer than below" in said[2]
    assert "75.0% [70.0%, 80.0%]" in said[4]


def test_accuracy_without_a_twin_and_without_circuits() -> None:
    """One side alone has its own columns; no circuit at all is a table of dashes."""
    (row,) = accuracy(*measured_rows({"a/x": {0.15: 0.9}}, ("sparse",)), (0.15,), 0.15)
    assert "dense_right" not in row
    assert (0.9, 1) == (row["sparse_right"], row["circuits"])
    sizes, scores = measured_rows({"a/x": {0.15: 0.9}})
    none = accuracy([dict(row, edges=None) for row in sizes], scores, (0.15,), 0.15)
    assert [(0, None)] == [(row["circuits"], row["sparse_right"]) for row in none]
    assert "| - |" in accuracy_table(none)[2]
    old = accuracy([{k: v for k, v in row.items() if k != "test"} for row in sizes], [], WIDE, 0.15)
    assert [0] * 4 == [row["circuits"] for row in old], "sweeps of old have no pairs right"


def test_the_accuracy_figure_holds_the_table() -> None:
    """A mark per side and target at its edges and share; strict targets are off the line."""
    rows = accuracy(*measured_rows(SHARES), WIDE, 0.15)
    figure = figures.accuracy(rows, "bars: 95 %")
    places = marks(figure)
    assert 8 == len(places)
    assert (10, 0.75) == pytest.approx(places["weight-sparse at 0.15 nats: 10 edges, 75.0% right"])
    lines = [line for line in figure.axes.lines if 3 == len(line.get_xdata())]
    assert [[0.85, 0.75, 0.55], [0.75, 0.65, 0.45]] == [
        pytest.approx(list(line.get_ydata())) for line in lines
    ]
    words = re.findall(r">([^<>]+)</text>", figure.svg().decode())
    assert {"0.015 (n=1)", "0.15"} <= set(words)
