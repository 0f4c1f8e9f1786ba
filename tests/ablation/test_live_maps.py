"""Circuits in models of transformers whose maps work out live channels: the same as by hooks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from tiny_open import LAYOUTS, VOCAB, network_of

from lacewing.ablation import live_maps
from lacewing.ablation.claims import claims, log_odds
from lacewing.ablation.live_map import LiveMap
from lacewing.ablation.live_maps import ablating
from lacewing.ablation.masks import replacing
from lacewing.ablation.modes import Running, interchanged
from lacewing.ablation.packed import packed, runs_packed
from lacewing.ablation.prefix_run import logits_packed
from lacewing.model.hooks import ablate, edit, record
from lacewing.model.huggingface.network import HuggingFaceNetwork
from lacewing.model.sites import site_widths
from lacewing.tasks.batch import Prompts
from lacewing.tasks.pair import Pair


@pytest.fixture(params=LAYOUTS, ids=lambda made: made.__name__)
def network(request: pytest.FixtureRequest) -> HuggingFaceNetwork:
    """A tiny model of each layout."""
    return network_of(request.param)


@pytest.fixture
def constants(network: HuggingFaceNetwork) -> dict[str, torch.Tensor]:
    """Values for what is ablated, none of them zero."""
    dice = torch.Generator().manual_seed(1)
    return {k: torch.randn(n, generator=dice) for k, n in site_widths(network.config).items()}


Nodes = Callable[[HuggingFaceNetwork], dict[str, torch.Tensor]]


def _some(network: HuggingFaceNetwork, share: float = 0.25) -> dict[str, torch.Tensor]:
    dice = torch.Generator().manual_seed(2)
    widths = site_widths(network.config)
    return {key: torch.rand(n, generator=dice) < share for key, n in widths.items()}


def _with(nodes: dict[str, torch.Tensor], **sites: slice) -> dict[str, torch.Tensor]:
    """Nodes of which a site of both layers has these and no others."""
    for layer in range(2):
        for site, kept in sites.items():
            nodes[f"{layer}.{site}"] = torch.zeros_like(nodes[f"{layer}.{site}"])
            nodes[f"{layer}.{site}"][kept] = True
    return nodes


def _quarter(network: HuggingFaceNetwork) -> dict[str, torch.Tensor]:
    """A quarter of the nodes, all of one site, and none of another."""
    some = _some(network)
    some["0.mlp_in"] = torch.ones_like(some["0.mlp_in"])
    some["1.attn_k"] = torch.zeros_like(some["1.attn_k"])
    return some


NONE = slice(0, 0)


def _one_head(network: HuggingFaceNetwork) -> dict[str, torch.Tensor]:
    """A query of one head; nothing of the others."""
    return _with(_some(network), attn_q=slice(5, 6), attn_k=NONE, attn_v=NONE)


def _one_key(network: HuggingFaceNetwork) -> dict[str, torch.Tensor]:
    """A key that several heads may share."""
    return _with(_some(network), attn_q=NONE, attn_k=slice(6, 7), attn_v=NONE)


def _no_head(network: HuggingFaceNetwork) -> dict[str, torch.Tensor]:
    """What heads bring hangs on the position alone."""
    return _with(_some(network), attn_q=NONE, attn_k=NONE, attn_v=NONE)


def _nothing_written(network: HuggingFaceNetwork) -> dict[str, torch.Tensor]:
    """Heads and neurons that write nothing."""
    return _with(_some(network), attn_out=NONE, mlp_out=NONE)


def _no_neuron(network: HuggingFaceNetwork) -> dict[str, torch.Tensor]:
    """What MLPs write is constant, though it runs freely."""
    return _with(_some(network), mlp_neuron=NONE)


@pytest.fixture(
    params=[_quarter, _one_head, _one_key, _no_head, _nothing_written, _no_neuron],
    ids=lambda made: made.__name__,
)
def masks(network: HuggingFaceNetwork, request: pytest.FixtureRequest) -> dict[str, torch.Tensor]:
    """Nodes that run freely."""
    made: Nodes = request.param
    return made(network)


TEXT = torch.randint(VOCAB, (5, 9), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("alike", [True, False])
def test_logits_are_those_of_hooks(
    network: HuggingFaceNetwork,
    constants: dict[str, torch.Tensor],
    masks: dict[str, torch.Tensor],
    alike: bool,
) -> None:
    """Also where texts do not begin alike, and in a second text."""
    texts = [TEXT.clone(), TEXT.flip(0)]
    for text in texts:
        text[:, 0] = 7 if alike else torch.arange(len(text))
    with torch.no_grad():
        with ablate(network, replacing(masks, constants)):
            expected = [network(text) for text in texts]
        free = network(texts[0])
        with ablating(network, masks, constants):
            assert isinstance(network.blocks[0].get_submodule(_out(network)).forward, LiveMap)
            found = [network(text) for text in texts]
            longer = network(torch.cat([texts[0], texts[1][:, 1:]], dim=1))
        with ablate(network, replacing(masks, constants)):
            then = network(torch.cat([texts[0], texts[1][:, 1:]], dim=1))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(longer, then, rtol=1e-4, atol=1e-4)
        assert float((expected[0] - free).abs().max()) > 0.1
        assert torch.equal(network(texts[0]), free)


def test_packed_rows_are_those_of_hooks(
    network: HuggingFaceNetwork,
    constants: dict[str, torch.Tensor],
    masks: dict[str, torch.Tensor],
) -> None:
    """A head that is left out knows where in its prompt a place stands; the block runs twice."""
    text = TEXT[:4].clone()
    text[:, 0], text[1, :6], text[3, :5] = 7, text[0, :6], text[2, :5]
    last, answers = torch.tensor([8, 7, 8, 6]), torch.zeros(4, dtype=torch.long)
    pairs = tuple(Pair("a", "b", "c", "d", "e") for _ in range(2))
    prompts = Prompts(text, last, answers, answers + 1, pairs)
    assert runs_packed(network, prompts)
    rows = packed(prompts)
    assert rows.numel < text.numel()
    with torch.no_grad():
        with ablate(network, replacing(masks, constants)):
            expected = logits_packed(network, rows)
            plain = network(text, at=last)
        torch.testing.assert_close(plain, expected, rtol=1e-4, atol=1e-4)
        block = ablating(network, masks, constants)
        for _ in range(2):
            with block:
                found = logits_packed(network, rows)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_values_of_other_prompts_are_those_of_hooks(
    network: HuggingFaceNetwork, masks: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is resampled need not be worked out."""
    text = TEXT[:4].clone()
    text[:, 0] = 7
    answers = torch.zeros(4, dtype=torch.long)
    pairs = (Pair("a", "b", "c", "d", "e"),) * 2
    prompts = Prompts(text, torch.tensor([8, 7, 8, 6]), answers, answers + 1, pairs)
    donors, running = torch.tensor([2, 3, 1, 0]), [Running(network, masks)]
    made, real = [], live_maps.live_rows
    monkeypatch.setattr(live_maps, "live_rows", lambda *given: made.append(1) or real(*given))
    (found,) = interchanged(prompts, donors, running)
    assert made
    monkeypatch.setattr(live_maps, "_fits", lambda network, masks: False)
    (expected,) = interchanged(prompts, donors, running)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def _out(network: HuggingFaceNetwork) -> str:
    return network.layout.maps["attn_out"][0]


def test_queries_and_keys_are_recorded_as_with_hooks(
    network: HuggingFaceNetwork,
    constants: dict[str, torch.Tensor],
    masks: dict[str, torch.Tensor],
) -> None:
    """What heads look with; see `verification.attention`."""
    wanted = ("attn_q", "attn_k", "attn_out", "mlp_neuron")
    sites = [f"{layer}.{site}" for layer in range(2) for site in wanted]
    expected, found = {}, {}
    with torch.no_grad():
        for some in (sites, *([site] for site in sites)):  # and each where nobody else looks
            with ablate(network, replacing(masks, constants)), record(network, some) as seen:
                network(TEXT)
            expected |= seen
            with ablating(network, masks, constants), record(network, some) as seen:
                network(TEXT)
            found |= seen
    for site in sites:
        kept = slice(None)
        if "neuron" in site:  # before the replacement: of the others nothing is known
            kept = masks[site]
        torch.testing.assert_close(
            found[site][..., kept], expected[site][..., kept], rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("why", ["hook", "gradient", "many", "fewer sites"])
def test_maps_stay_where_others_look(
    network: HuggingFaceNetwork,
    constants: dict[str, torch.Tensor],
    masks: dict[str, torch.Tensor],
    why: str,
) -> None:
    """Set hooks, gradients, many live nodes, sites that run freely: then by hooks, as ever."""
    if why == "many":
        masks = {key: ~mask for key, mask in masks.items()}
    if why == "fewer sites":
        del masks["resid_final"]
    looks = {"0.attn_in": lambda value: value} if why == "hook" else {}
    with torch.set_grad_enabled(why == "gradient"), edit(network, looks):
        with ablate(network, replacing(masks, constants)):
            expected = network(TEXT)
        with ablating(network, masks, constants):
            assert not isinstance(network.blocks[0].get_submodule(_out(network)).forward, LiveMap)
            assert torch.equal(network(TEXT), expected)


def test_maps_are_put_back_after_an_error(
    network: HuggingFaceNetwork,
    constants: dict[str, torch.Tensor],
    masks: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Inside the block, and while maps are exchanged."""
    before = network(TEXT)
    with pytest.raises(ZeroDivisionError), torch.no_grad(), ablating(network, masks, constants):
        _ = 1 / 0
    assert torch.equal(network(TEXT), before)
    made, real = [], live_maps.live_map

    def failing(*given: Any) -> LiveMap:
        made.append(given)
        if len(made) == 5:
            raise MemoryError
        return real(*given)

    monkeypatch.setattr(live_maps, "live_map", failing)
    with pytest.raises(MemoryError), torch.no_grad(), ablating(network, masks, constants):
        pass
    assert torch.equal(network(TEXT), before)


def test_claims_are_those_of_hooks(
    network: HuggingFaceNetwork,
    constants: dict[str, torch.Tensor],
    masks: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many windows fit into a pass."""
    with torch.no_grad(), ablate(network, replacing(masks, constants)):
        expected = torch.stack([log_odds(row, [3, 4]) for row in network(TEXT)])
    module: Callable[..., Any] = claims
    for most in (1, 2 * TEXT.shape[1] * VOCAB, 2**24):
        monkeypatch.setitem(module.__globals__, "LOGITS", most)
        found = claims(network, TEXT, [3, 4], masks, ablation_values=constants)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
