"""What the viewer says that latents read and write, against the channels that they are made of."""

import pytest
import torch

import micro
from lacewing.model.store import Model
from lacewing.sae import folder as saved
from lacewing.sae.autoencoder import Autoencoder
from lacewing.sae.splice import spliced
from lacewing.viewer import reading
from lacewing.viewer.answers import Tokens


def test_latents_that_are_channels_say_what_channels_say() -> None:
    """At every site, with an identity for a dictionary, tokens and names are the same."""
    model = micro.busy(16)
    widths = {key: len(mean) for key, mean in model.means.items()}
    saes = [identity(key, key, width) for key, width in widths.items()]
    none = {key: torch.zeros(width) for key, width in widths.items()}
    facts = saved.Facts(model.id, model.source, model.tokenizer.id, "x", [])
    latent = spliced(model, saved.Autoencoders(facts, tuple(saes), none), "sae:x")
    size = model.network.config.vocab_size
    tokens = reading.TaskTokens(torch.linspace(0, 1, size), torch.ones(size))
    told = 0
    for key, width in widths.items():
        for channel in (0, 5, width - 1):
            missed = channel + width
            for ask in (reading.reads, reading.writes):
                plain = ask(model, key, channel)
                assert close(ask(latent, key, missed), plain), (key, channel)
                if plain is not None or not latent_positions(model, key, channel):
                    assert close(ask(latent, key, channel), plain), (key, channel)
                told += plain is not None
            assert reading.label(latent, key, missed, tokens) == reading.label(
                model, key, channel, tokens
            )
    assert told > 50


def latent_positions(model: Model, key: str, channel: int) -> bool:
    """Whether a channel is one of positions, which a latent's row may have and tokens do not."""
    return key.endswith("_in") and channel >= model.network.config.d_model


def close(one: Tokens | None, other: Tokens | None) -> bool:
    """Whether the same tokens are told, up to the order of equal weights."""
    if one is None or other is None:
        return one is other
    sides = [
        sorted(round(t.weight, 3) for t in (*found.positive, *found.negative))
        for found in (one, other)
    ]
    return one.how == other.how and sides[0] == pytest.approx(sides[1], abs=2e-3)


def identity(site: str, reads: str, width: int) -> Autoencoder:
    """Latents that are the channels of a site."""
    rows, none = torch.eye(width), torch.zeros(width)
    return Autoencoder(site, reads, "abstopk", width, rows, none, rows, none, none)


def test_a_transcoder_reads_what_its_mlp_reads() -> None:
    """Its latents are switched on by tokens, which those of an autoencoder there are not."""
    model = micro.micro()
    facts = saved.Facts(model.id, model.source, model.tokenizer.id, "x", [])
    sae = identity("0.mlp_out", "0.mlp_in", micro.WIDTH)
    means = {"0.mlp_out": torch.zeros(micro.WIDTH)}
    latent = spliced(model, saved.Autoencoders(facts, (sae,), means), "sae:x")
    found = reading.reads(latent, "0.mlp_out", 5)
    assert found == reading.reads(model, "0.mlp_in", 5)
    assert found is not None
    assert reading.reads(latent, "0.mlp_out", micro.WIDTH + 5) is None  # what it misses
