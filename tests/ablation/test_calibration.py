"""The calibration of logits against a slow optimiser, and circuits that are found with it."""

import math

import pytest
import torch
from torch import Tensor

import micro
from lacewing.ablation.calibration import RIDGE, calibrated_loss, fit, refitted, refitted_loss
from lacewing.ablation.editor import CircuitEditor
from lacewing.circuit.calibration import calibrated
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets
from lacewing.model.store import Model
from lacewing.pruning.elimination import certify, measured, minimise
from lacewing.pruning.prune import prune
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import two_answer_loss
from lacewing.tasks.task import Task

TASK = Task(name="first_letter", generate=lambda file, random: ())


def noisy(prompts: Prompts, strength: float, shift: float = 0.0) -> Tensor:
    """Logits that favour the right answer by `strength` on average, with noise of 1."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2 * len(prompts), 258, generator=generator)
    logits[torch.arange(len(logits)), prompts.answer] += strength
    logits[:, int(prompts.answer[0])] += shift
    return logits


@pytest.mark.parametrize(("strength", "shift"), [(0.5, 0.0), (1.0, 3.0), (3.0, -5.0)])
def test_the_fit_is_the_minimum(sets: PromptSets, strength: float, shift: float) -> None:
    """LBFGS with a line search, over all logits, ends where Newton's method does."""
    prompts = sets.test
    logits = noisy(prompts, strength, shift)
    found = fit(logits, prompts)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(258, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scale, bias], max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        fall = two_answer_loss(logits * scale + bias, prompts).mean()
        fall = fall + 0.5 * RIDGE * ((scale - 1) ** 2 + bias.square().sum())
        fall.backward()  # type: ignore[no-untyped-call]
        return fall

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    assert float(scale.detach()) == pytest.approx(found.scale, abs=2e-3)
    expected = {token: float(bias.detach()[token]) for token in found.bias}
    assert expected == pytest.approx(found.bias, abs=5e-3)
    assert calibrated_loss(logits, prompts) < float(two_answer_loss(logits, prompts).mean())


def test_a_refitted_loss_is_fitted_elsewhere(sets: PromptSets) -> None:
    """The calibration is that of the other prompts, whatever would be best for these."""

    def run(prompts: Prompts) -> Tensor:
        return noisy(prompts, 1.0, shift=3.0 if prompts is sets.validation else -5.0)

    found = refitted_loss(run, sets.validation, sets.test)
    elsewhere = fit(run(sets.validation), sets.validation)
    expected = two_answer_loss(calibrated(run(sets.test), elsewhere), sets.test)
    assert torch.equal(expected, found)
    assert float(found.mean()) > calibrated_loss(run(sets.test), sets.test) + 0.1


def test_logits_that_overflow_prefer_nothing(sets: PromptSets) -> None:
    """Ablation under frozen norms can end in NaN: that is a loss of chance, not none."""
    some = sets.validation
    logits = torch.full((2 * len(some), 300), math.nan)
    loss = refitted(logits, some, logits, some)
    assert loss.allclose(torch.tensor(math.log(2)), atol=1e-3), loss


def test_answers_are_never_turned_around(sets: PromptSets) -> None:
    """Where every answer is wrong, the best scale that is allowed is none."""
    found = fit(noisy(sets.test, -4.0), sets.test)
    assert 0 == found.scale


def test_answers_without_error_get_a_finite_scale(sets: PromptSets) -> None:
    """Nothing bounds the scale but its own cost, and the loss falls."""
    logits = noisy(sets.test, 9.0)
    found = fit(logits, sets.test)
    assert 1 < found.scale < 50
    losses = two_answer_loss(calibrated(logits, found), sets.test)
    assert losses.mean() < two_answer_loss(logits, sets.test).mean()


def test_a_calibrated_circuit_is_minimal_with_its_calibration(
    model: Model, sets: PromptSets
) -> None:
    """It needs fewer nodes than one without, each of which it needs; test prompts stay unseen."""
    settings = {"target_loss": micro.TARGET, "prompts": 2048, "batch": 16}
    plain = prune(model, TASK, PruneConfig(**settings, calibrate=False), sets=sets, quiet=True)  # type: ignore[arg-type]
    circuit = prune(model, TASK, PruneConfig(**settings, calibrate=True), sets=sets, quiet=True)  # type: ignore[arg-type]
    smaller = minimise(model, circuit, sets.validation, quiet=True)
    assert smaller.certificate
    assert smaller.certificate.minimal
    assert smaller.n_nodes < plain.n_nodes
    final = measured(model, smaller, sets)
    editor = CircuitEditor(model.network, final, model.means)
    assert fit(editor.logits(sets.validation), sets.validation) == final.calibration
    assert smaller.certificate == certify(editor, sets.validation)
    logits = calibrated(editor.logits(sets.test), final.calibration)
    loss = float(two_answer_loss(logits, sets.test).mean())
    assert loss == pytest.approx(final.losses["circuit"])
    assert loss < 2 * micro.TARGET
