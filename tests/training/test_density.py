"""Density by the formulas of the published script, written out with numbers.

The published default: expansion 4, pfrac 1/4, so density 1/64 = pfrac / expansion squared.
"""

from collections.abc import Callable

import pytest
import torch

from lacewing.errors import ConfigError
from lacewing.model.transformer import Transformer
from lacewing.training.config import TrainConfig
from lacewing.training.density import (
    block_density,
    check_density,
    densities,
    embedding_density,
    pfrac_at,
    project_,
)

Small = Callable[..., TrainConfig]


@pytest.fixture
def published() -> TrainConfig:
    """Expansion 4, pfrac 1/4, a thousand steps, anneal from 1 % to 50 %."""
    return TrainConfig(
        expansion=4.0,
        density=1 / 64,
        batch=1,
        context=256,
        tokens=256_000,
        anneal_start=0.01,
        anneal_end=0.5,
        anneal="linear",
    )


def test_the_dial_sets_width_and_budget(published: TrainConfig) -> None:
    """Expansion 4 is width 1024, and density 1/64 is pfrac 1/4."""
    assert (published.width, published.pfrac, published.steps) == (1024, 0.25, 1000)


def test_pfrac_falls_linearly_from_dense(published: TrainConfig) -> None:
    """16 until step 10, half-way between 16 and 1/4 at step 255, 1/4 from step 500 on."""
    expected = {0: 16.0, 10: 16.0, 255: 8.125, 500: 0.25, 501: 0.25, 999: 0.25}
    assert expected == {step: pytest.approx(pfrac_at(published, step)) for step in expected}
    assert pfrac_at(published, 500) == 0.25, "exactly, at the end"


def test_geometric_pfrac_falls_by_equal_factors(small: Small) -> None:
    """Half-way, the density is the geometric mean of 1 and the target."""
    config = small(density=1 / 64, floor=0, anneal="geometric", anneal_start=0.0, anneal_end=1.0)
    assert pytest.approx(pfrac_at(config, config.steps // 2)) == 1 / 8


def test_embeddings_end_e_times_denser_than_blocks(published: TrainConfig) -> None:
    """At the end blocks keep 1/64 and embeddings 1/16; at the start both keep all."""
    assert (block_density(published, 16.0), embedding_density(published, 16.0)) == (1.0, 1.0)
    assert block_density(published, 0.25) == 1 / 64
    assert embedding_density(published, 0.25) == 1 / 16


def test_embeddings_follow_the_linear_map_in_between(published: TrainConfig) -> None:
    """At q = 8.125 (half-way): q_eb = 1/4 + 3.75 * 7.875 / 15.75 = 2.125, of 4."""
    assert pytest.approx(embedding_density(published, 8.125)) == 2.125 / 4
    assert pytest.approx(block_density(published, 8.125)) == 8.125 / 16


def test_a_dense_run_stays_dense(small: Small) -> None:
    """With density 1 the 0/0 of the formula is 1, and the projection touches nothing."""
    config = small(density=1.0, floor=0)
    network = Transformer(config.model(300))
    network.lm_head.weight.data.view(-1)[:5] = 1e-30
    assert embedding_density(config, pfrac_at(config, config.steps)) == 1.0
    project_(network, config, config.steps)
    assert densities(network)["lm_head.weight"] == 1.0


@pytest.mark.parametrize("expansion", [1.0, 2.0])
def test_the_projection_is_exact_per_matrix_and_keeps_the_floor(
    small: Small, expansion: float
) -> None:
    """Every matrix keeps exactly int(density x entries), every row or column at least the floor."""
    config = small(expansion=expansion, density=0.11, floor=3)
    torch.manual_seed(0)
    network = Transformer(config.model(300))
    network.blocks[0].c_fc.weight.data[5] *= 1e-6  # rows and columns that would die
    network.blocks[1].mlp_proj.weight.data[:, 7] *= 1e-6
    dense = {n for n, d in densities(network).items() if d == 1.0}
    project_(network, config, config.steps)
    for name, p in network.named_parameters():
        count = int(torch.count_nonzero(p))
        if "c_attn.weight" in name or "c_fc.weight" in name:
            assert int(torch.count_nonzero(p, dim=1).min()) >= 3, name
        if "proj.weight" in name:
            assert int(torch.count_nonzero(p, dim=0).min()) >= 3, name
        if name.startswith("blocks") and p.ndim == 2:
            assert int(0.11 * p.numel()) == count, name
        elif name in ("wte.weight", "lm_head.weight"):
            assert int(0.11 * expansion * p.numel()) == count, name
        elif name in dense:
            assert p.numel() == count, name
    assert int(torch.count_nonzero(network.blocks[0].c_fc.weight[5])) == 3
    assert int(torch.count_nonzero(network.blocks[1].mlp_proj.weight[:, 7])) == 3


def test_biases_are_sparse_only_where_asked_for(small: Small) -> None:
    """As released, biases stay dense; with sparse_biases they take the embeddings' density."""
    for sparse, expected in ((False, 128), (True, 32)):
        config = small(sparse_biases=sparse)
        network = Transformer(config.model(300))
        bias = network.blocks[0].c_fc.bias
        bias.data = torch.linspace(1, 2, 128)
        project_(network, config, config.steps)
        assert expected == int(torch.count_nonzero(bias))


def test_a_density_too_small_for_the_floor_is_refused_before_training(small: Small) -> None:
    """Width 32 with a floor of 4 needs density 1/8: a little less is an error that says so."""
    config = small(density=0.125, floor=4)
    check_density(Transformer(config.model(300)), config)
    config = small(density=0.12, floor=4)
    with pytest.raises(ConfigError, match=r"floor of 4 .* raise the density to 0\.125"):
        check_density(Transformer(config.model(300)), config)


def test_the_floor_that_just_fits_fits_at_every_step(small: Small) -> None:
    """Rounding of the anneal never undercuts a floor that the target density just pays for."""
    for width in range(16, 200, 8):
        for anneal in ("linear", "geometric"):
            config = small(density=4 / width, base_width=width, anneal=anneal)
            assert block_density(config, pfrac_at(config, config.steps)) == block_density(
                config, config.pfrac
            )
