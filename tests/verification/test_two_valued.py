"""Two-valued nodes: the step and the way there, circuits with edits, and the planted circuit."""

import math

import pytest
import torch
from test_controls import evidence
from torch import Tensor

import micro
from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.prefixes import UniquePrefixes
from lacewing.circuit.prompts import PromptSets
from lacewing.model.hooks import edit
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.model.transformer import SiteHook
from lacewing.tasks.scoring import HALF_CHANCE
from lacewing.verification import two_valued as features
from micro import make


def test_psi_goes_from_the_identity_to_a_step() -> None:
    """Itself at 1, always through both values, and at 0 the nearer of the two, in any order."""
    x = torch.tensor([-1.0, 0.9, 1.1, 2.0, 9.0])
    low, high = torch.tensor(0.0), torch.tensor(2.0)
    assert torch.allclose(x, features.psi(x, low, high, 1.0))
    for t in (1.0, 0.7, 0.1, 0.003):
        for fixed in (low, high):
            assert pytest.approx(float(fixed)) == float(features.psi(fixed, low, high, t))
    assert [0.0, 0.0, 2.0, 2.0, 2.0] == features.psi(x, low, high, 0.0).tolist()
    assert [0.0, 0.0, 2.0, 2.0, 2.0] == features.psi(x, high, low, 0.0).tolist()
    nearly = features.psi(x, low, high, 1e-3)
    assert torch.allclose(features.psi(x, low, high, 0.0), nearly, atol=0.01)


def test_a_node_of_one_value_stays_finite() -> None:
    """Both values equal: the value, and gradients without nan."""
    level = torch.tensor(3.0, requires_grad=True)
    for t in (0.5, 0.0):
        out = features.psi(torch.tensor([3.0, 3.0]), level, level, t)
        assert torch.allclose(torch.tensor([3.0, 3.0]), out, atol=1e-4)
        out.sum().backward()  # type: ignore[no-untyped-call]
        assert level.grad is not None
        assert bool(level.grad.isfinite())


def test_thresholds_and_means_by_hand() -> None:
    """A point of the range; the means on both sides; one value is both."""
    x = torch.tensor([0.0, 1.0, 2.0, 4.0])
    assert 1.0 == features.threshold(x, 0.25)
    assert (0.5, 3.0) == features.split(x, 1.0)
    assert (2.0, 2.0) == features.split(torch.tensor([2.0, 2.0]), 2.0)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_compiled_circuit_with_edits_is_the_masked_model_with_hooks(
    busy: Model, share: float
) -> None:
    """Values and gradients of an edit at every site, with few and with many live channels."""
    generator = torch.Generator().manual_seed(1)
    masks = {
        key: torch.rand(width, generator=generator) < share
        for key, width in site_widths(busy.network.config).items()
    }
    tokens = torch.randint(200, (6, 9), generator=generator)
    at = torch.tensor([8, 3, 5, 8, 0, 7])
    slopes = {key: torch.full((len(m),), 0.8, requires_grad=True) for key, m in masks.items()}

    def masked(key: str) -> SiteHook:
        return lambda x: torch.where(masks[key], x * slopes[key] + 0.1, busy.means[key])

    def live(key: str) -> SiteHook:
        return lambda x: x * slopes[key][masks[key]] + 0.1

    def gradients(logits: Tensor) -> list[Tensor | None]:
        loss = logits.log_softmax(-1)[:, 7].sum()
        return list(torch.autograd.grad(loss, list(slopes.values()), allow_unused=True))

    with edit(busy.network, {key: masked(key) for key in masks}):
        expected = busy.network(tokens, at=at)
    compiled = CompiledCircuit(busy.network, masks, busy.means, {key: live(key) for key in masks})
    actual = compiled.logits(UniquePrefixes.every(tokens, at))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(compiled(tokens, at), actual.detach())
    for key, a, b in zip(masks, gradients(actual), gradients(expected), strict=True):
        zero = torch.zeros(len(masks[key]))
        given = [zero if g is None else g for g in (a, b)]
        torch.testing.assert_close(*given, rtol=1e-3, atol=1e-3)


def test_the_planted_nodes_are_two_valued(
    model: Model, sets: PromptSets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted circuit says X or Y: two values a node are enough for it."""
    monkeypatch.setattr(features, "STEPS", 100)
    circuit = make(model, micro.PLANTED)
    (finding,) = features.run(model, circuit, evidence(model, sets), True)
    assert "features.two_valued" == finding.name
    assert finding.passed
    assert finding.value < HALF_CHANCE
    assert len(sets.test) == finding.n
    assert "each of its 15 nodes" in finding.meaning


def test_as_they_are_the_nodes_keep_the_loss(model: Model, sets: PromptSets) -> None:
    """No node two-valued, or all at t = 1: the circuit's own loss; all at one value: chance."""
    two = features.TwoValued(model, make(model, micro.PLANTED))
    none, every = torch.zeros(15, dtype=torch.bool), torch.ones(15, dtype=torch.bool)
    levels = features.Levels(torch.full((15,), -1.0), torch.full((15,), 1.0))
    own = two.losses(sets.test, levels, none)
    assert float(own.mean()) < micro.TARGET
    assert torch.allclose(own, two.losses(sets.test, levels, every, 1.0), atol=1e-4)
    flat = features.Levels(torch.zeros(15), torch.zeros(15))
    assert pytest.approx(math.log(2), abs=0.02) == float(two.losses(sets.test, flat, every).mean())


def test_training_the_levels_helps(model: Model, sets: PromptSets) -> None:
    """From random thresholds, trained levels have less loss than where they started."""
    two = features.TwoValued(model, make(model, micro.PLANTED))
    start = features.random_levels(two.observed(sets.train), 3)
    every = torch.ones(15, dtype=torch.bool)
    before = float(two.losses(sets.test, start, every).mean())
    after = features.train_levels(two, start, sets.train, 0)
    assert float(two.losses(sets.test, after, every).mean()) < before
