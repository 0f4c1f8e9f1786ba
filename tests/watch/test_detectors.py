"""The promise of the detectors, by simulation and by what their sums have to be."""

import numpy as np

from lacewing.watch.detectors import BETS, LOOK, Detectors


def run_to_alarm(detectors: Detectors, draw: np.random.Generator, mean: float, most: int) -> int:
    """Looks until the first alarm; `most` where there was none."""
    units = len(detectors.levels)
    for number in range(1, most + 1):
        x = draw.beta(2 * mean, 2 * (1 - mean), size=units)
        if detectors.look(x) >= 1:
            return number
    return most


def test_the_promise_is_kept_at_the_edge_of_the_claim() -> None:
    """Means exactly at their levels, the worst that is claimed: the mean run is as promised."""
    levels, weights = np.full(6, 0.2), np.full(6, 1 / 6)
    draw, promised = np.random.default_rng(0), 40
    runs = [
        run_to_alarm(Detectors(levels, weights, promised * LOOK), draw, 0.2, 10 * promised)
        for _ in range(150)
    ]
    mean, error = np.mean(runs), np.std(runs) / np.sqrt(len(runs))
    # Runs are cut at ten times the promise, so this mean is below the true one.
    assert mean - 2 * error > promised


def test_a_shift_of_one_in_six_is_found_soon() -> None:
    """And what shifted adds most to the average, since about when it did."""
    levels, weights = np.full(6, 0.2), np.full(6, 1 / 6)
    draw, detectors = np.random.default_rng(1), Detectors(levels, weights)
    for _ in range(50):
        assert detectors.look(draw.beta(0.3, 1.7, size=6)) < 1
    late = 0
    while detectors.level < 1:
        x = draw.beta(0.3, 1.7, size=6)
        x[4] = 0.8
        detectors.look(x)
        late += 1
    assert late < 12
    assert detectors.shares.argmax() == 4
    assert abs(int(detectors.since[4]) - 50 * LOOK) <= 15 * LOOK


def test_nothing_seen_is_no_evidence() -> None:
    """Looks without a place leave the sums as they are, however many there are."""
    detectors = Detectors(np.array([0.3]), np.array([1.0]))
    for _ in range(1000):
        assert detectors.look(np.array([np.nan])) == 0
    detectors.look(np.array([1.0]))
    bets = np.array(BETS) / 0.3
    assert np.allclose(np.exp(detectors.sums[0]), 1 + bets * 0.7)
    detectors.look(np.array([np.nan]))
    assert np.allclose(np.exp(detectors.sums[0]), 1 + bets * 0.7)
    detectors.restart()
    assert detectors.level == 0


def test_tokens_are_turned_into_looks() -> None:
    """The threshold is the promised tokens over those of a look, and never below one look."""
    one = np.array([1.0])
    assert Detectors(np.array([0.5]), one, 200_000).threshold == 200_000 / LOOK
    assert Detectors(np.array([0.5]), one, 100).threshold == 1.0
