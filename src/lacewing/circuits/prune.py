"""Prune a model to the smallest circuit that does a task at a target loss.

    1 all nodes start on; tau of every node is trained on  task loss + penalty x nodes on,
      with everything that is off replaced by its mean over the pretraining text
    2 the penalty rises geometrically along the run: one path instead of one run per penalty
    3 at points of its later half, nodes are ranked by tau and bisection finds how few of the
      highest, less those that no path joins to the answer, reach the target loss on validation
      prompts; the smallest cut wins
    4 losses are measured on test prompts, which nothing was chosen on

Paper section 2.2 and A.5; method section 6. The model's weights never change.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lacewing.circuits import circuit as circuits
from lacewing.circuits.ablate import ablated_loss
from lacewing.circuits.calibrate import calibrate
from lacewing.circuits.circuit import Calibration, Circuit
from lacewing.circuits.config import PruneConfig
from lacewing.circuits.masks import NodeMask
from lacewing.circuits.paths import connected
from lacewing.circuits.prompts import PromptSets, prompt_sets
from lacewing.errors import DataError
from lacewing.kernels.memory import keep_pages
from lacewing.model.hooks import edit
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.model.transformer import Transformer
from lacewing.progress import progress
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import two_answer_loss
from lacewing.tasks.task import Task

Masks = Mapping[str, Tensor]


@dataclass(frozen=True)
class Cut:
    """The smallest set of top-ranked nodes at one point of the path that reaches the target."""

    masks: Masks
    nodes: int
    loss: float


def prune(
    model: Model,
    task: Task,
    config: PruneConfig | None = None,
    *,
    sets: PromptSets | None = None,
    quiet: bool = False,
) -> Circuit:
    """Find a small circuit for a task.

    Args:
        model: The model; its weights are only read.
        task: What the circuit has to do.
        config: Target loss, seed and search; defaults suit small models.
        sets: The prompts, where they are already made; by default from the model's corpus.
        quiet: Report no progress.

    Returns:
        The smallest circuit found; the same one for the same model, task and configuration.

    Raises:
        DataError: the full model itself does not reach the target loss, or no circuit does.
    """
    keep_pages()
    config = config or PruneConfig()
    began = time.monotonic()
    sets = sets or prompt_sets(model, task, config)
    full = _mean(ablated_loss(model, sets.validation, None))
    if full > config.target_loss:
        raise DataError(
            f"the full model's loss on {task.name} is {full:.3f} nats on validation prompts, "
            f"above the target {config.target_loss:g}: the model has not learned this task well "
            "enough; raise --target-loss or take another task or model"
        )
    best = _search(model, sets, config, quiet)
    masks = best.masks
    calibration = calibrate(model, sets.train, masks) if config.calibrate else None
    nodes = {key: np.flatnonzero(mask.numpy()).astype(np.int32) for key, mask in masks.items()}
    return circuits.make(
        model.network,
        nodes,
        model_id=model.id,
        model_source=model.source,
        task=task.name,
        answers=tuple(sorted(set(sets.test.answer.tolist()))),
        ablation="mean",
        seed=config.seed,
        target_loss=config.target_loss,
        losses=_losses(model, sets, masks, calibration),
        calibration=calibration,
        settings=dataclasses.asdict(config) | {"seconds": round(time.monotonic() - began, 2)},
    )


def _losses(
    model: Model, sets: PromptSets, masks: Masks, calibration: Calibration | None
) -> dict[str, float]:
    def loss(prompts: Prompts, masks: Masks | None) -> float:
        used = None if masks is None else calibration
        return _mean(ablated_loss(model, prompts, masks, calibration=used))

    return {
        "full": loss(sets.test, None),
        "circuit": loss(sets.test, masks),
        "validation": loss(sets.validation, masks),
    }


def _search(model: Model, sets: PromptSets, config: PruneConfig, quiet: bool) -> Cut:
    mask = _start(model, config)
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.AdamW(
        [mask.tau],
        lr=config.learning_rate,
        betas=(0.9, config.beta2),
        weight_decay=config.weight_decay,
    )
    stages = {round(s) - 1 for s in np.linspace(config.steps / 2, config.steps, config.stages)}
    best: Cut | None = None
    with progress(f"prune {sets.name}", config.steps, "steps", not quiet) as bar:
        for step in range(config.steps):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * (1 - 0.9 * step / config.steps)
            batch = sets.train.take(_draw(len(sets.train), config.batch, generator).tolist())
            penalty = penalty_at(config, step)
            loss, count = mask_step(model.network, mask, optimizer, batch, penalty, config)
            if step in stages:
                found = bisect(model, sets, mask, config.target_loss)
                best = min(filter(None, (best, found)), key=lambda cut: cut.nodes, default=None)
            so_far = f", smallest cut {best.nodes}" if best else ""
            bar.update(step + 1, f"loss {loss:.3f}, {count} nodes on{so_far}")
    if best is None:
        raise DataError(
            f"no circuit of {sets.name} reaches {config.target_loss:g} nats: the penalties from "
            f"{config.penalty_from:g} to {config.penalty_to:g} remove too much; lower penalty_to"
        )
    return best


def penalty_at(config: PruneConfig, step: int) -> float:
    """The cost of a kept node at a step: geometric from `penalty_from` to `penalty_to`."""
    way = step / max(1, config.steps - 1)
    return float(config.penalty_from * (config.penalty_to / config.penalty_from) ** way)


def _start(model: Model, config: PruneConfig) -> NodeMask:
    widths = site_widths(model.network.config)
    generator = torch.Generator().manual_seed(config.seed)
    noise = torch.randn(sum(widths.values()), generator=generator)
    init = config.init_bias + config.init_noise * noise
    return NodeMask(widths, model.means, init, config.temperature)


def _draw(pairs: int, batch: int, generator: torch.Generator) -> Tensor:
    return torch.randint(pairs, (min(batch, pairs),), generator=generator)


def mask_step(
    network: Transformer,
    mask: NodeMask,
    optimizer: torch.optim.Optimizer,
    batch: Prompts,
    penalty: float,
    config: PruneConfig,
) -> tuple[float, int]:
    """Learn the mask from one batch of prompts; the task loss in nats, and the nodes on."""
    with edit(network, mask.edits()), _precision():
        logits = network(batch.tokens, at=batch.last)
    task_loss = two_answer_loss(logits.float(), batch).mean()
    count = mask.count()
    (task_loss + penalty * count).backward()  # type: ignore[no-untyped-call]
    assert mask.tau.grad is not None
    rms = mask.tau.grad.square().mean().sqrt()
    mask.tau.grad.mul_(config.clip / rms.clamp(min=config.clip))
    optimizer.step()
    optimizer.zero_grad()
    mask.clamp_()
    return float(task_loss.detach()), int(count.detach())


def _precision() -> torch.autocast:
    """bf16 products while tau is learned; every reported loss is in float32."""
    return torch.autocast("cpu", torch.bfloat16)


def bisect(model: Model, sets: PromptSets, mask: NodeMask, target: float) -> Cut | None:
    """How few of the highest-ranked nodes reach the target loss on validation prompts.

    Assumes that more nodes mean less loss, as the paper does; the cut returned is measured, so the
    target always holds for it.
    """

    def cut(k: int) -> Cut:
        masks = connected(model.network, mask.top(k))
        return Cut(masks, k, _mean(ablated_loss(model, sets.validation, masks)))

    on = max(1, int((mask.tau > 0).sum()))
    return smallest(cut, on, len(mask.tau), target)


def smallest(cut: Callable[[int], Cut], likely: int, most: int, target: float) -> Cut | None:
    """The least k whose cut reaches the target: growing strides from `likely`, then bisection."""
    tried, stride = cut(likely), max(1, likely // 16)
    best = tried if tried.loss <= target else None
    low, high = (0, likely) if best else (likely, most)  # no cut of `low` nodes reaches the target
    while best is None and low < most:
        at = min(most, low + stride)
        tried, stride = cut(at), 2 * stride
        low, high, best = (low, at, tried) if tried.loss <= target else (at, high, None)
    while best is not None and high - low > 1:
        at = max(high - stride, (low + high) // 2)  # stay near while that is the smaller step
        tried, stride = cut(at), 2 * stride
        low, high, best = (low, at, tried) if tried.loss <= target else (at, high, best)
    return best


def _mean(losses: Tensor) -> float:
    return float(losses.mean())
