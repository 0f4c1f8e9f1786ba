"""Gradients at the maps and sites of a network, without its weights asking for any."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lacewing.model.families import QKV, WRITERS
from lacewing.model.hooks import edit
from lacewing.model.transformer import Transformer

SITES = ("attn_v", "attn_out", "mlp_neuron", "mlp_out")
"""Written sites whose nodes can be clamped: what they add does not go through where heads look."""


@dataclass(frozen=True)
class Seen:
    """What one pass left: inputs of maps, values of sites, and after `backward` gradients."""

    inputs: dict[str, Tensor]
    """What each map read, [batch token source]."""
    values: dict[str, Tensor]
    """Of the sites that can be clamped, [batch token channel]."""
    at_maps: dict[str, Tensor]
    """Zeros added to what each map wrote: their gradient is that of its output."""
    at_sites: dict[str, Tensor]
    """The same at the sites."""


def maps_of(network: Transformer) -> dict[str, nn.Linear]:
    """The matrices that can be edited, as LAYER.NAME."""
    names = dict.fromkeys(writer.matrix for writer in WRITERS.values())
    return {
        f"{layer}.{name}": getattr(block, name)
        for layer, block in enumerate(network.blocks)
        for name in names
    }


def ends(network: Transformer, name: str) -> tuple[list[str], str]:
    """The sites that a map writes, in the order of its rows, and the site it reads.

    Example:
        >>> ends(load("builtin:taught-tiny").ours, "0.c_fc")
        (['0.mlp_neuron'], '0.mlp_in')
    """
    layer, _, matrix = name.partition(".")
    written = [site for site, writer in WRITERS.items() if writer.matrix == matrix]
    return [f"{layer}.{site}" for site in written], f"{layer}.{WRITERS[written[0]].reads}"


def node_of(network: Transformer, name: str, row: int) -> str:
    """The node that a row of a map writes."""
    sites, _ = ends(network, name)
    width = network.config.d_model if len(sites) == len(QKV) else row + 1
    return f"{sites[row // width]}.{row % width}"


@contextmanager
def watched(network: Transformer) -> Iterator[Seen]:
    """Collect a pass over the network so that it can be differentiated."""
    seen = Seen({}, {}, {}, {})
    handles = []

    def at_map(name: str) -> Callable[..., Tensor]:
        def hook(module: nn.Module, given: tuple[Any, ...], out: Tensor) -> Tensor:
            zeros = torch.zeros_like(out, requires_grad=True)
            seen.inputs[name], seen.at_maps[name] = given[0].detach(), zeros
            return out + zeros

        return hook

    def at_site(key: str) -> Callable[[Tensor], Tensor]:
        def hook(value: Tensor) -> Tensor:
            zeros = torch.zeros_like(value, requires_grad=True)
            seen.values[key], seen.at_sites[key] = value.detach(), zeros
            return value + zeros

        return hook

    keys = [f"{layer}.{site}" for layer in range(network.config.n_layer) for site in SITES]
    try:
        for name, module in maps_of(network).items():
            handles.append(module.register_forward_hook(at_map(name)))
        with torch.enable_grad(), edit(network, {key: at_site(key) for key in keys}):
            yield seen
    finally:
        for handle in handles:
            handle.remove()
