"""One optimizer step, in the published order (train.py of openai/circuit_sparsity, method 3.1).

    1 learning rate lr(i) = base(i) sqrt(pf / q(i))     warmup and decay times the density factor
    4 divide all gradients by their global RMS          this normalises, it does not clip
    5 Adam, no built-in weight decay
    6 projection: keep the largest
    7 weight decay p <- p - wd lr p                     matrices only, not the bigram table

(2 and 3, forward and backward, are the loop's.)
"""

import torch
from torch import Tensor, nn

from lacewing.kernels.adam import Slot, Step, adam_step_
from lacewing.kernels.keep_largest import keep_largest_of_all_
from lacewing.model.layers import find_nonzeros
from lacewing.training.config import TrainConfig
from lacewing.training.density import pfrac_at, to_keep

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


def adam(network: nn.Module, config: TrainConfig) -> torch.optim.Adam:
    """Adam's state with the paper's constants; `finish_step` takes its steps."""
    return torch.optim.Adam(
        network.parameters(),
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
    )


def finish_step(
    network: nn.Module, optimizer: torch.optim.Optimizer, config: TrainConfig, step: int
) -> float | Tensor:
    """Everything after the backward pass of step `step`; returns the gradient RMS."""
    rate = learning_rate_at(config, step)
    for group in optimizer.param_groups:
        group["lr"] = rate  # for whoever looks at the optimizer
    decay = 1 - config.weight_decay * rate
    sparse = {m.weight.data_ptr(): m for m in to_keep(network, config, step)}
    slots, matrices = [], []
    for name, parameter in network.named_parameters():
        decays = parameter.ndim == 2 and name != "bigram"
        matrix = sparse.get(parameter.data_ptr())
        if matrix is not None:  # what is kept decays after it was chosen
            matrices.append(matrix._replace(scale=decay if decays else 1.0))
        if parameter.grad is not None:
            moments = _moments(optimizer, parameter)
            shrink = decay if decays and matrix is None else 1.0
            slots.append(Slot(parameter.data, parameter.grad, *moments, shrink))
    rms = adam_step_(slots, _numbers(optimizer, config, rate))
    keep_largest_of_all_(matrices)
    find_nonzeros(network, sampled_tokens(config, step + 1))
    return rms


def sampled_tokens(config: TrainConfig, step: int) -> slice | None:
    """The tokens of a step that estimate the gradients of zero weights: every n-th, in turns."""
    every = config.zeros_from_every
    return None if every == 1 else slice(step % every, None, every)


def _moments(optimizer: torch.optim.Optimizer, parameter: Tensor) -> tuple[Tensor, Tensor]:
    """Both moments of a tensor, in the optimizer's own state; made at the first step."""
    state = optimizer.state[parameter]
    if not state:
        state["step"] = torch.tensor(0.0)
        state["exp_avg"] = torch.zeros_like(parameter)
        state["exp_avg_sq"] = torch.zeros_like(parameter)
    state["step"] += 1
    return state["exp_avg"], state["exp_avg_sq"]


def _numbers(optimizer: torch.optim.Optimizer, config: TrainConfig, rate: float) -> Step:
    count = max(int(state["step"]) for state in optimizer.state.values())
    return Step(rate, config.beta1, config.beta2, config.epsilon, count, RMS_GUARD)
