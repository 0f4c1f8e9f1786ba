"""Bridges as autoencoders of the dense model, where the answer is known: the rotated micro one."""

import dataclasses
from pathlib import Path

import pytest
import torch

import micro
from lacewing.bridges.directions import direction
from lacewing.bridges.folder import Coupling
from lacewing.bridges.latents import as_latents, autoencoders
from lacewing.errors import ArtifactError
from lacewing.model.hooks import record
from lacewing.sae.config import SaeConfig
from lacewing.sae.folder import read
from lacewing.sae.splice import spliced

HELD = SaeConfig(held_out=512)


def test_exact_bridges_say_everything(coupling: Coupling) -> None:
    """What a sublayer of the dense model reads is what the bridge says, at every site."""
    pairs = micro.prompts(8, 3, coupling.sparse.tokenizer)
    saes = autoencoders(coupling)
    assert [sae.site for sae in saes] == ["0.attn_in", "0.mlp_in", "resid_final"]
    with record(coupling.dense.network, [sae.site for sae in saes]) as seen:
        coupling.dense.network(pairs.tokens)
    for sae in saes:
        value = seen[sae.site]
        said = sae.decode(sae.encode(value))
        width = micro.WIDTH
        torch.testing.assert_close(said[..., :width], value[..., :width], atol=1e-4, rtol=1e-4)
        assert not said[..., micro.WIDTH :].any()


def test_a_latent_is_its_node(coupling: Coupling) -> None:
    """Its direction is that of the node, and its value the node's but for norm and gain."""
    pairs = micro.prompts(8, 4, coupling.sparse.tokenizer)
    (sae, *_), key = autoencoders(coupling), "0.attn_in"
    for channel in (1, 6):
        row = direction(coupling, f"{key}.{channel}").row
        found = sae.decoder[channel, : len(row)]
        assert torch.cosine_similarity(found, row, dim=0) == pytest.approx(1, abs=1e-5)
    with record(coupling.dense.network, [key]) as there:
        coupling.dense.network(pairs.tokens)
    with record(coupling.sparse.network, [key]) as here:
        coupling.sparse.network(pairs.tokens)
    latents = sae.encode(there[key])[..., 1].flatten()
    nodes = here[key][..., 1].flatten()
    assert torch.corrcoef(torch.stack([latents, nodes]))[0, 1] > 0.99


def test_only_what_is_kept_is_said(coupling: Coupling) -> None:
    """AbsTopK of the bridge is that of the latents."""
    few = dataclasses.replace(coupling, facts=dataclasses.replace(coupling.facts, kept=3))
    (sae, *_) = autoencoders(few)
    values = torch.randn(5, sae.encoder.shape[1], generator=torch.Generator().manual_seed(0))
    assert (sae.encode(values) != 0).sum(-1).tolist() == [3] * 5


def test_saved_they_are_a_model(coupling: Coupling, letters: Path, tmp_path: Path) -> None:
    """Figures are measured, and the folder opens as any folder of autoencoders."""
    facts = as_latents(coupling, tmp_path / "said", HELD, str(letters), quiet=True)
    for one in facts.figures:
        assert one["explained_variance"]["value"] > 0.9, one["site"]
        assert one["loss_recovered"]["value"] > 0.9, one["site"]
    assert facts.config is None
    model = spliced(coupling.dense, read(tmp_path / "said", coupling.dense), "sae:said")
    pairs = micro.prompts(4, 5, coupling.sparse.tokenizer)
    expected = coupling.dense.network(pairs.tokens)
    assert torch.equal(model.network(pairs.tokens), expected)
    with pytest.raises(ArtifactError, match="exists already"):
        as_latents(coupling, tmp_path / "said", HELD, str(letters), quiet=True)
