"""Robust pruning: each ablation against the slow way to ask for it, and what it teaches."""

from contextlib import ExitStack
from typing import get_args

import pytest
import torch
from torch import Tensor

import micro
from lacewing.ablation.masks import masks_of
from lacewing.ablation.modes import ablated, some_donors
from lacewing.ablation.node_mask import NodeMask
from lacewing.ablation.prefix_run import Batch
from lacewing.circuit.prompts import PromptSets
from lacewing.model.hooks import record
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.pruning.mask_learning import gradients
from lacewing.pruning.robust.ablations import SHARING, Ablations, put_on

SEED = 5


def half_on(model: Model) -> NodeMask:
    """A mask with a random half of all nodes on."""
    widths = site_widths(model.network.config)
    generator = torch.Generator().manual_seed(1)
    init = torch.rand(sum(widths.values()), generator=generator) - 0.5
    return NodeMask(widths, model.means, init, 1.0)


def parts(mask: NodeMask) -> dict[str, Tensor]:
    """The nodes that are on, site by site."""
    return dict(zip(mask.widths, (mask.tau > 0).split(list(mask.widths.values())), strict=True))


@pytest.mark.parametrize("kind", ["mean", "zero", "frozen", "resample"])
def test_a_constraint_is_the_ablation_of_its_name(busy: Model, kind: Ablations) -> None:
    """The logits under it are those of the model ablated in that way, donors and all."""
    sets = micro.prompt_sets(busy)
    mask, prompts = half_on(busy), sets.train.take(range(8))
    generator = torch.Generator().manual_seed(SEED)
    batch = Batch.of(busy.network, [prompts], sharing=kind in SHARING)
    with ExitStack() as stack, torch.no_grad():
        put_on(stack, batch, [mask], kind, generator)
        found = batch.logits()
    seed = int(torch.randint(2**31, (), generator=torch.Generator().manual_seed(SEED)))
    wanted = ablated(busy, prompts, parts(mask), kind, seed, busy.network)  # type: ignore[arg-type]
    torch.testing.assert_close(wanted, found, rtol=1e-4, atol=1e-4)


def test_a_subset_lets_half_of_the_rest_run(busy: Model) -> None:
    """With all off, half of each site runs on, another half in every sequence."""
    prompts = micro.prompt_sets(busy).train.take(range(8))
    widths = site_widths(busy.network.config)
    mask = NodeMask(widths, busy.means, -torch.ones(sum(widths.values())), 1.0)
    batch = Batch.of(busy.network, [prompts], sharing=False)
    with ExitStack() as stack, torch.no_grad():
        put_on(stack, batch, [mask], "subset", torch.Generator())
        seen = stack.enter_context(record(busy.network, ["0.attn_in"]))
        batch.logits()
    filled = (seen["0.attn_in"] == busy.means["0.attn_in"]).all(1)
    assert 0.3 < filled.float().mean() < 0.7
    assert 8 < len({tuple(row.tolist()) for row in filled})


@pytest.mark.parametrize("kind", get_args(Ablations))
def test_every_constraint_teaches_the_mask(model: Model, sets: PromptSets, kind: Ablations) -> None:
    """With everything off but the planted nodes, losing one of them is felt under each."""
    widths = site_widths(model.network.config)
    nodes = masks_of(model.network, micro.nodes_of(micro.PLANTED, model.network.config))
    init = torch.cat([mask.float() - 0.5 for mask in nodes.values()])
    mask = NodeMask(widths, model.means, init, 1.0)
    gradients(
        model.network, [mask], [sets.train.take(range(32))], [0.0], (), kind, torch.Generator()
    )
    slope = dict(zip(widths, mask.tau.grad.split(list(widths.values())), strict=True))  # type: ignore[union-attr]
    assert slope["0.attn_v"][0] < 0  # more of it, less loss


def test_nothing_is_learned_of_what_runs_in_any_case(busy: Model) -> None:
    """Where a subset lets a node run in every sequence, the loss says nothing of its mask."""
    prompts = micro.prompt_sets(busy).train.take(range(1))
    mask = half_on(busy)
    gradients(
        busy.network, [mask], [prompts], [0.0], (), "subset", torch.Generator().manual_seed(2)
    )
    random = torch.Generator().manual_seed(2)
    free = torch.cat(
        [(torch.rand((2, w), generator=random) < 0.5).all(0) for w in mask.widths.values()]
    )
    slope = mask.tau.grad
    assert slope is not None
    assert not slope[free].any()
    assert (slope[~free] != 0).float().mean() > 0.5


def test_donors_come_from_other_pairs() -> None:
    """Of either answer, never of the same pair."""
    prompts = micro.prompt_sets(micro.micro()).test.take(range(20))
    donors = some_donors(prompts, 3)
    assert (donors // 2 != torch.arange(40) // 2).all()
    assert 5 < int((donors % 2 == torch.arange(40) % 2).sum()) < 35
