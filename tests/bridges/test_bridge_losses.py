"""Streams, paths and their gradients, against what is plainly right."""

import dataclasses

import pytest
import torch

import micro
from bridges.rotated import rotated
from lacewing.bridges.config import BridgeConfig
from lacewing.bridges.figures import measured
from lacewing.bridges.fit import fit
from lacewing.bridges.folder import Coupling
from lacewing.bridges.losses import backward, divergence, nmse
from lacewing.bridges.maps import Bridges, Sizes, drawn, node_at, site_key, site_of
from lacewing.bridges.streams import entering, onward, streams
from lacewing.errors import DataError
from lacewing.kernels.abs_topk import abs_topk
from lacewing.kernels.cross_entropy import cross_entropy
from lacewing.model.config import BLOCK_SITES, RESIDUAL_SITES, ModelConfig
from lacewing.model.store import Model
from lacewing.model.transformer import Transformer

SHAPE = ModelConfig(
    n_layer=2, d_model=32, d_head=16, d_mlp=48, vocab_size=64, context=12, d_position=8
)


def network(seed: int, **changes: object) -> Transformer:
    """A drawn model of two layers."""
    torch.manual_seed(seed)
    made = Transformer(dataclasses.replace(SHAPE, **changes))  # type: ignore[arg-type]
    for parameter in made.parameters():
        parameter.data.mul_(3)  # so that every part matters
    return made


def windows(seed: int = 0) -> torch.Tensor:
    """Text of 12 tokens and one more."""
    return torch.randint(64, (4, 13), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("residual", [False, True])
def test_running_on_is_the_model(residual: bool) -> None:
    """From any bridge, with the model's own stream, the logits are the model's, to the bit."""
    sites = (*BLOCK_SITES, *(RESIDUAL_SITES if residual else ()))
    model, tokens = network(0, abs_topk_sites=sites), windows()[:, :-1]
    with torch.no_grad():
        found, logits = streams(model, tokens)
        assert torch.equal(logits, model(tokens)) or residual
        for site, value in enumerate(found):
            assert torch.equal(onward(model, site, value, tokens), logits)
            kept = entering(model, site, value)
            cut = residual and site < len(found) - 1
            expected = abs_topk(value, 8) if cut else kept
            assert torch.equal(kept, expected)
    assert len(found) == 5


def naive(
    dense: Transformer, sparse: Transformer, bridges: Bridges, text: torch.Tensor, c: BridgeConfig
) -> None:
    """All losses in one graph, and one backward pass through all of it."""
    inputs = text[:, :-1]
    there, logits = streams(dense, inputs)
    teacher = logits.log_softmax(-1).detach()
    here, logits = streams(sparse, inputs)
    whole = cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())
    whole = whole + c.kl_direct * divergence(teacher, logits)
    for site in range(bridges.sizes.count):
        read, written = bridges.at(site).encode(there[site]), bridges.at(site).decode(here[site])
        errors = nmse(read, entering(sparse, site, here[site])) + nmse(written, there[site])
        to_sparse = divergence(teacher, onward(sparse, site, read, inputs))
        to_dense = divergence(teacher, onward(dense, site, written, inputs))
        whole = whole + c.nmse * errors + c.kl_to_sparse * to_sparse + c.kl_to_dense * to_dense
    whole.backward()


@pytest.mark.parametrize(
    "config",
    [
        BridgeConfig(kl_direct=0.5),
        BridgeConfig(nmse=0.3, kl_to_sparse=0.0, kl_to_dense=2.0),
        BridgeConfig(kl_to_sparse=1.5, kl_to_dense=0.0),
    ],
)
def test_gradients(config: BridgeConfig) -> None:
    """One path at a time gives the gradients of all losses in one graph."""
    dense = network(1, d_model=48, d_head=16, abs_topk=None, d_position=0)
    dense.requires_grad_(False)
    found = []
    for way in (naive, None):
        sparse, bridges = network(2), drawn(Sizes(2, 48, 32, 20), 3)
        if way is None:
            backward(dense, sparse, bridges, windows(), config, learns=True)
        else:
            way(dense, sparse, bridges, windows(), config)
        named = [*sparse.named_parameters(), *bridges.named_parameters()]
        found.append({name: p.grad for name, p in named})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=2e-6, rtol=1e-4, msg=name)
    moved = [g for name, g in found[1].items() if "encoder" in name]
    assert all(float(g.abs().max()) > 0 for g in moved)


def test_a_model_that_is_held() -> None:
    """Gets no gradients; its bridges get those that they have beside one that learns."""
    dense, sparse = network(1).requires_grad_(False), network(2)
    gradients = []
    for learns in (True, False):
        bridges = drawn(Sizes(2, 32, 32, 20), 3)
        sparse.requires_grad_(learns).zero_grad()
        losses = backward(dense, sparse, bridges, windows(), BridgeConfig(), learns=learns)
        gradients.append([p.grad for p in bridges.parameters()])
        assert len(losses.kl_sparse) == 5
    assert all(p.grad is None for p in sparse.parameters())
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_memory_holds_one_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a path begins, nothing of the one before is alive any more."""
    import gc
    import weakref

    from lacewing.bridges import losses as module

    alive: list[weakref.ref[torch.Tensor]] = []
    real = module.onward

    def watched(*given: object) -> torch.Tensor:
        gc.collect()
        assert all(one() is None for one in alive), "a path is still in memory"
        logits: torch.Tensor = real(*given)  # type: ignore[arg-type]
        alive.append(weakref.ref(logits))
        return logits

    monkeypatch.setattr(module, "onward", watched)
    dense = network(1).requires_grad_(False)
    bridges = drawn(Sizes(2, 32, 32, 20), 3)
    backward(dense, network(2), bridges, windows(), BridgeConfig(), learns=True)
    assert len(alive) == 10


def test_least_squares_find_the_rotation(coupling: Coupling, sparse: Model) -> None:
    """The bridges that are known are found from text, and then nothing is lost on any path."""
    text = micro._text(sparse.tokenizer, 3)
    bridges = drawn(Sizes(1, micro.WIDTH, micro.WIDTH, micro.WIDTH), 0)
    dense, own = coupling.dense.ours, sparse.ours
    before = measured(dense, own, bridges, text[:32], quiet=True).means()
    fit(dense, own, bridges, text[:, :-1])
    after = measured(dense, own, bridges.requires_grad_(False), text[:32], quiet=True).means()
    for way in ("to_sparse", "to_dense"):
        assert before[f"{way}.explained"] < 0.1
        assert after[f"{way}.explained"] > 0.98
        assert after[f"{way}.divergence"] < 0.1 * after[f"{way}.nothing"]


def test_exact_bridges_lose_nothing(coupling: Coupling, sparse: Model) -> None:
    """All variance is explained both ways, and every path answers as the dense model does."""
    text = micro._text(sparse.tokenizer, 5)[:32]
    found = measured(coupling.dense.ours, sparse.ours, coupling.bridges, text, quiet=True)
    for one in found.sites:
        for way in (one.to_sparse, one.to_dense):
            assert way.explained.value == pytest.approx(1, abs=1e-5)
            assert way.divergence.value == pytest.approx(0, abs=1e-4)
            assert way.above.value == pytest.approx(0, abs=1e-4)
            assert way.nothing.value > 0.002
        assert one.ceiling.value == 1.0
    assert found.above.value == pytest.approx(0, abs=1e-4)
    assert found.windows == 32


def test_a_wrong_rotation_would_be_seen(sparse: Model) -> None:
    """The exact bridges of another rotation explain nothing: the test above can fail."""
    from bridges.rotated import exact

    other = exact(sparse, rotated(sparse, 7), seed=0)
    text = micro._text(sparse.tokenizer, 5)[:16]
    found = measured(other.dense.ours, sparse.ours, other.bridges, text, quiet=True)
    assert found.means()["to_dense.explained"] < 0.1


def test_places() -> None:
    """Bridges stand where sublayers read, and at the unembedding; nowhere else."""
    keys = [site_key(site, 2) for site in range(5)]
    assert keys == ["0.attn_in", "0.mlp_in", "1.attn_in", "1.mlp_in", "resid_final"]
    assert [site_of(key, 2) for key in keys] == list(range(5))
    sizes = Sizes(2, 48, 32, 8)
    assert node_at("1.mlp_in.31", sizes) == (3, 31)
    for node, told in (
        ("1.mlp_in.32", "none of the 32 residual channels"),
        ("0.mlp_neuron.3", "no bridge stands at 0.mlp_neuron"),
        ("2.attn_in.3", "no bridge stands at 2.attn_in"),
        ("nonsense", "is no node"),
    ):
        with pytest.raises(DataError, match=told):
            node_at(node, sizes)
