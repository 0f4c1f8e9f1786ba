"""A compiled circuit gives what the masked model gives."""

import dataclasses
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.prefixes import UniquePrefixes
from lacewing.model.hooks import edit
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.model.transformer import Transformer

SPARSE_SITES = ("attn_in", "attn_v", "attn_out", "mlp_in", "mlp_neuron", "mlp_out")


def masked(
    network: Transformer,
    masks: Mapping[str, Tensor],
    ablation_values: Mapping[str, Tensor],
    tokens: Tensor,
    at: Tensor,
) -> Tensor:
    """The slow and plain way: every site replaced in a full run."""

    def hook(key: str) -> object:
        return lambda value: torch.where(masks[key], value, ablation_values[key])

    with torch.no_grad(), edit(network, {key: hook(key) for key in masks}):
        return network(tokens, at=at)


def drawn(model: Model, share: float, seed: int) -> dict[str, Tensor]:
    """Random masks that keep a share of all nodes."""
    generator = torch.Generator().manual_seed(seed)
    widths = site_widths(model.network.config)
    return {key: torch.rand(width, generator=generator) < share for key, width in widths.items()}


def prompts(model: Model) -> tuple[Tensor, Tensor]:
    """Six random sequences with different last tokens."""
    generator = torch.Generator().manual_seed(1)
    config = model.network.config
    tokens = torch.randint(config.vocab_size, (6, 11), generator=generator)
    return tokens, torch.tensor([10, 3, 7, 0, 10, 5])


@pytest.mark.parametrize("share", [0.02, 0.1, 0.4, 1.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_the_masked_model(busy: Model, share: float, seed: int) -> None:
    """Positions, sinks, bigram table and AbsTopK everywhere; means and zeros as fills."""
    masks, (tokens, at) = drawn(busy, share, seed), prompts(busy)
    for ablation_values in (
        busy.means,
        {key: torch.zeros(len(mask)) for key, mask in masks.items()},
    ):
        expected = masked(busy.network, masks, ablation_values, tokens, at)
        torch.testing.assert_close(
            CompiledCircuit(busy.network, masks, ablation_values)(tokens, at),
            expected,
            rtol=1e-4,
            atol=1e-4,
        )


@pytest.mark.parametrize("sites", [SPARSE_SITES, ()])
def test_sites_without_abs_topk_compute_live_rows_only(busy: Model, sites: tuple[str, ...]) -> None:
    """Where nothing competes only live rows are computed, and the result is the same."""
    config = dataclasses.replace(
        busy.network.config, abs_topk_sites=sites, sinks=False, bigram=False, d_position=0
    )
    torch.manual_seed(5)
    network = Transformer(config).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.normal_()
    masks, (tokens, at) = drawn(dataclasses.replace(busy, network=network), 0.3, 3), prompts(busy)
    ablation_values = {key: torch.randn(len(mask)) for key, mask in masks.items()}
    expected = masked(network, masks, ablation_values, tokens, at)
    actual = CompiledCircuit(network, masks, ablation_values)(tokens, at)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["attn_out", "mlp_out", "mlp_neuron", "attn_v", "attn_in"])
def test_one_empty_site_among_full_ones(busy: Model, kind: str) -> None:
    """A site where nothing is live, with everything else live: the shortcuts change nothing."""
    tokens, at = prompts(busy)
    masks = {
        key: torch.full((width,), not key.endswith(kind))
        for key, width in site_widths(busy.network.config).items()
    }
    expected = masked(busy.network, masks, busy.means, tokens, at)
    actual = CompiledCircuit(busy.network, masks, busy.means)(tokens, at)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_nothing_live_is_a_constant_and_the_bigram_table(busy: Model) -> None:
    """With every node ablated the logits depend on the last token alone."""
    tokens, at = prompts(busy)
    masks = {key: torch.zeros(len(mask), dtype=torch.bool) for key, mask in busy.means.items()}
    logits = CompiledCircuit(busy.network, masks, busy.means)(tokens, at)
    rest = logits - busy.network.bigram[tokens[torch.arange(6), at]]
    torch.testing.assert_close(rest, rest[:1].expand_as(rest), rtol=1e-5, atol=1e-5)


def beginnings(model: Model) -> tuple[Tensor, Tensor]:
    """Twelve sequences that share beginnings, in pairs and across them, as prompts do."""
    tokens, at = prompts(model)
    tokens = torch.cat([tokens, tokens])
    tokens[6:, 5] = (tokens[6:, 5] + 1) % model.network.config.vocab_size
    tokens[1, :4] = tokens[0, :4]
    return tokens, torch.cat([at, at])


@pytest.mark.parametrize("share", [0.02, 0.1, 0.4, 1.0])
@pytest.mark.parametrize("attends", [True, False])
def test_each_beginning_once(busy: Model, share: float, attends: bool) -> None:
    """Shared beginnings, known reads and wanted tokens change no logit that is asked for."""
    masks, (tokens, at) = drawn(busy, share, 4), beginnings(busy)
    if not attends:  # the first block is the last that looks around
        masks |= {key: masks[key] & False for key in ("1.attn_q", "1.attn_k", "1.attn_v")}
    expected = masked(busy.network, masks, busy.means, tokens, at)
    prefixes = UniquePrefixes.of(tokens, at)
    live, wanted = CompiledCircuit(busy.network, masks, busy.means), torch.tensor([1, 4])
    assert live.turn == (1 if attends and live.blocks[1].varies else 0)
    channels = masks["0.attn_in"].nonzero()[:, 0]
    for there in (
        prefixes,
        prefixes.keeping(busy.network),
        prefixes.keeping(busy.network, channels),
    ):
        torch.testing.assert_close(live.logits(there), expected, rtol=1e-4, atol=1e-4)
        few = live.logits(there, wanted)
        torch.testing.assert_close(few[:, wanted], expected[:, wanted], rtol=1e-4, atol=1e-4)
        assert few.isnan().sum() == few.numel() - 2 * len(few)


def test_unique_prefixes_are_the_different_beginnings(busy: Model) -> None:
    """As many as the sets of tokens before, and every token finds its own."""
    tokens, at = beginnings(busy)
    texts = [
        tuple(row[: t + 1])
        for row, last in zip(tokens.tolist(), at.tolist(), strict=True)
        for t in range(last + 1)
    ]
    prefixes = UniquePrefixes.of(tokens, at)
    assert len(prefixes.tokens) == len(set(texts)) < len(texts)
    real = torch.arange(tokens.shape[1])[None] <= at[:, None]
    assert torch.equal(prefixes.by_sequence(prefixes.tokens.float())[real], tokens[real].float())
    assert torch.equal(prefixes.by_prefix(tokens.float()), prefixes.tokens.float())
    assert torch.equal(prefixes.position[prefixes.ends], at)
