"""A pass of our transformer under the mask of one circuit, at unique prefixes, to learn it.

What `prefix_run` does under the hooks of `node_mask.gates`, in fewer operations and without what
channels that are off do not need (see `kernels.masked_linear`).
"""

from collections.abc import Mapping
from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.ablation.prefixes import UniquePrefixes
from lacewing.kernels.gate import gate
from lacewing.kernels.masked_linear import (
    Between,
    Site,
    covers,
    masked_linear,
    masked_parts,
    rows_of,
    tiled,
)
from lacewing.kernels.prefix_attention import prefix_attention
from lacewing.kernels.sparse_linear import SparseWeight
from lacewing.model.families import QKV
from lacewing.model.layers import Linear
from lacewing.model.protocol import Network
from lacewing.model.sites import FINAL_SITE
from lacewing.model.transformer import Block, Transformer

WHOLE = ("resid_pre", "resid_mid", "resid_post")
"""Where AbsTopK acts on the residual stream itself in some models: those take the longer way."""


def runs_masked(network: Network) -> TypeGuard[Transformer]:
    """Whether a network can run so now: ours, on a CPU, its blocks' maps sparse, no hooks set."""
    if not isinstance(network, Transformer) or network.wte.weight.device.type != "cpu":
        return False
    if any(network.hooks.values()):
        return False
    config = network.config
    widths = config.d_model, config.d_mlp, config.d_read, config.d_head
    plain = not config.position_gains and network.wte.weight.dtype == torch.float32
    streams = all(config.survivors(name, config.d_model) is None for name in WHOLE)
    maps = [
        part for block in network.blocks for part in block.modules() if isinstance(part, Linear)
    ]
    return plain and streams and covers(*widths) and all(map_.sparse is not None for map_ in maps)


def masked_logits(
    network: Transformer,
    prefixes: UniquePrefixes,
    steps: Mapping[str, Float[Tensor, " channel"]],
    fills: Mapping[str, Float[Tensor, " channel"]],
) -> Float[Tensor, "sequence vocab"]:
    """Next-token logits, in nats, at the ends of the sequences of one circuit.

    Args:
        network: The model; `runs_masked` says yes to it.
        prefixes: Where to run, with their rows.
        steps: By site key 1 where the mask is on and 0 elsewhere; gradients reach it.
        fills: By site key, what stands for what is off.
    """
    ends, config, tokens = prefixes.ends, network.config, len(prefixes.tokens)
    sites = {key: Site(steps[key], fills[key]) for key in steps}
    x = tiled(network.embedded(prefixes.tokens, prefixes.position))
    positions = network.normed_positions(prefixes.width)
    positions = None if positions is None else positions[prefixes.position]
    beside = None if positions is None else tiled(positions)
    for number in range(config.n_layer):
        block: Block = network.blocks[number]  # type: ignore[assignment]
        last = number == config.n_layer - 1
        q, k, v = _read(block, sites, x, beside, tokens)
        if last:
            q, x = q.index_select(0, ends), tiled(rows_of(x, ends))
            beside = None if positions is None else tiled(positions[ends])
        layout = prefixes.at_ends if last else prefixes.own
        mixed = prefix_attention(q, k, v, block.sink, layout, config.n_head)
        x = _written(block, sites, mixed, x)
        x = _computed(block, sites, x, beside)
    final = sites[FINAL_SITE]
    rows = rows_of(x, torch.arange(len(ends))).unsqueeze(1)
    only = torch.zeros(len(ends), dtype=torch.long)
    rows = gate(rows, final.step[None], final.step.detach()[None] > 0, final.fill, only)
    return network.answered(rows, prefixes.tokens[ends].unsqueeze(1)).squeeze(1)


def _read(
    block: Block, sites: Mapping[str, Site], x: Tensor, beside: Tensor | None, tokens: int
) -> tuple[Tensor, ...]:
    """Queries, keys and values of the residual stream."""
    several = [sites[f"{block.layer}.{third}"] for third in QKV]
    step, fill = (torch.cat([getattr(s, part) for s in several]) for part in ("step", "fill"))
    parts = tuple(_keep(block, third, block.config.d_model) for third in QKV)
    between = Between(
        *_map(block.c_attn),
        gain=block.ln_1.weight,
        beside=beside,
        read=sites[f"{block.layer}.attn_in"],
        keep=_keep(block, "attn_in", block.config.d_read),
        written=Site(step, fill),
        parts=parts,
    )
    return masked_parts(x, between, tokens)


def _written(block: Block, sites: Mapping[str, Site], mixed: Tensor, x: Tensor) -> Tensor:
    """The residual stream after attention."""
    between = Between(
        *_map(block.attn_proj),
        written=sites[f"{block.layer}.attn_out"],
        parts=(_keep(block, "attn_out", block.config.d_model),),
    )
    return masked_linear(mixed, between, x)


def _computed(block: Block, sites: Mapping[str, Site], x: Tensor, beside: Tensor | None) -> Tensor:
    """The residual stream after the MLP."""
    neurons, config = sites[f"{block.layer}.mlp_neuron"], block.config
    into = Between(
        *_map(block.c_fc),
        gain=block.ln_2.weight,
        beside=beside,
        read=sites[f"{block.layer}.mlp_in"],
        keep=_keep(block, "mlp_in", config.d_read),
        passed=neurons.step.detach() > 0,
    )
    out = Between(
        *_map(block.mlp_proj),
        activation="relu" if config.activation == "relu" else "gelu",
        read=neurons,
        keep=_keep(block, "mlp_neuron", config.d_mlp),
        written=sites[f"{block.layer}.mlp_out"],
        parts=(_keep(block, "mlp_out", config.d_model),),
    )
    return masked_linear(masked_linear(x, into), out, x)


def _map(linear: Linear) -> tuple[SparseWeight, Tensor]:
    assert linear.sparse is not None
    return linear.sparse, linear.bias


def _keep(block: Block, name: str, width: int) -> int:
    """How many channels AbsTopK leaves at a site; 0 for all."""
    keep = block.config.survivors(name, width)
    return 0 if keep is None or keep >= width else keep
