"""Verification on the model worked out by hand, its thresholds, and the intervals it quotes."""

import math

import numpy as np
import pytest

import micro
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import MismatchError
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.statistics import bootstrap, geometric_mean, interval, pair_means
from lacewing.tasks.scoring import HALF_CHANCE
from lacewing.verification.random_circuits import random_nodes
from lacewing.verification.short import _necessary, _sufficient
from lacewing.verification.verify import verify
from micro import make


def test_the_planted_circuit_is_sufficient_and_necessary(model: Model, sets: PromptSets) -> None:
    """Alone it keeps the loss, without it the model is at chance; random circuits do neither."""
    found = verify(
        model, make(model, micro.PLANTED), sets.test, quick=True, random_circuits=8, quiet=True
    )
    assert found.sufficient.verdict
    assert found.sufficient.loss < micro.TARGET
    assert found.necessary.verdict
    assert pytest.approx(math.log(2), abs=0.01) == found.necessary.loss
    assert (8, 8) == (found.sufficient.random.count, found.necessary.random.count)
    assert pytest.approx(math.log(2), abs=0.05) == found.sufficient.random.mean
    assert found.necessary.random.mean < HALF_CHANCE
    assert len(sets.test) == found.pairs


def test_half_of_the_circuit_is_not_enough(model: Model, sets: PromptSets) -> None:
    """One of two paths is above the target, and without it the other goes on."""
    found = verify(
        model, make(model, micro.PATH_A), sets.test, quick=True, random_circuits=3, quiet=True
    )
    assert not found.sufficient.verdict
    assert not found.necessary.verdict
    assert micro.TARGET < found.sufficient.loss < HALF_CHANCE


def test_a_random_circuit_is_neither(model: Model, sets: PromptSets) -> None:
    """As many nodes per site, but others: chance alone, and the model does without them."""
    planted = make(model, micro.PLANTED)
    nodes = random_nodes(model, planted, 1, 1)[0]
    kept = {key: channels.tolist() for key, channels in nodes.items()}
    found = verify(model, make(model, kept), sets.test, quick=True, random_circuits=3, quiet=True)
    assert not found.sufficient.verdict
    assert not found.necessary.verdict


def test_the_full_set(model: Model, sets: PromptSets) -> None:
    """All nodes: alone the full model, without them chance; but its controls are itself."""
    everything = {k: list(range(w)) for k, w in site_widths(model.network.config).items()}
    found = verify(
        model, make(model, everything), sets.test, quick=True, random_circuits=2, quiet=True
    )
    assert found.full == found.sufficient.loss
    assert found.necessary.interval[0] > HALF_CHANCE
    assert pytest.approx(math.log(2), abs=0.01) == found.necessary.loss
    assert found.necessary.random.lowest == found.necessary.random.highest


def test_one_seed_gives_one_verification(model: Model, sets: PromptSets) -> None:
    """Two runs agree to the last digit; another seed draws other controls."""
    circuit = make(model, micro.PLANTED)
    a, b, c = (
        verify(
            model,
            circuit,
            sets.test.take(range(8)),
            seed=s,
            quick=True,
            random_circuits=2,
            quiet=True,
        )
        for s in (1, 1, 2)
    )
    assert a.as_json() == b.as_json()
    assert a.necessary.random != c.necessary.random


def test_random_circuits_have_the_same_size_per_site(model: Model) -> None:
    """As many different channels at every site, sorted, none the circuit's; the draws differ."""
    circuit = make(model, micro.PLANTED)
    drawn = random_nodes(model, circuit, 0, 20)
    for nodes in drawn:
        assert {k: len(v) for k, v in circuit.nodes.items()} == {
            k: len(v) for k, v in nodes.items()
        }
        assert all(np.all(np.diff(channels) > 0) for channels in nodes.values())
        assert not any(set(nodes[key]) & set(kept) for key, kept in circuit.nodes.items())
    assert 20 == len({tuple(np.concatenate(list(nodes.values())).tolist()) for nodes in drawn})


def test_the_threshold_of_sufficiency() -> None:
    """The interval has to reach down to the target, and no random circuit may do as well."""
    flat = np.full(10, 0.1)
    for target, random, verdict in (
        (0.1, [0.5, 0.6], True),
        (0.0999, [0.5, 0.6], False),
        (0.2, [0.1, 0.6], False),
        (0.2, [0.1001, 0.6], True),
    ):
        found = _sufficient(flat, random, target, 0)
        assert verdict is found.verdict
        assert target == found.threshold
    wide = np.array([0.0, 0.3] * 5)  # mean 0.15, with an interval that reaches below 0.12
    assert _sufficient(wide, [0.6], 0.12, 0).verdict


def test_the_threshold_of_necessity() -> None:
    """The interval has to lie above half of chance, and above every random removal."""
    for loss, random, verdict in (
        (HALF_CHANCE + 1e-6, [0.1, 0.2], True),
        (HALF_CHANCE - 1e-6, [0.1, 0.2], False),
        (0.6, [0.1, 0.6], False),
        (0.6, [0.1, 0.5999], True),
    ):
        found = _necessary(np.full(10, loss), random, 0)
        assert verdict is found.verdict
        assert HALF_CHANCE == found.threshold
    wide = np.array([0.1, 0.7] * 5)  # mean 0.4, with an interval that reaches below the threshold
    assert not _necessary(wide, [0.1], 0).verdict


def test_another_model_is_refused(model: Model, sets: PromptSets) -> None:
    """A circuit is verified in its own model only."""
    with pytest.raises(MismatchError):
        verify(
            model, make(model, micro.PLANTED, model_id="f" * 16), sets.test, quick=True, quiet=True
        )


def test_bootstrap_intervals_cover() -> None:
    """Of 300 intervals about 95 % hold the true mean."""
    dice = np.random.default_rng(0)
    held = 0
    for seed in range(300):
        low, high = bootstrap(dice.exponential(1.0, 80), resamples=400, seed=seed)
        held += low <= 1.0 <= high
    assert 0.89 <= held / 300 <= 0.99


def test_statistics_by_hand(sets: PromptSets) -> None:
    """Means over both members of a pair; the central 95 %; exp of the mean logarithm."""
    import torch

    assert [1.5, 3.5] == pair_means(torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist()
    assert pytest.approx((2.5, 97.5)) == interval(np.arange(101.0))
    assert pytest.approx(4.0) == geometric_mean(np.array([2.0, 8.0]))
