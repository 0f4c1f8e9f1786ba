"""How masks are learned: the price of what is kept, gradients of a batch, and steps along them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lacewing.ablation.learning_maps import LearningMaps
from lacewing.ablation.node_mask import Mask, NodeMask
from lacewing.ablation.packed import fitting
from lacewing.circuit.config import PruneConfig
from lacewing.model.protocol import Network
from lacewing.pruning.learned_calibration import LearnedCalibration
from lacewing.pruning.robust.ablations import SHARING
from lacewing.pruning.robust.losses import PLAIN, Asked, RobustInputs, Turn, losses
from lacewing.tasks.batch import Prompts


def penalty_at(config: PruneConfig, step: int) -> float:
    """The cost of a kept node at a step: geometric from `penalty_from` to `penalty_to`."""
    way = step / max(1, config.steps - 1)
    return float(config.penalty_from * (config.penalty_to / config.penalty_from) ** way)


RISE = 1.12
"""By what a pressure grows in a step while the loss is low; it falls twice as fast while it is
high."""
MEMORY = 0.85
"""Share of a running loss that stays after a step: a pair that fails has several nats, so that
single batches say little."""
LOW, HIGH = 0.3, 0.7
"""Shares of the target: below the first the cost rises, above the second it falls."""
REST = 0.8
"""Share of the way after which the cost no longer rises: what was lost can come back."""
STILL = 2e-5
"""Epsilon of the optimizer of a mask under pressure: gradients that are smaller hardly move it."""


@dataclass
class Pressure:
    """The cost of a node where no path of costs is known: it follows the loss.

    In models of a hundred thousand nodes a fixed path either loses the task or ends too early. Here
    the cost rises while the running loss is well below the target and falls before it reaches it,
    so that the nodes that are on at the end reach the target on prompts they never saw too.
    """

    target: float
    """Task loss to reach, nats."""
    cost: float
    """Of a kept node."""
    running: float = 0.0
    """Mean of the last losses, nats."""

    def follow(self, loss: float, way: float = 0.0) -> None:
        """Take the loss of one more step into account.

        Args:
            loss: Of the step, nats.
            way: Where the search stands, from 0 to 1.
        """
        self.running = MEMORY * self.running + (1 - MEMORY) * loss
        if self.running > HIGH * self.target:
            self.cost /= RISE**2
        elif self.running < LOW * self.target and way < REST:
            self.cost *= RISE


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
    maps: LearningMaps | None = None,
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
        maps: Of a model of transformers and one mask, a quicker pass under mean ablation.
    """
    if maps and asked == PLAIN:
        with maps.under(masks[0].on()):
            return gradients(
                network, masks, batches, penalties, calibrations, asked, generator, inputs
            )
    random = generator or torch.default_generator
    calibrations = calibrations or [None] * len(masks)
    parts = fitting(network, batches[0], sharing=asked in SHARING) if len(batches) == 1 else ()
    if len(parts) > 1:
        price = (penalties[0] * masks[0].count(),)
        torch.stack(price).sum().backward()  # type: ignore[no-untyped-call]
        return [_in_parts(network, masks, parts, calibrations, asked, random, inputs)]
    task_losses = losses(asked, Turn(network, masks, batches, calibrations, inputs, random))
    sizes = [penalty * mask.count() for penalty, mask in zip(penalties, masks, strict=True)]
    torch.stack(task_losses + sizes).sum().backward()  # type: ignore[no-untyped-call]
    return [float(loss.detach()) for loss in task_losses]


def _in_parts(
    network: Network,
    masks: Sequence[NodeMask],
    parts: Sequence[Prompts],
    calibrations: Sequence[LearnedCalibration | None],
    asked: Asked,
    random: torch.Generator,
    inputs: Sequence[RobustInputs],
) -> float:
    """Gradients of one batch some pairs at a time: the same sums, in less memory."""
    total, pairs = 0.0, sum(map(len, parts))
    for part in parts:
        turn = Turn(network, masks, [part], calibrations, inputs, random)
        loss = losses(asked, turn)[0] * (len(part) / pairs)
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total


def mask_optimizer(mask: Mask, config: PruneConfig, epsilon: float = 1e-8) -> torch.optim.Optimizer:
    """What moves a mask's tau."""
    return torch.optim.AdamW(
        [mask.tau],
        lr=config.learning_rate,
        betas=(0.9, config.beta2),
        weight_decay=config.weight_decay,
        eps=epsilon,
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
