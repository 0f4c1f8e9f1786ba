"""Seeds against each other, the core they share, and searches in which nodes are forbidden."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_controls import SETTINGS, TASK, evidence

import micro
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import DataError
from lacewing.model.store import Model
from lacewing.pruning.node_search import Wanted
from lacewing.pruning.prune import prune_many
from lacewing.verification import searches, stability
from lacewing.verification.finding import verdict
from lacewing.verification.kept import Kept
from micro import kept, make
from micro import prune_config as config

NEVER = {"0.attn_in": [1, 2, 3], "0.attn_q": [0], "0.attn_k": [0], "0.attn_v": [0]}
"""What only path A has."""


def test_forbidden_nodes_are_never_kept(model: Model, sets: PromptSets) -> None:
    """Without the nodes of one path, the other is found; with those of both, nothing is."""
    forbidden = micro.nodes_of(NEVER, model.network.config)
    both = micro.nodes_of(NEVER | {"0.mlp_neuron": [0]}, model.network.config)
    easy = config(target_loss=0.25, prompts=1024)
    found, nothing = prune_many(
        model,
        [
            Wanted(TASK, easy, sets, forbidden=forbidden),
            Wanted(TASK, easy, sets, anyway=True, forbidden=both),
        ],
        quiet=True,
    )
    assert isinstance(found, Circuit)
    assert not any(set(kept(found).get(key, ())) & set(some) for key, some in NEVER.items())
    assert [0] == kept(found)["0.mlp_neuron"]
    assert found.losses["validation"] <= 0.25
    assert isinstance(nothing, DataError)


def test_a_search_starts_anyway_where_it_is_told_to(model: Model, sets: PromptSets) -> None:
    """Above the target the full model ends a search before it begins, unless told otherwise."""
    hard = config(target_loss=1e-4, prompts=64)
    refused, tried = prune_many(
        model, [Wanted(TASK, hard, sets), Wanted(TASK, hard, sets, anyway=True)], quiet=True
    )
    assert "has not learned" in str(refused)
    assert "no circuit of first_letter reaches" in str(tried)


def test_seeds_of_the_planted_circuit_agree(model: Model, sets: PromptSets) -> None:
    """Both seeds find the same nodes: overlap 1, all of them core, and nothing in reserve."""
    circuit = make(model, micro.PLANTED, config=dataclasses.replace(SETTINGS, prompts=2048))
    two = dataclasses.replace(evidence(model, sets), seeds=2)
    found = stability.measure(model, circuit, two, quiet=True)
    assert (1, 2) == found.seeds
    assert (15, 15) == found.sizes
    assert 1.0 == found.overlap == found.shared
    assert (1.0, 1.0) == found.interval
    assert found.random < 0.3
    assert circuit.node_names() == list(found.core)
    assert 15 == found.core_kept
    assert pytest.approx(math.log(2), abs=0.01) == found.without_core
    assert found.backup is None
    finding = stability.finding(found, circuit)
    assert finding.passed
    assert "core 15 nodes, 15 of them here" in finding.meaning
    assert "no circuit reaches 0.05" in finding.meaning


def test_more_seeds_go_on_from_those_that_were_kept(
    model: Model, sets: PromptSets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each seed's circuit is kept as it is found; asked for more, only new ones are searched."""
    circuit = make(model, micro.PLANTED, config=SETTINGS)
    dataclasses.replace(circuit, pairs=sets.test.pairs).save(tmp_path / "circuit")
    asked: list[int] = []

    def counted(model: Model, wanted: list[Wanted], **more: Any) -> list[Circuit | DataError]:
        asked.extend(one.config.seed for one in wanted)
        return prune_many(model, wanted, **more)

    monkeypatch.setattr(searches, "prune_many", counted)
    found = []
    for seeds in (2, 3, 3):
        kept = Kept(tmp_path / "circuit", {})  # read anew, as by the next command
        some = dataclasses.replace(evidence(model, sets), seeds=seeds, kept=kept)
        found.append(stability._other_seeds(model, circuit, some, seeds, True))
    assert [1, 2, 3] == asked
    assert [[1, 2], [1, 2, 3], [1, 2, 3]] == [list(nodes) for nodes in found]
    for key, channels in found[1][3].items():
        assert channels.tolist() == found[2][3][key].tolist()


def test_a_seed_without_a_circuit_is_not_asked_again(
    model: Model, sets: PromptSets, tmp_path: Path
) -> None:
    """That it found none is kept too, and it is none of those that are compared."""
    circuit = make(model, micro.PLANTED, config=SETTINGS)
    dataclasses.replace(circuit, pairs=sets.test.pairs).save(tmp_path / "circuit")
    prompts = dataclasses.replace(
        evidence(model, sets), seeds=2, kept=Kept(tmp_path / "circuit", {})
    )
    for seed, nodes in ((1, circuit.nodes), (2, stability.NONE)):
        stability._write(prompts.kept, seed, nodes)
    found = stability._other_seeds(model, circuit, prompts, 2, True)
    assert [1] == list(found)
    assert micro.PLANTED == {key: some.tolist() for key, some in found[1].items() if len(some)}


def test_overlap_by_hand() -> None:
    """Shared over either; a circuit with itself is no pair; two empty circuits are alike."""
    kept = np.array([[1, 1, 1, 0], [0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=bool)
    overlaps = stability._jaccard(kept)
    assert [1.0, 0.5, 1 / 3, 0.0] == overlaps[0].tolist()
    assert 1.0 == overlaps[3, 3]
    assert pytest.approx((0.5 + 1 / 3 + 0.0) / 3) == stability._between(overlaps, np.arange(3))
    assert math.isnan(stability._between(overlaps, np.array([2, 2])))


def test_the_interval_holds_the_overlap_and_narrows() -> None:
    """Resampled circuits: around the mean, and narrower with more of them."""
    dice = np.random.default_rng(0)
    overlaps = stability._jaccard(dice.random((40, 60)) < 0.5)
    wide, narrow = (stability._interval(overlaps[:n, :n], 0) for n in (6, 40))
    for count, (low, high) in ((6, wide), (40, narrow)):
        assert low < stability._between(overlaps, np.arange(count)) < high
    assert narrow[1] - narrow[0] < wide[1] - wide[0]


@pytest.mark.parametrize(
    ("keeps", "asked"), [(0.95, 7), (0.05, 7), (0.66, 10)], ids=["alike", "unlike", "between"]
)
def test_seven_seeds_are_enough_where_they_settle_it(
    model: Model, sets: PromptSets, keeps: float, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten are searched only where the overlap of seven may lie on either side of the threshold."""
    dice, counts = np.random.default_rng(5), []
    rows = dice.random((10, 300)) < keeps

    def drawn(model: Model, circuit: Any, prompts: Any, count: int, quiet: bool) -> dict[int, Any]:
        counts.append(count)
        return dict.fromkeys(range(count), stability.NONE)

    monkeypatch.setattr(stability, "_other_seeds", drawn)
    monkeypatch.setattr(stability, "_matrix", lambda model, found: rows[: len(found)])
    circuit = make(model, micro.PLANTED, config=SETTINGS)
    prompts = dataclasses.replace(evidence(model, sets), seeds=10)
    ten = stability._enough_seeds(model, circuit, prompts, True)
    assert asked == len(ten[0]) == max(counts)
    assert (ten[1][0] >= 0.5) == (keeps > 0.7)


def test_an_early_look_seldom_errs() -> None:
    """Where the mean overlap is the threshold, seven seeds say a side at most twice in a hundred.

    Of seeds that vary by themselves, and of seeds that fall into one of two circuits.
    """
    dice = np.random.default_rng(2)
    one, two = (
        np.r_[np.full(20, 0.95), np.full(20, 0.05)],
        np.r_[np.full(10, 0.9), np.full(40, 0.1)],
    )

    def alone(n: int) -> np.ndarray:
        return dice.random((n, 50)) < two

    def either(n: int) -> np.ndarray:
        return dice.random((n, 40)) < np.where(dice.random((n, 1)) < 0.5, one, one[::-1])

    for draw in (alone, either):
        true = stability._between(stability._jaccard(draw(1000)), np.arange(1000))
        ends = [stability._early_interval(stability._jaccard(draw(7))) for _ in range(500)]
        assert sum(not low <= true <= high for low, high in ends) <= 0.02 * len(ends) + 6


def test_one_circuit_is_no_comparison(model: Model) -> None:
    """With fewer than two circuits the finding is unresolved and says why."""
    found = stability.Stability(
        seeds=(4,),
        sizes=(15,),
        overlap=math.nan,
        interval=(math.nan, math.nan),
        random=math.nan,
        shared=1.0,
        core=(),
        core_kept=0,
        without_core=0.1,
        backup=None,
    )
    finding = stability.finding(found, make(model, micro.PLANTED))
    assert finding.passed is None
    assert "only 1 of the seeds" in finding.meaning
    assert "unresolved: stability.overlap" == verdict([(finding.name, finding.passed)])
