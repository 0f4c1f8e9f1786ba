"""A dense model whose bridge to the micro model is known: the same model in other coordinates.

The residual stream is turned by a rotation R and made SCALE times as large, which norms undo; the
gains are drawn anew, and the matrices behind them divide by them. So

    h_dense = SCALE R h_sparse      decoder SCALE R      encoder R^T / SCALE

and whatever crosses the bridge says the same in both.
"""

import dataclasses

import torch

import micro
from lacewing.bridges.folder import Coupling, Facts, Of
from lacewing.bridges.maps import Bridges, Sizes
from lacewing.bridges.norms import norms_of
from lacewing.model.store import Model, model_id
from lacewing.model.transformer import Transformer
from lacewing.training.evaluate import site_means

SCALE = 3.0


def rotation(seed: int = 0) -> torch.Tensor:
    """An orthogonal matrix."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(micro.WIDTH, micro.WIDTH, generator=generator))[0]


def rotated(model: Model, seed: int = 0) -> Model:
    """The model in other coordinates."""
    turn = rotation(seed)
    network = Transformer(model.network.config)
    network.load_state_dict(model.ours.state_dict())
    network.eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed + 1)

    def gains(norm: torch.nn.Module, reader: torch.nn.Linear) -> None:
        """New gains, and a reader in the new coordinates that divides by them."""
        new = 0.5 + torch.rand(micro.WIDTH, generator=generator)
        reader.weight.copy_((reader.weight * norm.weight) @ turn.T / new)
        norm.weight.copy_(new)

    network.wte.weight.copy_(SCALE * network.wte.weight @ turn.T)
    for block in network.blocks:
        gains(block.ln_1, block.c_attn)
        gains(block.ln_2, block.c_fc)
        for writer in (block.attn_proj, block.mlp_proj):
            writer.weight.copy_(SCALE * turn @ writer.weight)
            writer.bias.copy_(SCALE * turn @ writer.bias)
    gains(network.ln_f, network.lm_head)
    means = site_means(network, micro._text(model.tokenizer, seed))
    return dataclasses.replace(
        model,
        network=network,
        means=means,
        id=model_id(network, means, model.tokenizer),
        source="rotated",
    )


def exact(model: Model, dense: Model, seed: int = 0) -> Coupling:
    """Both, with the bridges that are known."""
    turn, width = rotation(seed), micro.WIDTH
    bridges = Bridges(Sizes(1, width, width, width))
    bridges.eval().requires_grad_(False)
    for site in range(bridges.sizes.count):
        bridge = bridges.at(site)
        bridge.decoder.weight.copy_(SCALE * turn)
        bridge.encoder.weight.copy_(turn.T / SCALE)
    text = micro._text(model.tokenizer, seed)[:64, :-1]
    facts = Facts(
        Of(dense.id, dense.source, width),
        Of(model.id, model.source, width),
        1,
        width,
        model.tokenizer.id,
        "standard_library",
    )
    return Coupling(dense, model, bridges, norms_of(dense.ours, model.ours, text), facts)
