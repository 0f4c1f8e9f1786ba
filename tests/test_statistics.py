"""Every mean, correlation and interval against its definition, by another way."""

import numpy as np
import pytest
import torch

from lacewing.statistics import (
    Z,
    bootstrap,
    correlation,
    correlations,
    geometric_mean,
    interval,
    pair_means,
    rate_ratio,
    weighted_correlation,
    wilson,
)


def test_pairs_are_both_members() -> None:
    """Sequences 2i and 2i + 1 are one pair."""
    assert pair_means(torch.tensor([1.0, 3.0, 10.0, 20.0])).tolist() == [2.0, 15.0]


def test_the_bootstrap_is_one_of_95_percent() -> None:
    """Of many normal values it is the mean and 1.96 standard errors on both sides."""
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    low, high = bootstrap(values, resamples=8000)
    error = values.std() / 20
    assert pytest.approx(values.mean() - 1.96 * error, abs=0.06 * error) == low
    assert pytest.approx(values.mean() + 1.96 * error, abs=0.06 * error) == high


def test_the_interval_of_samples_leaves_a_fortieth_on_each_side() -> None:
    """From 0 to 1000 it goes from 25 to 975, in any order."""
    samples = np.random.default_rng(0).permutation(1001).astype(float)
    assert pytest.approx((25.0, 975.0)) == interval(samples)


def test_geometric_mean() -> None:
    """The cube root of a product of three."""
    assert pytest.approx((2.0 * 9.0 * 12.0) ** (1 / 3)) == geometric_mean(np.array([2, 9, 12.0]))


@pytest.mark.parametrize(("hits", "n"), [(24, 30), (1, 7), (0, 12), (12, 12), (500, 1000)])
def test_wilson_solves_its_equation(hits: int, n: int) -> None:
    """At both ends the rate lies 1.96 standard errors away, as that end has them."""
    p = hits / n
    for end, wall in zip(wilson(hits, n), (0.0, 1.0), strict=True):
        if p == wall:
            assert end == pytest.approx(wall, abs=1e-12)
        else:
            assert pytest.approx(abs(p - end), rel=1e-5) == Z * (end * (1 - end) / n) ** 0.5


def test_wilson_of_nothing_is_everything() -> None:
    """Where nothing was tried any rate is possible."""
    assert wilson(0, 0) == (0.0, 1.0)


def test_correlation_is_pearsons() -> None:
    """NumPy's own, row by row, whatever scale and offset."""
    dice = np.random.default_rng(0)
    a, b = dice.normal(size=(2, 3, 50))
    b += 0.5 * a
    expected = [np.corrcoef(one, two)[0, 1] for one, two in zip(a, b, strict=True)]
    np.testing.assert_allclose(correlations(a, b), expected)
    np.testing.assert_allclose(correlations(7 * a + 3, 0.1 * b - 5), expected)
    np.testing.assert_allclose(correlations(-a, b), [-each for each in expected])
    one, two = (torch.from_numpy(row[0]) for row in (a, b))
    assert pytest.approx(expected[0]) == correlation(one, two)


def test_what_never_changes_correlates_with_nothing() -> None:
    """Rounding of equal float32 values is no change."""
    flat = np.full((1, 4), 0.1) + np.array([0, 1e-8, 0, -1e-8])
    assert correlations(flat, np.arange(4.0)[None]).tolist() == [0.0]
    assert weighted_correlation(np.ones(3), np.arange(3.0), np.ones(3)) == 0.0


def test_weights_are_copies() -> None:
    """A sample of weight 3 counts as three of it, and one of weight 0 as none."""
    dice = np.random.default_rng(1)
    x, y = dice.normal(size=(2, 20))
    times = dice.integers(0, 4, 20)
    expected = np.corrcoef(x.repeat(times), y.repeat(times))[0, 1]
    assert pytest.approx(expected) == weighted_correlation(x, y, times.astype(float))


def test_a_ratio_of_rates() -> None:
    """Of many trials it is that of the normal approximation to the logarithm of the ratio."""
    ours, theirs = (800, 2000), (400, 2000)
    spread = (1 / 800 - 1 / 2000 + 1 / 400 - 1 / 2000) ** 0.5
    found = np.log(rate_ratio(ours, theirs, 20_000, seed=0))
    expected = np.log(2) + np.array([-1.96, 1.96]) * spread
    np.testing.assert_allclose(found, expected, atol=0.08 * spread)
    low, high = rate_ratio((0, 5), (0, 5), 2000, seed=0)
    assert low < 0.1 < 10 < high


def test_wilsons_interval_holds_the_rate() -> None:
    """Of every rate, to the last bit: rounding once put all of 24 above its own upper end."""
    for n in (1, 3, 7, 24, 256, 1000):
        for hits in range(n + 1):
            low, high = wilson(hits, n)
            assert 0 <= low <= hits / n <= high <= 1
