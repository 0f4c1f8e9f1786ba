"""Parts that only models of others have: added positions, gains, residual AbsTopK, ReLU."""

import dataclasses
import json
from typing import Any

import pytest
import torch

from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.masks import replacing
from lacewing.ablation.prefixes import UniquePrefixes
from lacewing.errors import ConfigError
from lacewing.model.config import BLOCK_SITES, RESIDUAL_SITES, ModelConfig
from lacewing.model.hooks import edit
from lacewing.model.sites import site_widths
from lacewing.model.transformer import Transformer

SMALL: dict[str, Any] = {
    "n_layer": 2,
    "d_model": 16,
    "d_head": 4,
    "d_mlp": 24,
    "vocab_size": 30,
    "context": 12,
    "abs_topk": 0.5,
}
PARTS: dict[str, dict[str, Any]] = {
    "added": {"added_positions": True},
    "gains": {"d_position": 4, "position_gains": True},
    "residual": {"abs_topk_sites": (*BLOCK_SITES, *RESIDUAL_SITES)},
    "relu": {"activation": "relu"},
    "bias": {"output_bias": True, "bigram": False},
}


def random_network(**changes: Any) -> Transformer:
    """Weights far from their first values, so that nothing is too small to see."""
    torch.manual_seed(5)
    network = Transformer(ModelConfig(**SMALL, **changes))
    network.eval().requires_grad_(False)
    for tensor in network.state_dict().values():
        tensor.copy_(0.7 * torch.randn_like(tensor))
    return network


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("share", [0.03, 0.3])
def test_a_compiled_circuit_is_the_masked_model(part: str, share: float) -> None:
    network = random_network(**PARTS[part])
    generator = torch.Generator().manual_seed(1)
    widths = site_widths(network.config)
    masks = {k: torch.rand(w, generator=generator) < share for k, w in widths.items()}
    values = {k: 0.3 * torch.randn(w, generator=generator) for k, w in widths.items()}
    tokens = torch.randint(30, (6, 9), generator=generator)
    tokens[1] = tokens[0]
    last = torch.tensor([8, 5, 3, 8, 0, 7])
    with edit(network, replacing(masks, values)):
        expected = network(tokens, at=last)
    compiled = CompiledCircuit(network, masks, values)
    torch.testing.assert_close(compiled(tokens, last), expected, atol=1e-5, rtol=1e-5)
    shared = UniquePrefixes.of(tokens, last).keeping(network)
    torch.testing.assert_close(compiled.logits(shared), expected, atol=1e-5, rtol=1e-5)
    some = compiled.logits(shared, wanted=torch.tensor([3, 7]))
    torch.testing.assert_close(some[:, [3, 7]], expected[:, [3, 7]], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_changes_the_logits_and_one_token_alone_agrees(part: str) -> None:
    changes = PARTS[part]
    network, tokens = random_network(**changes), torch.arange(8)[None] + 3
    whole = network(tokens)
    one = network(tokens, at=torch.tensor([5]))
    torch.testing.assert_close(one, whole[:, 5], atol=1e-5, rtol=1e-5)
    usual = {f.name: f.default for f in dataclasses.fields(ModelConfig)}
    without = dict(changes) | {k: usual[k] for k in changes if k not in ("d_position", "bigram")}
    other = Transformer(ModelConfig(**SMALL, **without))
    other.eval().load_state_dict(network.state_dict(), strict=False)
    assert not torch.allclose(other(tokens), whole, atol=1e-3)


def test_the_files_of_models_trained_here_are_as_before() -> None:
    plain = ModelConfig(**SMALL).as_json()
    assert not {"added_positions", "position_gains", "output_bias", "activation"} & set(plain)
    foreign = ModelConfig(**SMALL, added_positions=True)
    saved = json.loads(json.dumps(foreign.as_json()))
    assert ModelConfig(**{**saved, "abs_topk_sites": tuple(saved["abs_topk_sites"])}) == foreign


def test_positions_end() -> None:
    network = random_network(added_positions=True)
    with pytest.raises(ValueError, match="13 tokens exceed the 12 known positions"):
        network(torch.zeros(1, 13, dtype=torch.long))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"added_positions": True, "d_position": 4}, "added or concatenated"),
        ({"position_gains": True}, "set d_position"),
    ],
)
def test_parts_that_cannot_go_together(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ModelConfig(**SMALL, **changes)
