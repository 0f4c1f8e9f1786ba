"""Verification on the model worked out by hand, its thresholds, and the intervals it quotes."""

import math

import numpy as np
import pytest

import micro
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import MismatchError
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.statistics import bootstrap, geometric_mean, interval, pair_means
from lacewing.tasks.scoring import HALF_CHANCE
from lacewing.verification import short
from lacewing.verification.random_circuits import random_nodes
from lacewing.verification.short import _necessary, _sufficient, short_test
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


def flat(*losses: float) -> list[np.ndarray]:
    """Random circuits with the same loss on every pair."""
    return [np.full(10, loss) for loss in losses]


def test_the_threshold_of_sufficiency() -> None:
    """The whole interval has to reach the target, and no random circuit may do as well."""
    for target, random, verdict in (
        (0.1, (0.5, 0.6), True),
        (0.0999, (0.5, 0.6), False),
        (0.2, (0.1, 0.6), False),
        (0.2, (0.1001, 0.6), True),
    ):
        found = _sufficient(np.full(10, 0.1), flat(*random), target, 0)
        assert verdict is found.verdict
        assert target == found.threshold
    wide = np.array([0.0, 0.3] * 5)  # mean 0.15, with an interval from 0.06 to 0.24
    verdicts = [_sufficient(wide, flat(0.6), target, 0).verdict for target in (0.05, 0.14, 0.25)]
    assert [False, None, True] == verdicts


def test_the_threshold_of_necessity() -> None:
    """The whole interval has to lie above half of chance, and above every random removal."""
    for loss, random, verdict in (
        (HALF_CHANCE + 1e-6, (0.1, 0.2), True),
        (HALF_CHANCE - 1e-6, (0.1, 0.2), False),
        (0.6, (0.1, 0.6), False),
        (0.6, (0.1, 0.5999), True),
    ):
        found = _necessary(np.full(10, loss), flat(*random), 0)
        assert verdict is found.verdict
        assert HALF_CHANCE == found.threshold
    wide = np.array([0.1, 0.7] * 5)  # mean 0.4, with an interval that reaches below the threshold
    assert _necessary(wide, flat(0.1), 0).verdict is None


def test_fewer_pairs_pass_no_more_easily() -> None:
    """The README's circuit: 0.173 nats against 0.15 is unresolved on few pairs, fails on many."""
    pairs = np.random.default_rng(0).exponential(0.173, 4096)
    verdicts = [_sufficient(pairs[:n], [pairs[:n] + 1], 0.15, 0).verdict for n in (16, 4096)]
    assert [None, False] == verdicts


def test_a_random_circuit_has_to_be_beaten_by_a_margin() -> None:
    """The whole interval of the difference, over pairs; rounding alone is none."""
    dice = np.random.default_rng(0)
    own, noise = dice.normal(0.1, 0.01, 64), dice.normal(0, 0.05, 64)
    for random, verdict in (
        (own + 0.05 + noise, True),
        (own + 0.004 + noise, None),
        (own - 0.05 + noise, False),
        (own + 3e-9, False),
    ):
        found = _sufficient(own, [own + 1, random], 0.15, 0)
        assert verdict is found.verdict
        assert found.margin is not None
        assert found.margin[0] <= float((random - own).mean()) <= found.margin[1]
    assert _necessary(own + 0.5, [own, own + 0.5 + noise], 0).verdict is None


def test_no_node_is_no_circuit(model: Model, sets: PromptSets) -> None:
    """Whatever its loss is, and though random circuits of no node are as bad."""
    nothing = make(model, {}, config=PruneConfig(target_loss=0.69))
    found = short_test(model, nothing, sets.test, random_circuits=2, quiet=True)
    assert found.sufficient.verdict is False
    assert found.sufficient.reason.startswith("no circuit: no node is kept")
    assert "0 of 2 short tests; fails: sufficient, necessary" == found.verdict


def test_what_older_versions_let_pass_is_judged_again() -> None:
    """Their intervals only had to reach the target, their losses to be less than a random one."""

    def read(low: float, high: float, lowest: float, verdict: bool = True) -> bool | None:
        saved = micro.SHORT_TEST["sufficient"] | {"interval": [low, high], "verdict": verdict}
        saved |= {"random": saved["random"] | {"lowest": lowest}, "loss": (low + high) / 2}
        del saved["margin"]
        return short.Test.from_json(saved, at_most=True).verdict

    assert read(0.08, 0.12, 0.8) is True
    assert read(0.141, 0.210, 1.246) is None
    assert read(0.0266, 0.0267, 0.02666657977) is None
    assert read(0.08, 0.12, 0.8, verdict=False) is False


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
