"""The charts of a report say the numbers they are of, at the place these have."""

import math
import re

import pytest

import micro
from lacewing.report.charts import comparison, training, verification
from lacewing.report.page import _facts


def dots(figure: str, kind: str) -> list[float]:
    """The horizontal places of a chart's dots of one colour."""
    return [float(x) for x in re.findall(rf'<circle cx="([\d.]+)"[^>]*class="{kind}"', figure)]


def compared(edges: dict[str, list[list[int]]]) -> dict[str, object]:
    """A comparison of edges[side][task][seed]."""
    rows = [
        {"task": f"t{t}", "seed": seed, "side": side, "edges": count}
        for side, table in edges.items()
        for t, counts in enumerate(table)
        for seed, count in enumerate(counts)
    ]
    return {"tasks": [f"t{t}" for t in range(len(edges["sparse"]))], "rows": rows}


def test_edges_are_averaged_geometrically() -> None:
    """Of 1 and 100 edges it draws 10, a tenth of 100, and says 10.0x."""
    figure = comparison(compared({"sparse": [[1, 100]], "dense": [[100, 100]]}))
    assert "<title>10 edges</title>" in figure
    assert "<title>100 edges</title>" in figure
    assert ">10.0x</text>" in figure


def test_the_axis_of_edges_is_logarithmic() -> None:
    """Steps of ten times are of equal width, and a circuit without edges counts as one."""
    table = {"sparse": [[0], [10], [100]], "dense": [[1000], [1000], [1000]]}
    figure = comparison(compared(table))
    one, ten, hundred = dots(figure, "fa")
    assert pytest.approx(hundred - ten, abs=0.2) == ten - one
    assert pytest.approx(3 * (ten - one), abs=0.3) == dots(figure, "fb")[0] - one


def test_a_verification_stands_at_its_losses() -> None:
    """Each dot lies between zero and chance as its loss does; controls have their range."""
    figure = verification(dict(micro.SHORT_TEST), target=0.15)
    full, alone, others, without, without_others = dots(figure, "node")
    grid = [float(x) for x in re.findall(r'<line x1="([\d.]+)"', figure)]
    target, chance = grid[:2]
    unit = (chance - target) / (math.log(2) - 0.15)
    zero = target - 0.15 * unit
    expected = [zero + unit * loss for loss in (0.02, 0.1, 1.0, 0.6, 0.1)]
    found = [full, alone, others, without, without_others]
    assert pytest.approx(expected, abs=0.3) == found
    for words in ("full model", "circuit alone", "without random circuits", "0.020", "1.000"):
        assert f">{words}</text>" in figure


def test_training_falls_from_left_to_right() -> None:
    """Higher losses stand higher; the twin is a line; the last values are written out."""
    metrics = [
        {"tokens": 100 * i, "loss": 6.0 / i, "validation_loss": 6.6 / i, "density": 1.0 / i}
        for i in range(1, 6)
    ]
    figure = training(metrics, twin_loss=1.5)
    lines = re.findall(r'<polyline points="([^"]+)" class="a"', figure)
    loss, density = ([tuple(map(float, p.split(","))) for p in one.split()] for one in lines)
    for points in (loss, density):
        xs, ys = zip(*points, strict=True)
        assert sorted(xs) == list(xs)
        assert sorted(ys) == list(ys)  # down on the page
        assert ys[-1] > ys[0]
    for words in ("training 1.20", "validation 1.32"):
        assert f">{words}</text>" in figure
    assert 'class="c"' in figure
    assert 'class="c"' not in training(metrics, None)


def test_the_page_promises_no_more_zeros_than_the_densest_matrix_has() -> None:
    """At least: of the block matrices alone, and of those the one with most weights."""
    densities = {"blocks.0.c_fc.weight": 0.25, "blocks.1.attn_proj.weight": 0.05}
    densities |= {"wte.weight": 0.9, "blocks.0.ln_1.weight": 1.0, "blocks.0.c_fc.bias": 1.0}
    summary = {"densities": densities, "validation_loss": 3.456}
    circuits = [{"short_test_passed": passed} for passed in (True, False, True)]
    data = {"summary": summary, "circuits": circuits, "tasks": None, "comparison": None}
    told = {words: number for number, words in _facts(data, 0)}
    assert "75.0%" == told["of each block matrix is zero, at least"]
    assert "3.46" == told["nats per token on validation text"]
    assert "2 of 3" == told["circuits pass 2 of 2 short tests"]
    assert 3 == len(told)
