"""One step in the published order: schedule, normalised gradients, Adam, projection, decay."""

from collections.abc import Callable

import pytest
import torch

from lacewing.model.transformer import Transformer
from lacewing.training.config import TrainConfig
from lacewing.training.density import densities
from lacewing.training.optimizer import adam, finish_step, learning_rate_at

Small = Callable[..., TrainConfig]


def schedule(**changes: float) -> TrainConfig:
    """A thousand steps of the published default (density 1/64), base rate 1."""
    settings = {"warmup": 0.01, "anneal_start": 0.0, "anneal_end": 0.5} | changes
    return TrainConfig(
        expansion=4.0,
        density=1 / 64,
        learning_rate=1.0,
        batch=1,
        context=256,
        tokens=256_000,
        anneal="linear",
        **settings,
    )


def test_the_sharkfin_peaks_at_half_of_the_base_rate() -> None:
    """At 50 %, where density meets its target: 1 - (500 - 10) / 990 = 0.505 of the base rate."""
    config = schedule()
    rates = [learning_rate_at(config, step) for step in range(1000)]
    assert max(range(1000), key=rates.__getitem__) == 500
    assert pytest.approx(rates[500], abs=1e-5) == 0.50505


def test_rates_by_hand() -> None:
    """Zero at first; 1/8 sqrt(64 factor) early; then plain linear decay towards zero."""
    config = schedule(anneal_start=0.01)
    assert learning_rate_at(config, 0) == 0.0
    assert pytest.approx(learning_rate_at(config, 5)) == 0.5 / 8
    assert pytest.approx(learning_rate_at(config, 10)) == 1 / 8
    half = (1 - 245 / 990) * (0.25 / 8.125) ** 0.5  # q = (16 + 1/4) / 2 half-way
    assert half == pytest.approx(learning_rate_at(config, 255))
    assert pytest.approx(learning_rate_at(config, 750)) == 1 - 740 / 990
    assert pytest.approx(learning_rate_at(config, 999)) == 1 / 990


def stepped(small: Small, grads: bool = True, **changes: object) -> tuple[Transformer, Transformer]:
    """A network before and after the step that ends its anneal."""
    config = small(learning_rate=0.5, **changes)
    torch.manual_seed(0)
    before, after = Transformer(config.model(300)), Transformer(config.model(300))
    after.load_state_dict(before.state_dict())
    for parameter in after.parameters():
        parameter.grad = torch.randn_like(parameter) if grads else torch.zeros_like(parameter)
    finish_step(after, adam(after, config), config, config.steps // 2)
    return before, after


def test_decay_comes_last_and_spares_the_bigram_table(small: Small) -> None:
    """Without gradients the kept weights shrink by 1 - decay x rate; bigram and biases do not."""
    before, after = stepped(small, grads=False, weight_decay=0.1)
    rate = learning_rate_at(small(learning_rate=0.5), small().steps // 2)
    weight, kept = before.blocks[0].c_fc.weight, after.blocks[0].c_fc.weight != 0
    torch.testing.assert_close(after.blocks[0].c_fc.weight[kept], weight[kept] * (1 - 0.1 * rate))
    assert before.bigram is not None
    assert torch.equal(before.bigram, after.bigram)
    assert torch.equal(before.ln_f.weight, after.ln_f.weight)


def test_zeros_stay_zeros_through_the_decay(small: Small) -> None:
    """After a whole step the density is exactly the target: nothing writes after the projection."""
    _, after = stepped(small)
    found = densities(after)
    assert 0.25 == found["blocks.0.c_fc.weight"] == found["blocks.1.attn_proj.weight"]
    assert found["wte.weight"] == 0.25


def test_dead_weights_keep_their_gradient_and_can_come_back(small: Small) -> None:
    """Adam's moments stay dense, so a zeroed weight with a large gradient returns."""
    config = small(learning_rate=0.5)
    network = Transformer(config.model(300))
    optimizer = adam(network, config)
    weight = network.blocks[0].c_fc.weight
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    finish_step(network, optimizer, config, 15)
    dead = tuple(torch.nonzero(weight == 0)[0].tolist())
    assert weight.grad is not None
    weight.grad[dead] = -10.0
    finish_step(network, optimizer, config, 16)
    assert weight[dead].item() > 0.0


def test_one_adam_step_by_hand(small: Small) -> None:
    """First step: m / (1 - b1) = g, v / (1 - b2) = g squared: p moves by rate x g / (|g| + 0.1)."""
    config = small(density=1.0, floor=0, weight_decay=0.0, learning_rate=0.5)
    network = Transformer(config.model(300))
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    grads = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    before = [p.detach().clone() for p in network.parameters()]
    rms = finish_step(network, adam(network, config), config, 10)
    rate = learning_rate_at(config, 10)
    for old, grad, parameter in zip(before, grads, network.parameters(), strict=True):
        g = grad / (rms + 1e-5)
        expected = old - rate * g / (g.abs() + 0.1)
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-4, atol=1e-6)
