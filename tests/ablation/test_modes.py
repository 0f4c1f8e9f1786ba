"""Ways to ablate, against what they must come to on models worked out by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor

import micro
from lacewing.ablation import modes as modes
from lacewing.ablation.masks import masks_of, replacing
from lacewing.circuit.calibration import Calibration
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import DataError
from lacewing.model.hooks import edit, record
from lacewing.model.sites import FINAL_SITE, site_widths
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import two_answer_loss
from micro import make

NOTHING = micro.nodes_of({}, micro.micro().network.config)


def plain(model: Model, prompts: Prompts) -> Tensor:
    with torch.no_grad():
        return model.network(prompts.tokens, at=prompts.last)


@pytest.mark.parametrize("mode", ["mean", "zero", "resample", "frozen"])
def test_nothing_ablated_is_the_full_model(
    model: Model, sets: PromptSets, mode: modes.AblationMode
) -> None:
    """With every node free the four ways are the model itself."""
    everything = {k: np.arange(w) for k, w in site_widths(model.network.config).items()}
    found = modes.only(model, everything, sets.test, mode, 0)
    assert torch.allclose(plain(model, sets.test), found, atol=1e-5)


@pytest.mark.parametrize("mode", ["mean", "zero", "resample", "frozen"])
def test_circuits_that_share_passes_are_what_each_is_alone(
    model: Model, sets: PromptSets, mode: modes.AblationMode
) -> None:
    """Donors and norms that are found once for all give what they give found again for each."""
    few, network = sets.test.take(range(6)), model.network
    masks = [
        masks_of(network, micro.nodes_of(micro.PLANTED, network.config), c) for c in (False, True)
    ]
    running = [modes.Running(network, each) for each in masks]
    together = modes.ablated_together(model, few, running, mode, 3, network)
    for each, found in zip(masks, together, strict=True):
        assert torch.equal(modes.ablated(model, few, each, mode, 3, network), found)


def test_everything_from_a_donor_is_the_donor(model: Model, sets: PromptSets) -> None:
    """With no node free, each sequence answers as its donor, of whatever length."""
    donors = modes.some_donors(sets.test, 3)
    masks = masks_of(model.network, NOTHING)
    lengths = sets.test.last
    assert (lengths[donors] < lengths).any()
    assert (lengths[donors] > lengths).any()
    running = [modes.Running(model.network, masks)]
    (found,) = modes.interchanged(sets.test, donors, running)
    assert torch.allclose(plain(model, sets.test)[donors], found, atol=1e-5)


def test_donors(sets: PromptSets) -> None:
    """Never of the own pair, of either answer, and drawn by the seed; partners are the other."""
    donors = modes.some_donors(sets.test, 0)
    own = torch.arange(len(donors))
    assert not (donors // 2 == own // 2).any()
    same = float((donors % 2 == own % 2).double().mean())
    assert 0.3 < same < 0.7
    assert donors.equal(modes.some_donors(sets.test, 0))
    assert not donors.equal(modes.some_donors(sets.test, 1))
    assert [1, 0, 3, 2] == modes.partners(sets.test.take([0, 1])).tolist()
    with pytest.raises(DataError, match="only one"):
        modes.some_donors(sets.test.take([0]), 0)


def test_frozen_norms_are_those_of_the_full_model(model: Model, sets: PromptSets) -> None:
    """With only two final channels free, the last norm still divides by the full stream's size."""
    kept = NOTHING | {FINAL_SITE: np.array([4, 7])}
    few = sets.test.take(range(5))
    found = modes.only(model, kept, few, "frozen", 0)
    network = model.network
    with record(network, [FINAL_SITE]) as seen:
        plain(model, few)
    full, ablated = seen[FINAL_SITE][:, 0], model.means[FINAL_SITE].expand(10, -1).clone()
    scale = (full.square().mean(1, keepdim=True) + torch.finfo(torch.float32).eps).rsqrt()
    # What the circuit writes there: everything before the final site is at its mean.
    with modes.measured_norms(network) as scales:
        plain(model, few)
    assert torch.allclose(scale, scales["ln_f"][:, 0], rtol=1e-5)
    nothing = masks_of(network, NOTHING) | {FINAL_SITE: torch.ones(micro.WIDTH, dtype=torch.bool)}
    hooks = replacing(nothing, model.means)
    with edit(network, hooks), record(network, [FINAL_SITE]) as seen:
        plain(model, few)
    ablated[:, [4, 7]] = seen[FINAL_SITE][:, 0, [4, 7]]
    expected = (ablated * scale * network.ln_f.weight) @ network.lm_head.weight.T
    assert torch.allclose(expected, found, atol=1e-5)


def test_norms_are_themselves_again(model: Model, sets: PromptSets) -> None:
    """Frozen inside the block, and only there, also when it ends in an error."""
    few = sets.test.take(range(3))
    before = plain(model, few)
    with modes.frozen_norms(model.network, {"ln_f": torch.full((6, 1, 1), 0.5)}):
        assert not torch.allclose(before, plain(model, few))
    wrong = {"ln_f": torch.ones(5, 7)}
    with modes.frozen_norms(model.network, wrong), pytest.raises(RuntimeError):
        plain(model, few)
    assert before.equal(plain(model, few))


def test_a_circuit_runs_with_its_calibration(model: Model, sets: PromptSets) -> None:
    """The correction of its logits belongs to a circuit under every ablation."""
    circuit = make(model, micro.PLANTED)
    shifted = make(model, micro.PLANTED, calibration=Calibration(2.0, {80: 0.5, 81: 0.0}))
    for mode in modes.AblationMode.__args__:
        found = modes.alone(model, shifted, sets.test, mode, 0)
        expected = 2 * modes.alone(model, circuit, sets.test, mode, 0)
        expected[:, 80] += 0.5
        assert torch.allclose(expected, found, atol=1e-5)


def test_without_the_planted_nodes_nothing_is_known(model: Model, sets: PromptSets) -> None:
    """At their mean the loss is chance; a random prompt's values make half of them wrong."""
    planted = make(model, micro.PLANTED).nodes
    losses = {
        mode: float(
            two_answer_loss(modes.without(model, planted, sets.test, mode, 0), sets.test).mean()
        )
        for mode in modes.AblationMode.__args__
    }
    chance = float(np.log(2))
    assert pytest.approx(chance, abs=0.01) == losses["mean"]
    assert pytest.approx(chance, abs=0.01) == losses["frozen"]
    assert pytest.approx(chance, abs=0.01) == losses["zero"]
    assert losses["resample"] > 2 * chance
