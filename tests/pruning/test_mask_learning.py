"""One step of a mask: what a node costs, how far a gradient may push it, how far it may go."""

import dataclasses
from itertools import pairwise

import pytest
import torch

from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets
from lacewing.pruning.mask_learning import drawn, follow, mask_optimizer, penalty_at


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
