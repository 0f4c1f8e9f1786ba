"""Prompts that share beginnings, run once each: what they share, and that nothing else changes."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

import micro
from lacewing.ablation.node_mask import NodeMask, edits, gates
from lacewing.ablation.prefix_run import Batch
from lacewing.ablation.prefixes import UniquePrefixes, shared
from lacewing.model.hooks import ablate
from lacewing.model.layers import sparse_products
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts


def drawn(seed: int) -> tuple[Tensor, Tensor]:
    """Short sequences of few tokens, so that many begin alike; some are the same."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 3, (12, 9), generator=generator)
    last = torch.randint(0, 9, (12,), generator=generator)
    last[0], tokens[5], last[5] = 8, tokens[4], last[4]
    return tokens, last


@pytest.mark.parametrize("seed", range(8))
def test_every_beginning_has_one_row(seed: int) -> None:
    """Equal beginnings have one row, different ones two; each knows its token and position."""
    tokens, last = drawn(seed)
    prefixes, seen = UniquePrefixes.of(tokens, last), {}
    for sequence in range(len(last)):
        for t in range(int(last[sequence]) + 1):
            beginning = tuple(tokens[sequence, : t + 1].tolist())
            row = int(prefixes.rows[sequence, t])
            assert seen.setdefault(beginning, row) == row
            assert (int(prefixes.tokens[row]), int(prefixes.position[row])) == (beginning[-1], t)
        assert int(prefixes.ends[sequence]) == row
    assert len(set(seen.values())) == len(seen) == len(prefixes.tokens)


@pytest.mark.parametrize("seed", range(8))
def test_the_rows_of_a_sequence_lie_side_by_side(seed: int) -> None:
    """What no other sequence has of one is a run of rows that ends with its last token."""
    tokens, last = drawn(seed)
    prefixes = UniquePrefixes.of(tokens, last)
    following = 0
    for sequence, (start, begin, count) in enumerate(prefixes.own.place.tolist()):
        assert (start, begin + count) == (following, int(last[sequence]) + 1)
        own = prefixes.rows[sequence, begin : begin + count].tolist()
        assert own == list(range(start, start + count))
        following += count
    assert following == len(prefixes.tokens)


@pytest.fixture
def batches(busy: Model) -> list[Prompts]:
    """Prompts of two circuits, of different length."""
    return [micro.prompts(5, 1, busy.tokenizer), micro.prompts(3, 2, busy.tokenizer)]


def masks_for(model: Model) -> list[NodeMask]:
    """Two masks that keep about half."""
    widths = site_widths(model.network.config)
    total, generator = sum(widths.values()), torch.Generator().manual_seed(0)
    inits = [torch.rand(total, generator=generator) * 2 - 1 for _ in range(2)]
    return [NodeMask(widths, model.means, init, 0.7) for init in inits]


@pytest.mark.parametrize("through_nonzeros", [False, True])
def test_masks_learn_the_same_where_prompts_share(
    busy: Model, batches: list[Prompts], through_nonzeros: bool
) -> None:
    """Logits and the gradients of every tau are those of a pass over whole prompts."""
    found = []
    for sharing in (False, True):
        masks = masks_for(busy)
        batch = Batch.of(busy.network, batches, sharing=sharing)
        assert (batch.prefixes is not None) == sharing
        hooks = gates(masks, batch.owners) if sharing else edits(masks, batch.circuit)
        with ablate(busy.network, hooks):
            context = sparse_products(busy.network) if through_nonzeros else nullcontext()
            with context:
                logits = batch.logits()
        (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward()
        found.append([logits.detach(), *(mask.tau.grad for mask in masks)])
    for expected, actual in zip(*found, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)


def test_shared_prefixes_are_kept_while_their_prompts_live(busy: Model) -> None:
    """The same prompts are looked at once; new ones anew."""
    prompts = micro.prompts(5, 1, busy.tokenizer)
    assert shared(prompts) is shared(prompts)
    assert shared(micro.prompts(5, 1, busy.tokenizer)) is not shared(prompts)
