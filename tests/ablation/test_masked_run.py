"""The pass that masks are learned with against the model under hooks."""

import copy

import pytest
import torch
from torch import Tensor

import micro
from lacewing.ablation.masked_run import masked_logits, runs_masked
from lacewing.ablation.node_mask import NodeMask, gates, steps
from lacewing.ablation.prefix_run import Batch
from lacewing.model.config import ModelConfig
from lacewing.model.hooks import ablate, edit
from lacewing.model.layers import find_nonzeros, forget_nonzeros
from lacewing.model.sites import site_widths
from lacewing.model.transformer import Transformer
from lacewing.pruning.mask_learning import gradients
from lacewing.pruning.robust import losses
from lacewing.tasks.batch import Prompts


def network(monkeypatch: pytest.MonkeyPatch, **more: object) -> Transformer:
    """A random model of widths that whole vectors fill, its maps known as sparse."""
    monkeypatch.setattr("lacewing.model.layers.crossover", lambda: 1.0)
    shape = {
        "n_layer": 2,
        "d_model": 64,
        "d_head": 16,
        "d_mlp": 96,
        "vocab_size": micro.tokenizer().vocab_size,
        "context": 16,
        "abs_topk": 0.3,
        "sinks": True,
        "d_position": 16,
    }
    torch.manual_seed(3)
    made = Transformer(ModelConfig(**(shape | more))).eval().requires_grad_(False)  # type: ignore[arg-type]
    for weight in made.parameters():
        chosen = torch.rand_like(weight) < (0.2 if weight.ndim == 2 else 1)
        weight.copy_(torch.randn_like(weight) * chosen)
    find_nonzeros(made)
    return made


def mask_for(made: Transformer, share: float) -> NodeMask:
    """A mask that keeps a share of the nodes, by chance."""
    widths, generator = site_widths(made.config), torch.Generator().manual_seed(0)
    means = {key: torch.randn(width, generator=generator) for key, width in widths.items()}
    init = (share - torch.rand(sum(widths.values()), generator=generator)) / 2
    return NodeMask(widths, means, init, 0.7)


@pytest.fixture
def batch() -> Prompts:
    """Prompts of which some begin alike."""
    return micro.prompts(7, 1, micro.tokenizer())


MODELS = {
    "gelu": {},
    "relu": {"activation": "relu"},
    "no positions": {"d_position": 0},
    "no sinks": {"sinks": False, "bigram": False},
    "no AbsTopK": {"abs_topk": None},
    "one layer": {"n_layer": 1},
}


@pytest.mark.parametrize("share", [0.02, 0.4, 1.0])
@pytest.mark.parametrize("kind", MODELS)
def test_logits_and_gradients_are_those_under_hooks(
    monkeypatch: pytest.MonkeyPatch, batch: Prompts, kind: str, share: float
) -> None:
    """Of every node, on or off; with few nodes whole heads are off."""
    made = network(monkeypatch, **MODELS[kind])
    found: list[list[Tensor]] = []
    for fast in (False, True):
        mask, run = mask_for(made, share), Batch.of(made, [batch])
        assert runs_masked(made)
        assert run.prefixes is not None
        if fast:
            own = {key: step[0] for key, step in steps([mask]).items()}
            logits = masked_logits(made, run.prefixes, own, mask.means)
        else:
            with ablate(made, gates([mask], run.owners)):
                logits = run.logits()
        (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward()
        assert mask.tau.grad is not None
        found.append([logits.detach(), mask.tau.grad])
    for expected, actual in zip(*found, strict=True):
        torch.testing.assert_close(actual, expected, rtol=2e-3, atol=1e-3)


def test_two_circuits_learn_at_once(monkeypatch: pytest.MonkeyPatch, batch: Prompts) -> None:
    """Each has the loss and the gradient that it has under hooks."""
    monkeypatch.setattr(losses, "half_pays", lambda device: False)
    made, other = network(monkeypatch), micro.prompts(4, 2, micro.tokenizer())
    found = []
    for fast in (False, True):
        monkeypatch.setattr(losses, "runs_masked", runs_masked if fast else lambda network: False)
        masks = [mask_for(made, 0.5), mask_for(made, 0.3)]
        reached = gradients(made, masks, [batch, other], [0.0, 0.1])
        found.append([torch.tensor(reached), *(mask.tau.grad for mask in masks)])
    for expected, actual in zip(*found, strict=True):
        torch.testing.assert_close(actual, expected, rtol=2e-3, atol=1e-4)


def test_it_is_not_taken_where_it_would_be_another_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Hooks that somebody set, AbsTopK on the stream itself, narrow heads, dense maps."""
    made = network(monkeypatch)
    with edit(made, {"0.attn_in": lambda value: value * 0}):
        assert not runs_masked(made)
    assert runs_masked(made)
    assert not runs_masked(network(monkeypatch, abs_topk_sites=("resid_mid",)))
    assert not runs_masked(network(monkeypatch, d_head=8))
    forgotten = copy.deepcopy(made)
    forget_nonzeros(forgotten)
    assert not runs_masked(forgotten)
