"""Fit a scale and one bias per answer token to a circuit's logits (paper A.5 and F.2).

A single shift for all logits would cancel in the softmax, so the bias is per answer token.
"""

import torch

from lacewing.circuits.ablate import Masks, ablated_logits
from lacewing.circuits.circuit import Calibration
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import two_answer_loss

LBFGS_STEPS = 16
"""As published."""


def calibrate(model: Model, prompts: Prompts, masks: Masks) -> Calibration:
    """The scale and biases that minimise the circuit's task loss on some (training) prompts.

    Args:
        model: The model.
        prompts: Prompts to fit on; never those the circuit is judged on.
        masks: The circuit.
    """
    logits = ablated_logits(model, prompts, masks)
    tokens = sorted(set(prompts.answer.tolist()))
    scale = torch.ones((), requires_grad=True)
    bias = torch.zeros(len(tokens), requires_grad=True)
    # The line search keeps every step from raising the loss; plain LBFGS steps may.
    optimizer = torch.optim.LBFGS(
        [scale, bias], max_iter=LBFGS_STEPS, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        shifted = (logits * scale).index_add(1, torch.tensor(tokens), bias.expand(len(logits), -1))
        loss = two_answer_loss(shifted, prompts).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return Calibration(
        float(scale.detach()), dict(zip(tokens, bias.detach().tolist(), strict=True))
    )
