"""How masks are learned: the price of what is kept, gradients of a batch, and steps along them."""

from collections.abc import Sequence

import torch

from lacewing.ablation.node_mask import Mask, NodeMask
from lacewing.circuit.config import PruneConfig
from lacewing.model.protocol import Network
from lacewing.pruning.learned_calibration import LearnedCalibration
from lacewing.pruning.robust.losses import PLAIN, Asked, RobustInputs, Turn, losses
from lacewing.tasks.batch import Prompts


def penalty_at(config: PruneConfig, step: int) -> float:
    """The cost of a kept node at a step: geometric from `penalty_from` to `penalty_to`."""
    way = step / max(1, config.steps - 1)
    return float(config.penalty_from * (config.penalty_to / config.penalty_from) ** way)


def drawn(prompts: Prompts, batch: int, generator: torch.Generator) -> Prompts:
    """Some pairs by chance, as one step sees them."""
    count = len(prompts)
    return prompts.take(torch.randint(count, (min(batch, count),), generator=generator).tolist())


def gradients(
    network: Network,
    masks: Sequence[NodeMask],
    batches: Sequence[Prompts],
    penalties: Sequence[float],
    calibrations: Sequence[LearnedCalibration | None] = (),
    asked: Asked = PLAIN,
    generator: torch.Generator | None = None,
    inputs: Sequence[RobustInputs] = (),
) -> list[float]:
    """Gradients of masks from a batch of prompts each; the task losses, in nats.

    Args:
        network: The model.
        masks: One per circuit.
        batches: The prompts of each.
        penalties: What a node of each costs.
        calibrations: Learned with the masks, where they are wanted.
        asked: The constraint that the masks learn under.
        generator: Draws what a constraint leaves to chance.
        inputs: Of each robust search; constraints that are plain ablations need none.
    """
    random = generator or torch.default_generator
    calibrations = calibrations or [None] * len(masks)
    task_losses = losses(asked, Turn(network, masks, batches, calibrations, inputs, random))
    sizes = [penalty * mask.count() for penalty, mask in zip(penalties, masks, strict=True)]
    torch.stack(task_losses + sizes).sum().backward()  # type: ignore[no-untyped-call]
    return [float(loss.detach()) for loss in task_losses]


def mask_optimizer(mask: Mask, config: PruneConfig) -> torch.optim.Optimizer:
    """What moves a mask's tau."""
    return torch.optim.AdamW(
        [mask.tau],
        lr=config.learning_rate,
        betas=(0.9, config.beta2),
        weight_decay=config.weight_decay,
    )


def follow(mask: Mask, optimizer: torch.optim.Optimizer, config: PruneConfig, way: float) -> None:
    """One optimizer step of a mask, its gradient scaled down to an RMS of at most `clip`.

    The learning rate decays along the way, a share from 0 to 1, to a tenth.
    """
    assert mask.tau.grad is not None
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * (1 - 0.9 * way)
    rms = mask.tau.grad.square().mean().sqrt()
    mask.tau.grad.mul_(config.clip / rms.clamp(min=config.clip))
    optimizer.step()
    optimizer.zero_grad()
    mask.clamp_()
