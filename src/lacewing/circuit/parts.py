"""The parts other tools find circuits of, heads and MLPs, as the nodes lacewing has.

    head 9.6          its query, key and value channels, shared ones too
    head 9.6.q        its query channels alone: something of the circuit leads there, and only there
    MLP 3             all neurons of layer 3
    neuron 3.412      one of them
    node 3.mlp_in.17  itself

What a kept part reads and writes stays whole: all channels of the reads and writes of its layer's
attention or MLP, and the final residual. Everything else is ablated. Other tools' edges run between
parts; here the residual stream passes everything on, so an edge becomes its two ends, and a circuit
is never smaller here than it was there.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from lacewing.errors import MismatchError
from lacewing.model.protocol import Shape, key_head
from lacewing.model.sites import FINAL_SITE, parse_node, site_widths

HEAD = re.compile(r"(\d+)\.(\d+)(?:\.([qkv]))?")
NEURON = re.compile(r"(\d+)\.(\d+)")
LETTERS = {"q": "attn_q", "k": "attn_k", "v": "attn_v"}


@dataclass(frozen=True)
class Parts:
    """The parts of a circuit from elsewhere, by name."""

    heads: frozenset[str] = frozenset()
    """`"9.6"`, or `"9.6.q"` for its queries alone."""
    mlps: frozenset[int] = frozenset()
    """Layers."""
    neurons: frozenset[str] = frozenset()
    """`"3.412"`."""
    nodes: frozenset[str] = frozenset()
    """`"3.mlp_in.17"`, as lacewing names them."""

    def __len__(self) -> int:
        """How many there are."""
        return len(self.heads) + len(self.mlps) + len(self.neurons) + len(self.nodes)


def nodes_of_parts(parts: Parts, config: Shape) -> dict[str, np.ndarray]:
    """The nodes of some parts in a model of these sizes, sorted, for every site key.

    Raises:
        MismatchError: a part is none of this model.
    """
    widths = site_widths(config)
    kept: dict[str, set[int]] = {key: set() for key in widths}

    def keep(key: str, channels: Iterable[int], part: str) -> None:
        some = set(channels)
        if key not in widths or not some or max(some) >= widths[key]:
            raise MismatchError(
                f"{part} is no part of this model of {config.n_layer} layers, {config.n_head} "
                f"heads and {config.d_mlp} neurons each: the circuit is another model's"
            )
        kept[key] |= some

    for name in sorted(parts.heads):
        _keep_head(name, config, keep)
    for layer in sorted(parts.mlps):
        keep(f"{layer}.mlp_neuron", range(config.d_mlp), f"MLP {layer}")
    for name in sorted(parts.neurons):
        if not (found := NEURON.fullmatch(name)):
            raise MismatchError(f"{name!r} names no neuron; write LAYER.NEURON, like 3.412")
        keep(f"{found[1]}.mlp_neuron", [int(found[2])], f"neuron {name}")
    whole = {key for key, channels in kept.items() if channels}
    for key in whole:
        block, site = key.split(".")
        around = ("mlp_in", "mlp_out") if site == "mlp_neuron" else ("attn_in", "attn_out")
        for beside in around:
            kept[f"{block}.{beside}"] |= set(range(widths[f"{block}.{beside}"]))
    for name in sorted(parts.nodes):
        place, channel = parse_node(name)
        keep(place, [channel], f"node {name}")
    if whole:
        kept[FINAL_SITE] |= set(range(widths[FINAL_SITE]))
    return {key: np.array(sorted(channels), dtype=np.int32) for key, channels in kept.items()}


def _keep_head(name: str, config: Shape, keep: Callable[[str, Iterable[int], str], None]) -> None:
    if not (found := HEAD.fullmatch(name)):
        raise MismatchError(f"{name!r} names no head; write LAYER.HEAD, like 9.6, or 9.6.q")
    head, size = int(found[2]), config.d_head
    if head >= config.n_head:
        keep("", [0], f"head {name}")
    for letter in found[3] or "qkv":
        at = head if letter == "q" else key_head(config, head)
        keep(f"{found[1]}.{LETTERS[letter]}", range(at * size, (at + 1) * size), f"head {name}")
