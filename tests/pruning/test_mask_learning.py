"""One step of a mask: what a node costs, how far a gradient may push it, how far it may go."""

import dataclasses
from itertools import pairwise

import pytest
import torch

from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets
from lacewing.pruning.mask_learning import (
    HIGH,
    LOW,
    RISE,
    Pressure,
    drawn,
    follow,
    mask_optimizer,
    penalty_at,
)


class Mask:
    """Some tau, kept as a mask keeps them."""

    def __init__(self, *values: float) -> None:
        self.tau = torch.tensor(values, requires_grad=True)

    def clamp_(self) -> None:
        """Bring tau back into [-1, 1]."""
        with torch.no_grad():
            self.tau.clamp_(-1, 1)


class Seen(torch.optim.Optimizer):
    """Keeps the gradients and rates it is given, and moves nothing."""

    def __init__(self, mask: Mask) -> None:
        super().__init__([mask.tau], {"lr": 0.0})
        self.gradients: list[torch.Tensor] = []
        self.rates: list[float] = []

    def step(self) -> None:  # type: ignore[override]
        """Note both."""
        (group,) = self.param_groups
        self.gradients.append(group["params"][0].grad.clone())
        self.rates.append(group["lr"])


def config(**changes: float) -> PruneConfig:
    settings = PruneConfig(prompts=10 * 24, batch=24, penalty_from=1e-4, penalty_to=1e-1)
    return dataclasses.replace(settings, **changes)


def test_the_price_ends_at_both_ends() -> None:
    """From `penalty_from` to `penalty_to`, each step the same times the one before."""
    path = [penalty_at(config(), step) for step in range(config().steps)]
    assert 10 == len(path)
    assert pytest.approx((1e-4, 1e-1)) == (path[0], path[-1])
    assert pytest.approx([1000 ** (1 / 9)] * 9) == [b / a for a, b in pairwise(path)]


@pytest.mark.parametrize("size", [5.0, 1.5, 1.0, 0.3, 1e-4])
def test_a_gradient_is_scaled_down_and_never_up(size: float) -> None:
    """To an RMS of 1 where it has more; its direction stays."""
    mask = Mask(0.1, -0.2, 0.3, 0.0)
    seen, direction = Seen(mask), torch.tensor([1.0, -1.0, 1.0, 1.0])
    mask.tau.grad = size * direction
    follow(mask, seen, config(), 0.0)
    torch.testing.assert_close(seen.gradients[0], min(size, 1.0) * direction)


def test_the_rate_falls_to_a_tenth() -> None:
    """Linearly along the way."""
    mask = Mask(0.0)
    seen = Seen(mask)
    for way in (0.0, 0.5, 1.0):
        mask.tau.grad = torch.ones(1)
        follow(mask, seen, config(), way)
    rate = config().learning_rate
    assert pytest.approx([rate, 0.55 * rate, 0.1 * rate]) == seen.rates


def test_a_step_goes_against_the_gradient_and_stays_in_bounds() -> None:
    """With the optimizer itself; the gradient is gone afterwards."""
    mask = Mask(0.99, -0.99, 0.5)
    optimizer = mask_optimizer(mask, config(learning_rate=0.1))
    mask.tau.grad = torch.tensor([-1.0, 1.0, 1.0])
    follow(mask, optimizer, config(learning_rate=0.1), 0.0)
    up, down, moved = mask.tau.tolist()
    assert (1.0, -1.0) == (up, down)
    assert pytest.approx(0.4, abs=1e-3) == moved
    assert mask.tau.grad is None or not mask.tau.grad.any()


def test_a_step_sees_some_of_the_pairs(sets: PromptSets) -> None:
    """As many as the batch has, whole pairs, others each time, the same for the same seed."""
    first, again = (drawn(sets.train, 5, torch.Generator().manual_seed(0)) for _ in range(2))
    assert 5 == len(first)
    assert first.pairs == again.pairs
    assert set(first.pairs) <= set(sets.train.pairs)
    generator = torch.Generator().manual_seed(0)
    assert drawn(sets.train, 5, generator).pairs != drawn(sets.train, 5, generator).pairs
    assert len(sets.train) == len(drawn(sets.train, 1000, generator))


def test_a_pressure_follows_the_loss() -> None:
    """It rises while the loss is low, stays between, falls before the target is missed."""
    pressure = Pressure(target=0.2, cost=1e-4)
    pressure.follow(0.0)
    assert pressure.cost == pytest.approx(1e-4 * RISE)
    for _ in range(60):
        pressure.follow(0.2 * (LOW + HIGH) / 2)
    between = pressure.cost
    pressure.follow(0.2 * (LOW + HIGH) / 2)
    assert pressure.cost == between
    for _ in range(20):
        pressure.follow(0.19)  # on its way, below the target
    assert pressure.cost < between


def test_a_single_bad_batch_does_not_turn_a_pressure() -> None:
    """One batch at chance among good ones: two steps later the cost rises again or stays."""
    pressure = Pressure(target=0.15, cost=1e-4)
    for loss in (0.01, 0.01, 0.25, 0.01):
        pressure.follow(loss)
    assert pressure.cost >= 1e-4


def test_a_pressure_rests_at_the_end() -> None:
    """It rises no more in the last fifth of the way, and still falls."""
    pressure = Pressure(target=0.2, cost=1e-4)
    pressure.follow(0.0, 0.79)
    risen = pressure.cost
    pressure.follow(0.0, 0.81)
    assert pressure.cost == risen > 1e-4
    for _ in range(30):
        pressure.follow(0.5, 0.9)
    assert pressure.cost < 1e-4
