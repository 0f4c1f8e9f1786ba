"""Correlations of token losses against the textbook formulas."""

import numpy as np
import pytest

from lacewing.sweep.correlation import SMALLEST, correlate


def drawn(shared: float, seed: int = 0, sequences: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Losses of two models with a shared part in their logarithms."""
    dice = np.random.default_rng(seed)
    common, first, second = dice.normal(size=(3, sequences, 16))
    mix = np.sqrt(shared), np.sqrt(1 - shared)
    return tuple(np.exp(mix[0] * common + mix[1] * own) for own in (first, second))  # type: ignore[return-value]


def test_against_numpy() -> None:
    """Pearson is that of the logarithms; Spearman is Pearson of the ranks."""
    first, second = drawn(0.6)
    found = correlate(first, second)
    ranks = [np.argsort(np.argsort(x.ravel())) for x in (first, second)]
    expected = np.corrcoef(np.log(first).ravel(), np.log(second).ravel())[0, 1]
    assert pytest.approx(expected) == found.pearson
    assert pytest.approx(np.corrcoef(*ranks)[0, 1]) == found.spearman
    assert (first.size, 200) == (found.tokens, found.sequences)


def test_ties_have_their_mean_rank() -> None:
    """1 2 2 4 against 1 2 3 4: ranks 1 2.5 2.5 4, by hand 4.5 / sqrt(4.5 x 5)."""
    found = correlate(np.array([[1.0, 2, 2, 4]]), np.array([[1.0, 2, 3, 4]]))
    assert pytest.approx(4.5 / np.sqrt(4.5 * 5)) == found.spearman


def test_the_same_model_correlates_perfectly() -> None:
    """One, with an interval of nothing."""
    first, _ = drawn(0.5)
    found = correlate(first, 3 * first)
    assert pytest.approx([1, 1, 1]) == [found.pearson, *found.pearson_interval]
    assert pytest.approx([1, 1, 1]) == [found.spearman, *found.spearman_interval]


def test_intervals_cover() -> None:
    """Of 12 pairs of models with correlation 0.5, most intervals hold 0.5."""
    held = [
        low <= 0.5 <= high
        for seed in range(12)
        for low, high in [correlate(*drawn(0.5, seed, 40)).pearson_interval]
    ]
    assert 10 <= sum(held)


def test_tiny_losses_count_as_the_smallest() -> None:
    """A loss of 0 has no logarithm; it counts as 1e-4 nats."""
    first, second = drawn(0.6)
    first[0, :] = 0
    floored = np.maximum(first, SMALLEST)
    assert correlate(floored, second).pearson == correlate(first, second).pearson
