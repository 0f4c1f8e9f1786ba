"""The network: its shapes, its parts, and logits at one position."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lacewing.errors import ConfigError
from lacewing.model.config import ModelConfig
from lacewing.model.transformer import Transformer

KINDS: dict[str, dict[str, Any]] = {
    "all": {"sinks": True, "d_position": 4},
    "sinks": {"sinks": True},
    "positions": {"d_position": 4},
    "plain": {"bigram": False},
    "dense": {"abs_topk": None},
    "one layer": {"n_layer": 1},
}


@pytest.mark.parametrize("kind", KINDS)
def test_at_equals_the_full_pass_there(
    make: Callable[..., Transformer], tokens: Tensor, kind: str
) -> None:
    """Logits at one token per sequence are those of the full pass, whatever the padding."""
    network = make(**KINDS[kind])
    at = torch.tensor([0, 9, 4])
    expected = network(tokens)[torch.arange(3), at]
    torch.testing.assert_close(network(tokens, at), expected, rtol=1e-10, atol=1e-10)
    padded = torch.where(torch.arange(10) > at[:, None], torch.zeros_like(tokens), tokens)
    torch.testing.assert_close(network(padded, at), expected, rtol=1e-10, atol=1e-10)


def test_the_future_is_not_seen(make: Callable[..., Transformer], tokens: Tensor) -> None:
    """Another last token changes the logits there and nowhere before."""
    network = make(sinks=True, d_position=4)
    changed = tokens.clone()
    changed[:, -1] = (tokens[:, -1] + 1) % 40
    before, after = network(tokens), network(changed)
    torch.testing.assert_close(after[:, :-1], before[:, :-1], rtol=1e-10, atol=1e-10)
    assert not torch.equal(before[:, -1], after[:, -1])


def test_the_bigram_row_of_the_current_token_joins_the_logits(network: Transformer) -> None:
    """Adding 1 to one entry of the table adds 1 to that logit, after that token only."""
    tokens = torch.tensor([[5, 7, 5]])
    before = network(tokens)
    assert network.bigram is not None
    network.bigram.data[5, 3] += 1
    expected = torch.zeros_like(before)
    expected[0, [0, 2], 3] = 1
    torch.testing.assert_close(network(tokens) - before, expected, rtol=0, atol=1e-12)


def test_positions_break_the_symmetry(make: Callable[..., Transformer]) -> None:
    """One token over and over: without positions all logits are alike, with them they differ."""
    tokens = torch.full((1, 6), 3)
    alike, different = make()(tokens), make(d_position=4)(tokens)
    torch.testing.assert_close(alike, alike[:, :1].expand_as(alike), rtol=1e-9, atol=1e-9)
    assert (different[0, 0] - different[0, 5]).abs().max() > 1e-3


def test_parameters_are_those_of_the_design() -> None:
    """Names and shapes: no bias at the unembedding, sinks and positions only where asked for."""
    config = ModelConfig(
        n_layer=1, d_model=8, d_head=4, d_mlp=32, vocab_size=20, context=6, sinks=True, d_position=3
    )
    expected = {
        "wte.weight": (20, 8),
        "wpe.weight": (6, 3),
        "blocks.0.ln_1.weight": (8,),
        "blocks.0.c_attn.weight": (24, 11),
        "blocks.0.c_attn.bias": (24,),
        "blocks.0.attn_proj.weight": (8, 8),
        "blocks.0.attn_proj.bias": (8,),
        "blocks.0.sink": (2,),
        "blocks.0.ln_2.weight": (8,),
        "blocks.0.c_fc.weight": (32, 11),
        "blocks.0.c_fc.bias": (32,),
        "blocks.0.mlp_proj.weight": (8, 32),
        "blocks.0.mlp_proj.bias": (8,),
        "ln_f.weight": (8,),
        "lm_head.weight": (20, 8),
        "bigram": (20, 20),
    }
    found = {name: tuple(p.shape) for name, p in Transformer(config).named_parameters()}
    assert expected == found


def test_weights_start_as_published() -> None:
    """N(0, 0.02), residual projections smaller by sqrt(2 layers), biases 0, bigram in (0, 0.02)."""
    torch.manual_seed(0)
    network = Transformer(ModelConfig(n_layer=2, d_model=64, d_mlp=256, vocab_size=256))
    state = network.state_dict()
    assert pytest.approx(float(state["blocks.1.c_fc.weight"].std()), rel=0.03) == 0.02
    assert pytest.approx(float(state["wte.weight"].std()), rel=0.03) == 0.02
    assert pytest.approx(float(state["blocks.0.mlp_proj.weight"].std()), rel=0.03) == 0.01
    assert int(torch.count_nonzero(state["blocks.0.c_attn.bias"])) == 0
    assert 0 <= float(state["bigram"].min()) <= float(state["bigram"].max()) <= 0.02
    assert pytest.approx(float(state["bigram"].mean()), rel=0.03) == 0.01


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"d_model": 30, "d_head": 16}, "d_model 30 is not a multiple of d_head 16"),
        ({"n_layer": 0}, "n_layer must be at least 1"),
        ({"abs_topk": 0.0}, "abs_topk must lie in"),
        ({"abs_topk_sites": ("mlp",)}, "unknown abs_topk_sites"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any], words: str) -> None:
    """A configuration that cannot be built says which sizes disagree."""
    with pytest.raises(ConfigError, match=words):
        ModelConfig(**changes)
