"""One optimizer step, in the published order (train.py of openai/circuit_sparsity, method 3.1).

    1 learning rate lr(i) = base(i) sqrt(pf / q(i))     warmup and decay times the density factor
    4 divide all gradients by their global RMS          this normalises, it does not clip
    5 Adam, no built-in weight decay
    6 projection: keep the largest
    7 weight decay p <- p - wd lr p                     matrices only, not the bigram table

(2 and 3, forward and backward, are the loop's.)
"""

import torch
from torch import Tensor

from lacewing.model.transformer import Transformer
from lacewing.training.config import TrainConfig
from lacewing.training.density import pfrac_at, project_

RMS_GUARD = 1e-5
"""Added to the gradient RMS before dividing by it (train.py)."""


def learning_rate_at(config: TrainConfig, step: int) -> float:
    """The learning rate of step `step` (counted from 0), the paper's "sharkfin".

    Linear warmup, then linear decay to 0, times sqrt(target density / current density).
    """
    warmup = config.warmup * config.steps
    if step < warmup:
        base = config.learning_rate * step / warmup
    else:
        base = config.learning_rate * (1 - (step - warmup) / (config.steps - warmup))
    return float(base * (config.pfrac / pfrac_at(config, step)) ** 0.5)


def adam(network: Transformer, config: TrainConfig) -> torch.optim.Adam:
    """Adam with the paper's constants and no decay of its own."""
    return torch.optim.Adam(
        network.parameters(),
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=True,
    )


def normalise_gradients(parameters: list[Tensor]) -> float:
    """Divide every gradient by the RMS over all of them together; returns that RMS."""
    grads = [p.grad for p in parameters if p.grad is not None]
    count = sum(p.numel() for p in parameters)
    norms = torch._foreach_norm(grads)
    rms = float(torch.stack(list(norms)).norm()) / count**0.5
    torch._foreach_mul_(grads, 1 / (rms + RMS_GUARD))
    return rms


def finish_step(
    network: Transformer, optimizer: torch.optim.Optimizer, config: TrainConfig, step: int
) -> float:
    """Everything after the backward pass of step `step`; returns the gradient RMS."""
    rate = learning_rate_at(config, step)
    for group in optimizer.param_groups:
        group["lr"] = rate
    rms = normalise_gradients(list(network.parameters()))
    optimizer.step()
    project_(network, config, step)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 2 and name != "bigram":
                parameter.mul_(1 - config.weight_decay * rate)
    optimizer.zero_grad(set_to_none=False)
    return rms
