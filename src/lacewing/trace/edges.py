"""What each node of a held pass got from each other: direct effects, in nats of the answer."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lacewing.model.families import FAMILIES
from lacewing.model.sites import FINAL_SITE
from lacewing.model.transformer import Block, writers
from lacewing.progress import progress
from lacewing.trace.held import Held, Sources

Add = Callable[[str, str, float], None]
"""Takes source, target and nats."""


@torch.inference_mode()
def edges_of(
    held: Held,
    units: Mapping[str, Float[Tensor, "token _"]],
    masks: Mapping[str, Bool[Tensor, "token _"]],
    sources: Sources,
) -> dict[tuple[str, str], float]:
    """What every kept node got from every other, from tokens, positions and biases.

    Args:
        held: The pass.
        units: What one unit of each node adds to the logit difference.
        masks: The kept nodes.
        sources: Where the difference comes from.

    Returns:
        Nats by the names of source and target: nodes, `token@T`, `position@T`, `bias`, `answer`.
    """
    found: dict[tuple[str, str], float] = {}

    def add(source: str, target: str, weight: float) -> None:
        if weight:
            found[source, target] = found.get((source, target), 0.0) + weight

    last = len(held.tokens) - 1
    for channel in masks[FINAL_SITE][last].nonzero()[:, 0].tolist():
        nats = units[FINAL_SITE][last, channel] * held.values[FINAL_SITE][last, channel]
        add(f"{FINAL_SITE}.{channel}@{last}", "answer", float(nats))
    add(f"token@{last}", "answer", sources.bigram)
    add("bias", "answer", sources.output)
    layers = range(held.network.config.n_layer)
    parts = [partial(_inside, held, layer, units, masks, add) for layer in layers]
    reads = (*_reads(held), FINAL_SITE)
    parts += [partial(_stream, held, key, units[key], masks, add) for key in reads]
    with progress("what nodes gave to each other", len(parts), "parts", shown=False) as bar:
        for done, part in enumerate(parts):
            bar.update(done)
            part()
    return found


def _reads(held: Held) -> list[str]:
    layers = range(held.network.config.n_layer)
    return [f"{layer}.{site}" for layer in layers for site in ("attn_in", "mlp_in")]


def _inside(
    held: Held,
    layer: int,
    units: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    add: Add,
) -> None:
    """Along the matrices of a block, and through its heads."""
    block = cast("Block", held.network.blocks[layer])
    written = writers(block)
    for family in ("attn_in-attn_v", "mlp_in-mlp_neuron", "mlp_neuron-mlp_out"):
        source, target = (f"{layer}.{site}" for site in family.split("-"))
        weight, bias = (part.double() for part in written[FAMILIES[family]])
        slope = held.slopes[layer] if target.endswith("mlp_neuron") else None
        for token, channel in masks[target].nonzero().tolist():
            unit = float(units[target][token, channel])
            unit *= 1.0 if slope is None else float(slope[token, channel])
            add("bias", f"{target}.{channel}@{token}", float(bias[channel]) * unit)
            at = masks[source][token].nonzero()[:, 0]
            parts = weight[channel, at] * held.values[source][token, at] * unit
            for start, part in zip(at.tolist(), parts.tolist(), strict=True):
                add(f"{source}.{start}@{token}", f"{target}.{channel}@{token}", part)
    _heads(held, layer, block, units, masks, add)


def _heads(
    held: Held,
    layer: int,
    block: Block,
    units: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    add: Add,
) -> None:
    """From values at earlier tokens to what attention writes."""
    source, target = f"{layer}.attn_v", f"{layer}.attn_out"
    weight, size = block.attn_proj.weight.double(), block.config.d_head
    starts = masks[source].nonzero()
    heads = starts[:, 1] // size
    values = held.values[source][starts[:, 0], starts[:, 1]]
    names = [f"{source}.{channel}@{token}" for token, channel in starts.tolist()]
    for token, channel in masks[target].nonzero().tolist():
        seen = held.patterns[layer][heads, token, starts[:, 0]]
        unit = float(units[target][token, channel])
        add("bias", f"{target}.{channel}@{token}", float(block.attn_proj.bias[channel]) * unit)
        parts = (weight[channel, starts[:, 1]] * values * seen * unit).tolist()
        for name, part in zip(names, parts, strict=True):
            add(name, f"{target}.{channel}@{token}", part)


def _stream(held: Held, key: str, units: Tensor, masks: Mapping[str, Tensor], add: Add) -> None:
    """From the embedding and earlier writes to what is read of the residual stream."""
    width = held.network.config.d_model
    layers = held.network.config.n_layer
    final = key == FINAL_SITE
    now = layers if final else int(key.partition(".")[0])
    scale = None if final else held.scales[f"{now}.{'ln_1' if 'attn' in key else 'ln_2'}"]
    writes = [f"{layer}.{site}" for layer in range(now) for site in ("attn_out", "mlp_out")]
    writes += [f"{now}.attn_out"] if key.endswith("mlp_in") else []
    for token, channel in masks[key].nonzero().tolist():
        target, unit = f"{key}.{channel}@{token}", float(units[token, channel])
        if channel >= width:
            add(f"position@{token}", target, unit * float(held.values[key][token, channel]))
            continue
        unit *= 1.0 if scale is None else float(scale[token, channel])
        add(f"token@{token}", target, unit * float(held.embedded[token, channel]))
        for write in writes:
            if masks[write][token, channel]:
                part = unit * float(held.values[write][token, channel])
                add(f"{write}.{channel}@{token}", target, part)
