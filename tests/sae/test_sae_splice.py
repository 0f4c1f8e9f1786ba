"""A model whose nodes are latents: itself while all run, pruned and tested like any other."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import micro
from lacewing.ablation.masks import replacing
from lacewing.ablation.run import ablated_logits
from lacewing.circuit.circuit import Circuit
from lacewing.cli import app
from lacewing.errors import LacewingError
from lacewing.model import store
from lacewing.model.hooks import ablate, edit, record
from lacewing.model.protocol import Network
from lacewing.model.store import Model
from lacewing.pruning import node_search
from lacewing.sae import folder as saved
from lacewing.sae.autoencoder import Autoencoder
from lacewing.sae.splice import SplicedNetwork, spliced
from lacewing.tasks.task import Task
from lacewing.verification.random_circuits import HEARD, random_nodes

SITES = ("0.attn_out", "0.mlp_out")
LATENTS = 2 * micro.WIDTH


def autoencoders(site: str, seed: int, width: int = micro.WIDTH) -> Autoencoder:
    """Latents of which pairs are a channel's two signs, and a few are noise in between."""
    rows = torch.cat([torch.eye(width), -torch.eye(width)])
    noise = 0.01 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(seed))
    zero = torch.zeros(width)
    bias = torch.zeros(2 * width)
    return Autoencoder(site, site, "topk", width, rows, bias, rows + noise, zero, zero)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The micro model, its task, and a folder of autoencoders beside it."""
    place = tmp_path_factory.mktemp("latents")
    micro.write_run(micro.micro(), place / "run")
    micro.write_pairs(place / "letters.jsonl")
    model = store.load(place / "run")
    saes = [autoencoders(site, number) for number, site in enumerate(SITES)]
    means = {sae.site: torch.zeros(sae.latents) for sae in saes}
    saved.save(place / "saes", model, saes, means, corpus="standard_library")
    return place


@pytest.fixture(scope="module")
def latent(run: Path) -> Model:
    """The model with latents as nodes."""
    return store.load(f"sae:{run / 'saes'}")


def tokens() -> torch.Tensor:
    """Some text."""
    return torch.randint(97, 107, (3, 9), generator=torch.Generator().manual_seed(0))


def test_it_is_a_network(latent: Model) -> None:
    """All that the protocol asks for is there, with as many nodes as latents and error channels."""
    assert isinstance(latent.network, Network)
    assert latent.is_open
    widths = {key: len(mean) for key, mean in latent.means.items()}
    assert {k: w for k, w in widths.items() if w} == dict.fromkeys(SITES, LATENTS + micro.WIDTH)
    assert latent.id != store.load(Path(latent.source.removeprefix("sae:")).parent / "run").id


def test_with_everything_on_it_is_the_model(run: Path, latent: Model) -> None:
    """To the bit, also while somebody looks; and the looks are latents and what they leave over."""
    own = store.load(run / "run")
    expected = own.network(tokens())
    assert torch.equal(latent.network(tokens()), expected)
    with record(latent.network) as seen:
        assert torch.equal(latent.network(tokens()), expected)
    with record(own.network, SITES) as values:
        own.network(tokens())
    for site in SITES:
        sae = autoencoders(site, SITES.index(site))
        nodes, count = seen[site], LATENTS
        assert torch.equal(nodes[..., :count], sae.encode(values[site]))
        whole = sae.decode(nodes[..., :count]) + nodes[..., count:]
        torch.testing.assert_close(whole, values[site], atol=1e-5, rtol=1e-5)
    assert seen["0.attn_in"].shape == (3, 9, 0)


def test_with_everything_ablated_sites_have_their_means(run: Path, latent: Model) -> None:
    """Whatever the means of latents are: the error's is the rest."""
    own = store.load(run / "run")
    constant = {s: (lambda value, s=s: own.means[s].expand_as(value)) for s in SITES}
    with ablate(own.network, constant):
        expected = own.network(tokens())
    nothing = {s: (lambda value, s=s: latent.means[s].expand_as(value)) for s in SITES}
    with edit(latent.network, nothing):
        found = latent.network(tokens())
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    prompts = micro.prompts(8, 1, latent.tokenizer)
    none = {key: torch.zeros(len(mean), dtype=torch.bool) for key, mean in latent.means.items()}
    kept = {key: torch.zeros(len(m), dtype=torch.bool) for key, m in own.means.items()}
    kept = {key: mask if key in SITES else ~mask for key, mask in kept.items()}
    torch.testing.assert_close(
        ablated_logits(latent, prompts, none),
        ablated_logits(own, prompts, kept),
        atol=1e-4,
        rtol=1e-4,
    )


def test_pruned_and_verified(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the command line, over latents."""
    circuit = run / "circuit"
    words = ["prune", "--model", f"sae:{run / 'saes'}", "--task", str(run / "letters.jsonl")]
    search = ["--target-loss", str(micro.TARGET), "--prompts", "1024", "--batch", "16"]
    app.main([*words, *search, "--no-calibrate", "--output", str(circuit), "--json"])
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert told["nodes"] >= 1
    assert told["edges"] == {"paper": 0, "all": 0}
    found = Circuit.load(circuit)
    kept = {key for key, nodes in found.nodes.items() if len(nodes)}
    assert kept <= set(SITES)
    assert found.losses["circuit"] <= 1.5 * micro.TARGET
    app.main(["verify", "--circuit", str(circuit), "--quick", "--json"])
    tested = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert tested["sufficient"]["verdict"] is True
    away = run / "away"
    away.mkdir()
    (run / "saes").rename(away / "saes")  # its autoencoders are gone
    try:
        with pytest.raises(SystemExit):
            app.main(["verify", "--circuit", str(circuit), "--quick"])
    finally:
        (away / "saes").rename(run / "saes")
    err = capsys.readouterr().err.strip().splitlines()
    assert "no autoencoders at" in err[-1]
    assert "there is no such folder" in err[-1]


def test_random_circuits_of_latents_speak_on_the_prompts(run: Path, latent: Model) -> None:
    """What is silent on all pairs would be no control; it only fills up where too few speak."""
    pairs = tuple(micro._pairs(64, 9))
    circuit = micro.make(store.load(run / "run"), micro.PLANTED, pairs=pairs)
    speaks = {key: np.zeros(LATENTS + micro.WIDTH, dtype=bool) for key in SITES}
    for pair in circuit.pairs[:HEARD]:
        for text in (pair.clean, pair.corrupted):
            with record(latent.network, SITES) as seen:
                latent.network(torch.tensor([latent.tokenizer.encode(text)]))
            for key in SITES:
                speaks[key] |= (seen[key][0] != 0).any(0).numpy()
    speaking = {key: there.nonzero()[0].astype(np.int32) for key, there in speaks.items()}
    assert all(10 < len(those) < LATENTS + micro.WIDTH - 10 for those in speaking.values())
    none = {key: np.zeros(0, dtype=np.int32) for key in latent.means}
    few = dataclasses.replace(circuit, nodes=none | {k: v[:3] for k, v in speaking.items()})
    for nodes in random_nodes(latent, few, 0, 8):
        for key in SITES:
            assert len(nodes[key]) == 3
            assert set(nodes[key].tolist()) <= set(speaking[key][3:].tolist())
    many = dataclasses.replace(circuit, nodes=none | {k: v[2:] for k, v in speaking.items()})
    for nodes in random_nodes(latent, many, 0, 2):
        for key in SITES:
            assert {*speaking[key][:2].tolist()} <= {*nodes[key].tolist()}
            assert len(nodes[key]) == min(
                len(speaking[key]) - 2, LATENTS + micro.WIDTH - len(speaking[key]) + 2
            )


def test_another_model(run: Path, tmp_path: Path) -> None:
    """Autoencoders of another model, tokenizer or width are refused in one line."""
    model = store.load(run / "run")
    other = dataclasses.replace(model, id="0000000000000000-00000000")
    with pytest.raises(LacewingError, match=r"are of model .* but .* is model 0000000000000000"):
        saved.read(run / "saes", other)
    foreign = dataclasses.replace(model, tokenizer=micro.Tokenizer.train(["other"], vocab_size=260))
    with pytest.raises(LacewingError, match="were trained with tokenizer"):
        saved.read(run / "saes", foreign)
    wide = autoencoders("0.mlp_out", 0, width=7)
    saved.save(tmp_path / "saes", model, [wide], {"0.mlp_out": torch.zeros(14)}, corpus="x")
    with pytest.raises(LacewingError, match=r"is for 7 channels, site 0\.mlp_out"):
        store.load(f"sae:{tmp_path / 'saes'}")


def test_its_model_is_gone(run: Path, tmp_path: Path) -> None:
    """The model is named that is not there."""
    shutil.copytree(run / "saes", tmp_path / "saes")
    with pytest.raises(LacewingError, match="no run at"):
        store.load(f"sae:{tmp_path / 'saes'}")


def test_gradients_pass_through_latents(latent: Model) -> None:
    """A change of a latent changes the answer as its decoder row says."""
    scale = torch.ones(1, requires_grad=True)
    with torch.enable_grad(), edit(latent.network, {"0.mlp_out": lambda nodes: nodes * scale}):
        latent.network(tokens()).square().sum().backward()
    assert scale.grad is not None
    assert float(scale.grad) != 0


def test_one_place_of_each(run: Path) -> None:
    """`spliced` takes some of the autoencoders, too."""
    model = store.load(run / "run")
    whole = saved.read(run / "saes", model)
    one = dataclasses.replace(whole, saes=whole.saes[:1])
    widths = spliced(model, one, "sae:x").network.config.latents
    assert [key for key, width in widths.items() if width] == [SITES[0]]


def test_it_is_searched_as_the_model_under_it(run: Path, latent: Model) -> None:
    """Latents over one of ours follow the fixed path of penalties, as ours do."""
    own = store.load(run / "run")
    assert not latent.is_foreign
    config = micro.prune_config(0, prompts=64)
    task, sets = Task("letters", lambda file, random: ()), micro.prompt_sets(own)
    wanted = node_search.Wanted(task, config, sets)
    one, other = (node_search.Search(model, 0, wanted, sets) for model in (own, latent))
    paid = []
    for _ in range(4):
        paid.append(other.penalty)
        assert other.penalty == one.penalty
        for model, search in ((own, one), (latent, other)):
            node_search.step_together(model, [search])
    assert len(set(paid)) > 1
    assert one.optimizer.defaults["eps"] == other.optimizer.defaults["eps"]


def test_its_id_is_that_of_what_is_stored(latent: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums that another count of threads rounds in another way do not make it another model."""
    real = Autoencoder.decode

    def rounded(self: Autoencoder, latents: torch.Tensor) -> torch.Tensor:
        return real(self, latents) + 1e-7

    monkeypatch.setattr(Autoencoder, "decode", rounded)
    again = store.load(latent.source)
    assert not torch.equal(again.means["0.mlp_out"], latent.means["0.mlp_out"])
    assert again.id == latent.id


@pytest.mark.parametrize("errors", [False, True])
def test_only_what_runs_is_decoded(latent: Model, errors: bool) -> None:
    """Edits of the model under the latents are the hooks that replace latents, up to rounding."""
    dice = torch.Generator().manual_seed(1)
    masks, values = {}, {}
    for key, mean in latent.means.items():
        masks[key] = torch.rand(len(mean), generator=dice) < 0.4
        if not errors and len(mean):
            masks[key][LATENTS:] = False
        values[key] = mean + 0.1 * torch.randn(len(mean), generator=dice)
    network = latent.network
    with ablate(network, replacing(masks, values)):
        expected = network(tokens())
    inner = network.inner
    with ablate(inner, network.ablating(masks, values)):
        found = inner(tokens())
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    every = {key: torch.ones_like(mask) for key, mask in masks.items()}
    with ablate(inner, network.ablating(every, values)):
        assert torch.equal(inner(tokens()), network(tokens()))


def test_a_transcoder_alone(run: Path) -> None:
    """The same where latents are computed from another site than they write."""
    own = store.load(run / "run")
    sae = autoencoders("0.mlp_out", 3)
    across = dataclasses.replace(sae, reads="0.mlp_in")
    network = SplicedNetwork(own.network, [across])
    width = LATENTS + micro.WIDTH
    masks = {key: torch.zeros(w, dtype=torch.bool) for key, w in network.config.latents.items()}
    masks["0.mlp_out"] = torch.arange(width) % 3 == 0
    values = {key: torch.full((len(mask),), 0.2) for key, mask in masks.items()}
    with ablate(network, replacing(masks, values)):
        expected = network(tokens())
    with ablate(network.inner, network.ablating(masks, values)):
        found = network.inner(tokens())
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
