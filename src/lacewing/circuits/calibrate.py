"""Fit a scale, and a bias for each of few answers, to the logits of a circuit (paper A.5 and F.2).

A single shift for all logits would cancel in the softmax, so the bias is per answer token. What is
left of the logits is the margin of the right answer over the wrong one, so the fit is a logistic
regression with few unknowns; the paper takes 16 steps of LBFGS, here Newton's method ends in fewer.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from lacewing.circuits.ablate import Masks, ablated_logits, calibrated
from lacewing.circuits.circuit import Calibration
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import two_answer_loss

STEPS = 30
"""Newton steps at most."""
FEW = 4
"""Answer tokens up to which each gets a bias: with hundreds, biases would learn the answers."""
RIDGE = 1e-3
"""Cost of a scale away from 1 and of a bias, so that answers without error get finite ones."""


def calibrate(model: Model, prompts: Prompts, masks: Masks) -> Calibration:
    """The scale and biases that minimise the circuit's task loss on some prompts.

    Args:
        model: The model.
        prompts: Prompts to fit on: those a circuit is chosen on, never those it is judged on.
        masks: The circuit.
    """
    return fit(ablated_logits(model, prompts, masks), prompts)


def calibrated_loss(logits: Float[Tensor, "sequence vocab"], prompts: Prompts) -> float:
    """The mean task loss, in nats, with the calibration that is best for these very prompts."""
    return float(two_answer_loss(calibrated(logits, fit(logits, prompts)), prompts).mean())


def refitted_loss(
    run: Callable[[Prompts], Float[Tensor, "sequence vocab"]], fitted_on: Prompts, prompts: Prompts
) -> Float[Tensor, " sequence"]:
    """Loss per sequence, in nats, with the calibration that is best on other prompts.

    What is ablated, and how, shifts all prompts' logits alike. That says nothing of what is known
    about a prompt, and a handful of numbers fitted elsewhere takes it out again.

    Args:
        run: Gives the logits at the answer position.
        fitted_on: Prompts for the calibration.
        prompts: What the loss is of.
    """
    calibration = fit(run(fitted_on), fitted_on)
    return two_answer_loss(calibrated(run(prompts), calibration), prompts)


def fit(logits: Float[Tensor, "sequence vocab"], prompts: Prompts) -> Calibration:
    """The scale and biases that minimise the mean task loss of given logits.

    A scale never turns answers around: where a negative one would be best, it is zero.

    Args:
        logits: At the answer position.
        prompts: What they were computed on.
    """
    tokens, seen = torch.unique(torch.stack([prompts.answer, prompts.other]), return_inverse=True)
    rows, names = torch.arange(len(logits)), tokens.tolist() if len(tokens) <= FEW else []
    features = torch.zeros(len(logits), 1 + len(names), dtype=torch.float64)
    features[:, 0] = (logits[rows, prompts.answer] - logits[rows, prompts.other]).double()
    if names:
        features[rows, 1 + seen[0]] += 1
        features[rows, 1 + seen[1]] -= 1
    unknown = _newton(features)
    if unknown[0] < 0:
        features[:, 0] = 0
        unknown = _newton(features)
        unknown[0] = 0
    return Calibration(float(unknown[0]), dict(zip(names, unknown[1:].tolist(), strict=True)))


def _newton(features: Float[Tensor, "sequence column"]) -> Float[Tensor, " column"]:
    """Minimise  mean softplus(-features x) + ridge / 2 |x - (1, 0, ...)|^2."""
    prior = torch.zeros(features.shape[1], dtype=features.dtype)
    prior[0] = 1
    ridge = RIDGE * torch.eye(len(prior), dtype=features.dtype)

    def cost(x: Tensor) -> float:
        fall = softplus(-(features @ x)).mean()
        return float(fall + 0.5 * RIDGE * (x - prior).square().sum())

    x, now = prior, cost(prior)
    for _ in range(STEPS):
        wrong = torch.sigmoid(-(features @ x))
        slope = -(features.T @ wrong) / len(features) + ridge @ (x - prior)
        bend = (features.T * (wrong * (1 - wrong))) @ features / len(features) + ridge
        step = torch.linalg.solve(bend, slope)
        share = 1.0
        while (found := cost(x - share * step)) > now and share > 1e-6:
            share /= 2
        if now - found < 1e-9:
            break
        x, now = x - share * step, found
    return x
