"""Steps of a mask with maps of what is on: the losses and gradients of the whole maps."""

from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from tiny_open import LAYOUTS, VOCAB, network_of

from lacewing.ablation.learning_maps import LearningMaps
from lacewing.ablation.node_mask import NodeMask
from lacewing.model.huggingface.network import HuggingFaceNetwork
from lacewing.model.sites import site_widths
from lacewing.pruning.mask_learning import gradients
from lacewing.tasks.batch import Prompts
from lacewing.tasks.pair import Pair


@pytest.fixture(params=LAYOUTS, ids=lambda made: made.__name__)
def network(request: pytest.FixtureRequest) -> HuggingFaceNetwork:
    """A tiny model of each layout."""
    return network_of(request.param)


def _prompts(seed: int) -> Prompts:
    """Six pairs of unlike length that begin alike."""
    dice = torch.Generator().manual_seed(seed)
    text = torch.randint(VOCAB, (12, 9), generator=dice)
    text[:, 0], text[1, :5] = 7, text[0, :5]
    last, answer = 4 + torch.randint(5, (12,), generator=dice), torch.arange(12)
    return Prompts(text, last, answer, answer + 1, (Pair("a", "b", "c", "d", "e"),) * 6)


def _mask(network: HuggingFaceNetwork, share: float) -> NodeMask:
    """A share of the nodes on; of one site none, of another all."""
    dice, widths = torch.Generator().manual_seed(2), site_widths(network.config)
    means = {key: torch.randn(width, generator=dice) for key, width in widths.items()}
    some = {key: torch.rand(width, generator=dice) - 1 + share for key, width in widths.items()}
    some["0.mlp_in"], some["1.mlp_neuron"] = some["0.mlp_in"].abs(), -some["1.mlp_neuron"].abs()
    return NodeMask(widths, means, torch.cat(list(some.values())), 1.0)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, 0.8, 1.0])
@pytest.mark.parametrize("held", [1.2e9, 1.0])
def test_losses_and_gradients_are_those_of_whole_maps(
    network: HuggingFaceNetwork, share: float, held: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step after step, with few nodes on and with many, also where blocks run again on the way."""
    monkeypatch.setattr("lacewing.model.huggingface.network.HELD", held)
    maps: LearningMaps | None = None
    for seed in range(2):
        found: dict[str, Any] = {}
        for way in ("whole", "maps"):
            mask = _mask(network, share)
            if way == "maps":
                maps = maps or LearningMaps(network, mask.means)
            (loss,) = gradients(
                network, [mask], [_prompts(seed)], [1e-3], maps=maps if way == "maps" else None
            )
            found[way] = loss, mask.tau.grad
        assert found["maps"][0] == pytest.approx(found["whole"][0], rel=1e-4)
        whole = found["whole"][1]
        assert float(whole.norm()) > 0
        error = float((found["maps"][1] - whole).norm() / whole.norm())
        assert error < 1e-4
    assert all("forward" not in vars(module) for module in network.modules())


def test_other_constraints_take_the_whole_maps(network: HuggingFaceNetwork) -> None:
    """What is off stands elsewhere than at its mean: maps that take it there do not run."""
    found = []
    for maps in (None, LearningMaps(network, _mask(network, 0.1).means)):
        mask = _mask(network, 0.1)
        gradients(network, [mask], [_prompts(0)], [1e-3], asked="zero", maps=maps)
        found.append(mask.tau.grad)
    assert found[0] is not None
    assert found[1] is not None
    assert torch.equal(found[0], found[1])


def test_maps_are_put_back_after_an_error(network: HuggingFaceNetwork) -> None:
    """Whatever happens in the block."""
    mask = _mask(network, 0.1)
    with pytest.raises(ZeroDivisionError), LearningMaps(network, mask.means).under(mask.on()):
        _ = 1 / 0
    assert all("forward" not in vars(module) for module in network.modules())
