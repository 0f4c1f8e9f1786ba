"""The parts other tools find circuits of, heads and MLPs, as the nodes lacewing has.

    head 9.6          its query, key and value channels, shared ones too
    head 9.6.q        its query channels alone: something of the circuit leads there, and only there
    MLP 3             all neurons of layer 3
    neuron 3.412      one of them
    node 3.mlp_in.17  itself

Such a list says which heads, MLPs and neurons do a task, and nothing of the residual stream between
them. So inner nodes alone are claimed: queries, keys, values and neurons, of which all that no part
has is ablated. The reads and writes of blocks and the final residual are no part of the claim: they
have no entry among the nodes, and run freely in every run, the circuit's and its controls' alike.
Where `nodes` names one of them, such as 3.mlp_in.17, all sites of its kind are claimed.

Other tools' edges run between parts; here the residual stream passes everything on, so an edge
becomes its two ends, and a circuit is never smaller here than it was there.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from lacewing.artifacts import EXACT
from lacewing.errors import MismatchError
from lacewing.model.protocol import Shape, key_head
from lacewing.model.sites import parse_node, site_widths

Part = TypeVar("Part")
HEAD = re.compile(r"(\d+)\.(\d+)(?:\.([qkv]))?")
NEURON = re.compile(r"(\d+)\.(\d+)")
LETTERS = {"q": "attn_q", "k": "attn_k", "v": "attn_v"}
INSIDE = (*LETTERS.values(), "mlp_neuron")
"""Sites inside blocks: what heads and MLPs are made of."""


@dataclass(frozen=True)
class Parts:
    """The parts of a circuit from elsewhere, by name."""

    __pydantic_config__ = EXACT

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

    def as_json(self) -> dict[str, list[str] | list[int]]:
        """Sorted lists."""
        return {name: sorted(of) for name, of in vars(self).items()}


def claimed_sites(parts: Parts, config: Shape) -> list[str]:
    """The sites that a circuit of these parts says something of; all others run freely."""
    kinds = {*INSIDE, *(_kind(parse_node(name)[0]) for name in parts.nodes)}
    return [key for key in site_widths(config) if _kind(key) in kinds]


def _kind(key: str) -> str:
    return key.rpartition(".")[2]


def nodes_of_parts(parts: Parts, config: Shape) -> dict[str, np.ndarray]:
    """The nodes of some parts in a model of these sizes, sorted, for every site claimed.

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
    for name in sorted(parts.nodes):
        place, channel = parse_node(name)
        keep(place, [channel], f"node {name}")
    return {
        key: np.array(sorted(kept[key]), dtype=np.int32) for key in claimed_sites(parts, config)
    }


def _keep_head(name: str, config: Shape, keep: Callable[[str, Iterable[int], str], None]) -> None:
    if not (found := HEAD.fullmatch(name)):
        raise MismatchError(f"{name!r} names no head; write LAYER.HEAD, like 9.6, or 9.6.q")
    head, size = int(found[2]), config.d_head
    if head >= config.n_head:
        keep("", [0], f"head {name}")
    for letter in found[3] or "qkv":
        at = head if letter == "q" else key_head(config, head)
        keep(f"{found[1]}.{LETTERS[letter]}", range(at * size, (at + 1) * size), f"head {name}")


def random_parts(parts: Parts, config: Shape, generator: np.random.Generator) -> Parts:
    """As many parts of every kind at random places, others than these as far as there are others.

    Heads and MLPs are drawn from all layers: within its own layer an MLP has no other. Of a head
    of which queries alone are kept another's queries are; where keys and values are shared, heads
    that share them with one of the circuit come after those that do not.

    Args:
        parts: Those of a circuit.
        config: The model's sizes.
        generator: What draws.
    """
    letters: dict[tuple[int, int], str] = {}
    for name in sorted(parts.heads):
        layer, head, *letter = name.split(".")
        at = int(layer), int(head)
        letters[at] = letters.get(at, "") + (letter[0] if letter else "qkv")
    shared = {(layer, key_head(config, head)) for layer, head in letters}
    every = [(layer, head) for layer in range(config.n_layer) for head in range(config.n_head)]
    near = [
        (at in letters) + ((at[0], key_head(config, at[1])) in shared)  # 0, 1 or 2
        for at in every
    ]
    drawn = _drawn(every, near, len(letters), generator)
    heads = {
        f"{layer}.{head}.{letter}"
        for (layer, head), kept in zip(drawn, letters.values(), strict=True)
        for letter in kept
    }
    layers = list(range(config.n_layer))
    mlps = _drawn(layers, [layer in parts.mlps for layer in layers], len(parts.mlps), generator)
    widths = {f"{layer}": config.d_mlp for layer in layers}
    return Parts(
        frozenset(heads),
        frozenset(mlps),
        _others(parts.neurons, widths, generator),
        _others(parts.nodes, site_widths(config), generator),
    )


def _others(
    names: Iterable[str], widths: Mapping[str, int], generator: np.random.Generator
) -> frozenset[str]:
    """As many other channels of every place."""
    own: dict[str, set[int]] = {}
    for name in sorted(names):
        place, _, channel = name.rpartition(".")
        own.setdefault(place, set()).add(int(channel))
    found = set()
    for place, channels in own.items():
        every = list(range(widths[place]))
        near = [channel in channels for channel in every]
        drawn = _drawn(every, near, len(channels), generator)
        found |= {f"{place}.{channel}" for channel in drawn}
    return frozenset(found)


def _drawn(
    every: Sequence[Part], near: Iterable[int], count: int, generator: np.random.Generator
) -> list[Part]:
    """Some of all at random: only where those least near run out, nearer ones."""
    order = np.lexsort((generator.permutation(len(every)), np.array(list(near), dtype=int)))
    return [every[place] for place in order[:count]]
