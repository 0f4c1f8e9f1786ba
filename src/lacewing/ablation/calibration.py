"""Fit a scale, and a bias for each of few answers, to the logits of a circuit (paper A.5 and F.2).

A single shift for all logits would cancel in the softmax, so the bias is per answer token. What is
left of the logits is the margin of the right answer over the wrong one, so the fit is a logistic
regression with few unknowns; the paper takes 16 steps of LBFGS, here Newton's method ends in fewer.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lacewing.circuit.calibration import Calibration, calibrated
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import two_answer_loss

STEPS = 30
"""Newton steps at most."""
FEW = 4
"""Answer tokens up to which each gets a bias: with hundreds, biases would learn the answers."""
RIDGE = 1e-3
"""Cost of a scale away from 1 and of a bias, so that answers without error get finite ones."""


def calibrated_loss(logits: Float[Tensor, "sequence vocab"], prompts: Prompts) -> float:
    """The mean task loss, in nats, with the calibration that is best for these very prompts."""
    return float(two_answer_loss(calibrated(logits, fit(logits, prompts)), prompts).mean())


def loss_of(logits: Float[Tensor, "sequence vocab"], prompts: Prompts, calibrate: bool) -> float:
    """The mean task loss, in nats; with the calibration that is best for it, where asked for."""
    if calibrate:
        return calibrated_loss(logits, prompts)
    return float(two_answer_loss(logits, prompts).mean())


def least_loss(logits: Float[Tensor, "sequence vocab"], prompts: Prompts) -> float:
    """The least mean task loss, in nats, that any scale and biases give on these very prompts."""
    features, _ = _features(logits, prompts)
    return _loss(features, _newton(features, ridge=1e-9))


def refitted_loss(
    run: Callable[[Prompts], Float[Tensor, "sequence vocab"]], fitted_on: Prompts, prompts: Prompts
) -> Float[Tensor, " sequence"]:
    """Loss per sequence, in nats, with the calibration that is best on other prompts.

    What is ablated, and how, shifts all prompts' logits alike. That says nothing of what is known
    about a prompt, and a few numbers fitted elsewhere take it out again.

    Args:
        run: Gives the logits at the answer position.
        fitted_on: Prompts for the calibration.
        prompts: What the loss is of.
    """
    return refitted(run(fitted_on), fitted_on, run(prompts), prompts)


def refitted(
    fitted: Float[Tensor, "batch vocab"],
    fitted_on: Prompts,
    logits: Float[Tensor, "sequence vocab"],
    prompts: Prompts,
) -> Float[Tensor, " sequence"]:
    """The same of logits on both sets of prompts.

    Where values overflow, as norms that are frozen let them, nothing is preferred.
    """
    fitted, logits = (torch.where(some.isfinite(), some, 0.0) for some in (fitted, logits))
    return two_answer_loss(calibrated(logits, fit(fitted, fitted_on)), prompts)


def fit(logits: Float[Tensor, "sequence vocab"], prompts: Prompts) -> Calibration:
    """The scale and biases that minimise the mean task loss of given logits.

    A scale never turns answers around: where a negative one would be best, it is zero.

    Args:
        logits: At the answer position.
        prompts: What they were computed on.
    """
    features, names = _features(logits, prompts)
    unknown = _newton(features)
    if unknown[0] < 0:
        features[:, 0] = 0
        unknown = _newton(features)
        unknown[0] = 0
    return Calibration(float(unknown[0]), dict(zip(names, unknown[1:].tolist(), strict=True)))


def _features(
    logits: Float[Tensor, "sequence vocab"], prompts: Prompts
) -> tuple[Float64[np.ndarray, "sequence column"], list[int]]:
    """What scale and biases act on: their product is the margin. And the tokens with a bias."""
    answers = torch.stack([prompts.answer, prompts.other])
    margin = torch.gather(logits, 1, answers.T).double()
    tokens, seen = np.unique(answers.numpy(), return_inverse=True)
    rows, names = np.arange(len(logits)), tokens.tolist() if len(tokens) <= FEW else []
    features = np.zeros((len(logits), 1 + len(names)))
    features[:, 0] = (margin[:, 0] - margin[:, 1]).numpy()
    if names:
        right, wrong = seen.reshape(2, -1)
        features[rows, 1 + right] += 1
        features[rows, 1 + wrong] -= 1
    return features, names


def _newton(
    features: Float64[np.ndarray, "sequence column"], ridge: float = RIDGE
) -> Float64[np.ndarray, " column"]:
    """Minimise  mean softplus(-features x) + ridge / 2 |x - (1, 0, ...)|^2."""
    prior = np.eye(features.shape[1])[0]
    pull = ridge * np.eye(len(prior))

    def cost(x: Float64[np.ndarray, " column"]) -> float:
        return _loss(features, x) + 0.5 * ridge * float(np.square(x - prior).sum())

    x, now = prior, cost(prior)
    for _ in range(STEPS):
        wrong = np.exp(-np.logaddexp(0, features @ x))
        slope = -(features.T @ wrong) / len(features) + pull @ (x - prior)
        bend = (features.T * (wrong * (1 - wrong))) @ features / len(features) + pull
        step = np.linalg.solve(bend, slope)
        share = 1.0
        while (found := cost(x - share * step)) > now and share > 1e-6:
            share /= 2
        if now - found < 1e-9:
            break
        x, now = x - share * step, found
    return x


def _loss(
    features: Float64[np.ndarray, "sequence column"], x: Float64[np.ndarray, " column"]
) -> float:
    """Mean softplus of the negative margin, in nats."""
    return float(np.logaddexp(0, -(features @ x)).mean())
