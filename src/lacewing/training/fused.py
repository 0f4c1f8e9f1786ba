"""The optimizer step of a model on a GPU: the order of `optimizer`, in few passes over memory.

    gradient RMS    one read of the gradients; the result stays on the device
    Adam            one pass over weights, gradients and moments, which also clears the gradients
    projection      all matrices at once; what stays is decayed as it is written

Nothing here waits for the device, so the next step's work can be queued while this one runs.
"""

import torch
from torch import Tensor

from lacewing.kernels import cuda
from lacewing.model.transformer import Transformer
from lacewing.training import optimizer as plain
from lacewing.training.config import TrainConfig
from lacewing.training.density import selections


def covers(network: Transformer, optimizer: torch.optim.Optimizer) -> bool:
    """Whether this step can be taken: Adam on float32 weights on a GPU, all with gradients."""
    parameters = list(network.parameters())
    if parameters[0].device.type != "cuda" or not cuda.available():
        return False
    from lacewing.kernels.cuda import adam

    grads = [p.grad for p in parameters if p.grad is not None]
    return (
        isinstance(optimizer, torch.optim.Adam)
        and len(grads) == len(parameters)
        and adam.covers(parameters)
        and adam.covers(grads)
    )


def finish_step(
    network: Transformer, optimizer: torch.optim.Optimizer, config: TrainConfig, step: int
) -> float | Tensor:
    """Everything after the backward pass of step `step`, the fused way where it is covered.

    Returns:
        The gradient RMS; of a fused step a scalar that is still on the device.
    """
    if covers(network, optimizer):
        return fused_step(network, optimizer, config, step)
    return plain.finish_step(network, optimizer, config, step)


@torch.no_grad()
def fused_step(
    network: Transformer, optimizer: torch.optim.Optimizer, config: TrainConfig, step: int
) -> Tensor:
    """Everything after the backward pass of step `step`; returns the gradient RMS, on the device.

    Moments are kept where torch.optim.Adam keeps them, so that checkpoints are the same.
    """
    from lacewing.kernels.cuda import adam, keep_largest

    rate = plain.learning_rate_at(config, step)
    for group in optimizer.param_groups:
        group["lr"] = rate
    named = dict(network.named_parameters())
    chosen = selections(network, config, step)
    parameters = list(named.values())
    grads = [p.grad for p in parameters if p.grad is not None]
    states = [_state(optimizer, p) for p in parameters]
    torch._foreach_add_([state["step"] for state in states], 1)
    decayed = {name for name, p in named.items() if p.ndim == 2 and name != "bigram"}
    factor = 1 - config.weight_decay * rate
    rms = adam.gradient_rms(grads)
    adam.update_(
        parameters,
        grads,
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        rms,
        rate=rate,
        step=step + 1,
        beta1=config.beta1,
        beta2=config.beta2,
        epsilon=config.epsilon,
        guard=plain.RMS_GUARD,
        factor=factor,
        scaled=[name in decayed - chosen.keys() for name in named],
        clear=True,
    )
    if chosen:
        weights, ks, floors, axes = zip(*chosen.values(), strict=True)
        scaled = [name in decayed for name in chosen]
        keep_largest.keep_largest_(weights, ks, floors, axes, factor=factor, scaled=scaled)
    return rms


def _state(optimizer: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    state: dict[str, Tensor] = optimizer.state[parameter]
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
        state["exp_avg"] = torch.zeros_like(parameter)
        state["exp_avg_sq"] = torch.zeros_like(parameter)
    return state
