"""How long a training will take on this machine, measured on a few of its own steps.

A step costs more while the weights are dense than after they were thinned, so that steps are timed
at the beginning, in the middle and at the end of the annealing, on a copy of the model, which is
then thrown away: nothing of the training changes.
"""

import time
from contextlib import AbstractContextManager
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from lacewing.data.batches import Batches
from lacewing.kernels.cross_entropy import cross_entropy
from lacewing.model.transformer import Transformer
from lacewing.training.config import TrainConfig
from lacewing.training.evaluate import PIECE, validation_loss
from lacewing.training.optimizer import adam, finish_step

TIMED = 3
"""Steps timed at each of the three densities, after one that is not; the quickest counts, as on a
machine's first training others compile what they need at a density."""
FEWEST = 100
"""Steps below which measuring would take as long as training."""
LARGEST = 100_000_000
"""Parameters above which no copy of the model is made."""


def seconds_left(
    network: Transformer,
    config: TrainConfig,
    tokens: np.ndarray,
    validation: Int[Tensor, "sequence token"],
    step: int,
    autocast: AbstractContextManager[None],
) -> float | None:
    """Seconds that the steps from `step` on will take here, with their validation losses.

    Args:
        network: The model as it is now.
        config: The training.
        tokens: Training tokens.
        validation: Sequences of the validation loss.
        step: Steps finished.
        autocast: The arithmetic of the training.

    Returns:
        None where it is not worth measuring: few steps, or a large model.
    """
    left = config.steps - step
    if left < FEWEST or sum(p.numel() for p in network.parameters()) > LARGEST:
        return None
    with torch.random.fork_rng(), autocast:
        device = network.lm_head.weight.device
        copy = Transformer(network.config).to(device)
        copy.load_state_dict(network.state_dict())
        batches = Batches(tokens, config.context, config.batch, config.seed, position=step)
        optimizer = adam(copy, config)
        middle, end = ((config.anneal_start + config.anneal_end) / 2, config.anneal_end)
        places = [step, max(step, int(middle * config.steps)), config.steps - 1]
        costs = [_step_seconds(copy, optimizer, config, batches, at) for at in places]
        looks = left / config.evaluate_every * _look_seconds(copy, validation)
    at = [*places[:2], max(step, end * config.steps), config.steps]
    every = np.linspace(step, config.steps, 1000)
    return float(np.interp(every, at, [*costs, costs[-1]]).mean()) * left + looks


def _step_seconds(
    network: Transformer,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    batches: Batches,
    at: int,
) -> float:
    """Seconds of a step at the density of step `at`; the first gets there, and is not timed."""
    ends = []
    for _ in range(TIMED + 1):
        rows = batches.next().to(network.lm_head.weight.device)
        for batch in rows.chunk(config.accumulate):
            logits = network(batch[:, :-1])
            loss = cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
            torch.autograd.backward(loss / config.accumulate)
        finish_step(network, optimizer, config, at)
        ends.append(_now(network))
    return min(after - before for before, after in pairwise(ends))


def _look_seconds(network: Transformer, validation: Int[Tensor, "sequence token"]) -> float:
    """Seconds of one validation loss, from one piece of its text."""
    piece = validation[:PIECE]
    validation_loss(network, piece)
    begun = _now(network)
    validation_loss(network, piece)
    return (_now(network) - begun) * len(validation) / len(piece)


def _now(network: Transformer) -> float:
    """Seconds on a clock, when everything that was begun is done."""
    if network.lm_head.weight.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
