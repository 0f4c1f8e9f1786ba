"""What each node of a held pass got from each other: direct effects, in nats of the answer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
        for token, ends in _by_token(masks[target]):
            unit = units[target][token, ends]
            unit = unit if slope is None else unit * slope[token, ends]
            names = [f"{target}.{channel}@{token}" for channel in ends.tolist()]
            _each("bias", names, bias[ends] * unit, add)
            at = masks[source][token].nonzero()[:, 0]
            starts = [f"{source}.{channel}@{token}" for channel in at.tolist()]
            parts = weight[ends[:, None], at] * held.values[source][token, at] * unit[:, None]
            _pairs(starts, names, parts, add)
    _heads(held, layer, block, units, masks, add)


def _by_token(mask: Bool[Tensor, "token _"]) -> Iterator[tuple[int, Tensor]]:
    """Tokens at which nodes are kept, with their channels."""
    for token in mask.any(1).nonzero()[:, 0].tolist():
        yield token, mask[token].nonzero()[:, 0]


def _each(source: str, targets: Sequence[str], parts: Tensor, add: Add) -> None:
    """From one source to some targets."""
    for target, part in zip(targets, parts.tolist(), strict=True):
        add(source, target, part)


def _pairs(sources: Sequence[str], targets: Sequence[str], parts: Tensor, add: Add) -> None:
    """From some sources to some targets, [target source]; most parts are zero."""
    rows, columns = parts.nonzero(as_tuple=True)
    numbers = (rows.tolist(), columns.tolist(), parts[rows, columns].tolist())
    for row, column, part in zip(*numbers, strict=True):
        add(sources[column], targets[row], part)


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
    bias = block.attn_proj.bias.double()
    for token, ends in _by_token(masks[target]):
        unit = units[target][token, ends]
        targets = [f"{target}.{channel}@{token}" for channel in ends.tolist()]
        _each("bias", targets, bias[ends] * unit, add)
        seen = held.patterns[layer][heads, token, starts[:, 0]]
        parts = weight[ends[:, None], starts[:, 1]] * (values * seen) * unit[:, None]
        _pairs(names, targets, parts, add)


def _stream(held: Held, key: str, units: Tensor, masks: Mapping[str, Tensor], add: Add) -> None:
    """From the embedding and earlier writes to what is read of the residual stream."""
    width = held.network.config.d_model
    layers = held.network.config.n_layer
    final = key == FINAL_SITE
    now = layers if final else int(key.partition(".")[0])
    scale = None if final else held.scales[f"{now}.{'ln_1' if 'attn' in key else 'ln_2'}"]
    writes = [f"{layer}.{site}" for layer in range(now) for site in ("attn_out", "mlp_out")]
    writes += [f"{now}.attn_out"] if key.endswith("mlp_in") else []
    places = masks[key].nonzero()
    beside = places[:, 1] >= width
    for token, channel in places[beside].tolist():
        part = float(units[token, channel]) * float(held.values[key][token, channel])
        add(f"position@{token}", f"{key}.{channel}@{token}", part)
    at, channels = places[~beside].T
    unit = units[at, channels]
    unit = unit if scale is None else unit * scale[at, channels]
    numbers = list(zip(at.tolist(), channels.tolist(), strict=True))
    names = [f"{key}.{channel}@{token}" for token, channel in numbers]
    tokens = (unit * held.embedded[at, channels]).tolist()
    for (token, _), target, part in zip(numbers, names, tokens, strict=True):
        add(f"token@{token}", target, part)
    for write in writes:
        parts = unit * held.values[write][at, channels] * masks[write][at, channels]
        some = parts.nonzero()[:, 0].tolist()
        for place, part in zip(some, parts[some].tolist(), strict=True):
            token, channel = numbers[place]
            add(f"{write}.{channel}@{token}", names[place], part)
