"""Models of transformers on packed rows: the same logits, gradients and recordings as padded."""

import dataclasses
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers")

from lacewing.ablation import packed, prefixes, worst_subset  # noqa: E402
from lacewing.ablation.masks import replacing  # noqa: E402
from lacewing.ablation.node_mask import NodeMask, gates  # noqa: E402
from lacewing.ablation.prefix_run import Batch, whole_batches  # noqa: E402
from lacewing.ablation.run import logits_in_pieces  # noqa: E402
from lacewing.model.hooks import ablate, edit, record  # noqa: E402
from lacewing.model.huggingface import network as networks  # noqa: E402
from lacewing.model.huggingface.network import HuggingFaceNetwork  # noqa: E402
from lacewing.model.sites import site_widths  # noqa: E402
from lacewing.model.store import Model  # noqa: E402
from lacewing.pruning.mask_learning import gradients  # noqa: E402
from lacewing.tasks.batch import Prompts  # noqa: E402
from lacewing.tasks.pair import Pair  # noqa: E402

VOCAB = 60


def _llama(**more: Any) -> Any:
    sizes = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 64}
    config = transformers.LlamaConfig(**sizes, **heads, vocab_size=VOCAB, **more)
    return transformers.LlamaForCausalLM(config)


def _gpt2() -> Any:
    config = transformers.GPT2Config(
        vocab_size=VOCAB, n_positions=64, n_embd=24, n_layer=2, n_head=4
    )
    return transformers.GPT2LMHeadModel(config)


@pytest.fixture(params=[_llama, _gpt2])
def network(request: pytest.FixtureRequest) -> HuggingFaceNetwork:
    """A tiny model of each layout, every weight large enough to matter."""
    torch.manual_seed(0)
    inner = request.param().eval()
    with torch.no_grad():
        for parameter in inner.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return HuggingFaceNetwork(inner)


def prompts(pairs: int, seed: int, begin: int = 7) -> Prompts:
    """Pairs of uneven lengths of which many begin alike, and some members are the same."""
    dice = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 4, (2 * pairs, 11), generator=dice)
    tokens[:, 0] = begin
    tokens[1::2, :5] = tokens[::2, :5]
    last = torch.randint(2, 11, (2 * pairs,), generator=dice)
    last[-1] = 10
    if pairs > 1:
        tokens[3], last[3] = tokens[2], last[2]
    answer = torch.randint(VOCAB, (2 * pairs,), generator=dice)
    tokens = torch.where(torch.arange(11) <= last[:, None], tokens, 0)
    return Prompts(tokens, last, answer, (answer + 1) % VOCAB, (Pair("", "", "", "", ""),) * pairs)


def masks_for(network: HuggingFaceNetwork, count: int) -> list[NodeMask]:
    """Masks that keep about half, and means that are not zero."""
    widths, dice = site_widths(network.config), torch.Generator().manual_seed(1)
    means = {key: 0.1 * torch.randn(width, generator=dice) for key, width in widths.items()}
    total = sum(widths.values())
    inits = [torch.rand(total, generator=dice) * 2 - 1 for _ in range(count)]
    return [NodeMask(widths, means, init, 0.7) for init in inits]


@pytest.mark.parametrize("held", [networks.HELD, 0.0])
def test_masks_learn_the_same(
    network: HuggingFaceNetwork, monkeypatch: pytest.MonkeyPatch, held: float
) -> None:
    """Logits and gradients of two circuits' masks, with blocks checkpointed (`held` 0) and not."""
    monkeypatch.setattr(networks, "HELD", held)
    batches = [prompts(19, 1), prompts(3, 2)]
    found = []
    for sharing in (False, True):
        masks = masks_for(network, 2)
        batch = Batch.of(network, batches, sharing=sharing)
        assert (batch.packed is not None) == sharing
        with ablate(network, gates(masks, batch.owners)):
            logits = batch.logits()
        torch.sin(logits).sum().backward()
        found.append([logits.detach(), *(mask.tau.grad for mask in masks)])
    assert batch.packed is not None
    assert batch.packed.numel < batch.together.tokens.numel()
    for padded, rows in zip(*found, strict=True):
        assert padded.abs().max() > 1e-2
        assert torch.allclose(padded, rows, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_recordings_are_those_of_whole_prompts(network: HuggingFaceNetwork) -> None:
    """Every site, under an edit, at every token of every prompt."""
    given, double = prompts(19, 3), {"0.mlp_neuron": lambda value: 2 * value}
    (batch,) = whole_batches(network, given)
    assert batch.packed is not None
    with ablate(network, double), record(network) as rows:
        packed_logits = batch.logits()
    with ablate(network, double), record(network) as whole:
        logits = network(given.tokens, at=given.last)
    assert torch.allclose(packed_logits, logits, atol=1e-4)
    there = torch.arange(given.tokens.shape[1]) <= given.last[:, None]
    for key, value in whole.items():
        assert torch.allclose(batch.by_sequence(rows[key])[there], value[there], atol=1e-4), key


def test_a_step_in_parts_that_fit(
    network: HuggingFaceNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts are as large as fit, and their gradients add up to those of the whole."""
    batch, found = prompts(12, 4), []
    for held in (networks.HELD, 60 * network._held()):
        monkeypatch.setattr(networks, "HELD", held)
        masks, ran = masks_for(network, 1), []

        def seen(value: torch.Tensor, ran: list[int] = ran) -> torch.Tensor:
            ran.append(value.shape[0] * value.shape[1])
            return value

        with edit(network, {"0.attn_in": seen}):
            losses = gradients(network, masks, [batch], [0.0])
        found.append((losses[0], masks[0].tau.grad))
    assert len(ran) > 1
    assert max(ran) <= 60
    assert len(ran) < len(batch) // network.pairs_at_once(batch.tokens.shape[1]), "than padded"
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-5)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-5)


@torch.no_grad()
def _mostly_right(network: HuggingFaceNetwork, batch: Prompts) -> Prompts:
    """The same prompts, asked so that the masked model is right on four of five."""
    (mask,) = masks_for(network, 1)
    with ablate(network, replacing(mask.on(), mask.means)):
        logits = network(batch.tokens, at=batch.last)
    asked = torch.stack([batch.answer, batch.other])
    first, second = logits.gather(1, asked.T).T
    swap = (second > first) ^ (torch.arange(len(first)) % 5 == 0)
    answer, other = torch.where(swap, asked.flip(0), asked)
    return dataclasses.replace(batch, answer=answer, other=other)


def test_a_climb_stays_within_what_is_held(
    network: HuggingFaceNetwork, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No block is checkpointed, and the gradients are those of the whole batch at once."""
    batch, found = _mostly_right(network, prompts(12, 6)), []
    for held in (networks.HELD, 60 * network._held()):
        monkeypatch.setattr(networks, "HELD", held)
        monkeypatch.setattr(network, "_checkpointed", lambda: 1 / 0)
        (mask,) = masks_for(network, 1)
        opened = dataclasses.replace(model, network=network, means=mask.means)
        worst_subset._climb(opened, mask, batch)
        found.append(mask.tau.grad)
    assert len(packed.fitting(network, batch)) > 1
    assert found[0].abs().max() > 1e-4
    assert torch.allclose(*found, atol=1e-5)


@torch.no_grad()
def test_resampling_holds_few_pairs_at_once(
    network: HuggingFaceNetwork, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is recorded is sized by its bytes; the logits are the same."""
    (mask,), given, found = masks_for(network, 1), prompts(9, 7), []
    opened = dataclasses.replace(model, network=network, means=mask.means)
    for most in (prefixes.RECORDED, 2 * 2 * 11 * 4 * len(mask.tau)):
        monkeypatch.setattr(prefixes, "RECORDED", most)
        found.append(list(logits_in_pieces(opened, given, mask.on(), "resample")))
    assert [len(pieces) for pieces in found] == [1, 5]
    assert torch.allclose(*(torch.cat(pieces) for pieces in found), atol=1e-5)


def test_what_cannot_be_packed_runs_whole(network: HuggingFaceNetwork) -> None:
    """Prompts that begin otherwise, that are too long, or a kernel that takes no mask of ours."""
    assert packed.runs_packed(network, prompts(3, 1))
    assert not packed.runs_packed(network, prompts(3, 1), prompts(3, 1, begin=8))
    network.longest = 10
    assert not packed.runs_packed(network, prompts(3, 1))
    network.longest = 64
    network.inner.config.sliding_window = 10
    assert not packed.runs_packed(network, prompts(3, 1))
    network.inner.config.sliding_window = None
    network.inner.set_attn_implementation("eager")
    assert not packed.runs_packed(network, prompts(3, 1))


@torch.no_grad()
def test_masks_of_a_selection(network: HuggingFaceNetwork, model: Model) -> None:
    """Logits under constants, piece by piece as a selection asks for them."""
    (mask,) = masks_for(network, 1)
    given = prompts(40, 5)
    opened = dataclasses.replace(model, network=network, means=mask.means)
    pieces = list(logits_in_pieces(opened, given, mask.on()))
    assert [len(piece) for piece in pieces] == [40, 40]
    with ablate(network, replacing(mask.on(), mask.means)):
        whole = network(given.tokens, at=given.last)
    assert torch.allclose(torch.cat(pieces), whole, atol=1e-4)
