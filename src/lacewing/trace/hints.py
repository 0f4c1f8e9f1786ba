"""What a node of a trace is about, read off the trace itself, where nobody has explained it.

Two things are said. From which of the prompt's tokens what it carried came, through the edges of
the trace; and which tokens its value pushes the output towards, by the weights it writes with,
straight through the unembedding. Both are cheap, hold on this prompt alone, and are no explanation
of the node: nothing was tested on other text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.model.hooks import edit, record
from lacewing.model.protocol import SiteHook
from lacewing.model.sites import FINAL_SITE, has_latents, site_widths
from lacewing.model.store import Model
from lacewing.model.weights import writer
from lacewing.trace.graph import TraceNode
from lacewing.trace.open_views import final_norm

HINTED = 300
"""Nodes that are told of, those of the largest effects."""
NAMED = 2
"""Tokens that are named of each."""
LEAST = 0.2
"""Share of what a node carried from which on a token is named."""
PUSHED = {"attn_v": "attn_out", "mlp_neuron": "mlp_out"}
"""Sites that write through a matrix, and where."""

Edges = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Hint:
    """A node at a token, by its trace."""

    tokens: tuple[tuple[int, float], ...]
    """Places in the prompt, and the share of what it carried that came from each."""
    towards: tuple[str, ...]
    """Tokens it pushes the output towards."""

    def label(self, words: Sequence[str]) -> str:
        r"""In a few words.

        Args:
            words: The prompt's tokens.

        Example:
            >>> Hint(((1, 0.8),), ("')",)).label(["print", "('"])
            'from "(\'", towards "\')"'
        """
        named = list(dict.fromkeys(repr(words[at]) for at, _ in self.tokens))
        parts = [f"from {' '.join(named)}"] if named else []
        if self.towards:
            parts.append(f"towards {' '.join(map(repr, self.towards))}")
        return ", ".join(parts)

    def as_json(self, words: Sequence[str]) -> dict[str, Any]:
        """Plain values."""
        shares = [{"token": at, "share": round(share, 4)} for at, share in self.tokens]
        return {"label": self.label(words), "from": shares, "towards": list(self.towards)}


def hints(
    model: Model, nodes: Sequence[TraceNode], edges: Edges, words: Sequence[str]
) -> dict[str, Hint]:
    """What the nodes of a trace with the largest effects are about.

    Args:
        model: The model that was traced.
        nodes: Of the trace, largest effects first.
        edges: What each gave to each, nats.
        words: The prompt's tokens.

    Returns:
        By node and token, such as `0.mlp_out.3@5`; nodes of which nothing can be said are left out.
    """
    shares = came_from(model, nodes, edges, len(words))
    first = nodes[:HINTED]
    pushed = towards(model, first)
    found = {}
    for node, words_of in zip(first, pushed, strict=True):
        row = shares[name := _name(node)]
        best = np.argsort(-np.abs(row), kind="stable")[:NAMED].tolist()
        tokens = tuple((at, float(row[at])) for at in best if abs(float(row[at])) >= LEAST)
        if tokens or words_of:
            found[name] = Hint(tokens, words_of)
    return found


def came_from(
    model: Model, nodes: Sequence[TraceNode], edges: Edges, length: int
) -> dict[str, Float[np.ndarray, " token"]]:
    """Of every node, the share of what it carried that came from each token of the prompt.

    A share is followed back through kept nodes to the embedding. In a model that is not lacewing's
    own no edge leads there: what a node did not get from kept nodes counts for the token where it
    stands.
    """
    order = {key: at for at, key in enumerate(site_widths(model.network.config))}
    ranked = sorted(nodes, key=lambda node: order[node.key])
    rows = {_name(node): row for row, node in enumerate(ranked)}
    into: list[list[tuple[int, float]]] = [[] for _ in ranked]
    carried = np.zeros((len(ranked), length))
    for (source, target), weight in edges.items():
        if (row := rows.get(target)) is None:
            continue
        if source in rows:
            into[row].append((rows[source], weight))
        elif source.startswith("token@"):
            carried[row, int(source.partition("@")[2])] += weight
    for row, node in enumerate(ranked):
        if into[row]:
            sources, weights = zip(*into[row], strict=True)
            carried[row] += np.array(weights) @ carried[list(sources)]
        if model.is_open:
            carried[row, node.token] += node.rest
        if node.effect:
            carried[row] /= node.effect
    return {name: carried[row] for name, row in rows.items()}


def _name(node: TraceNode) -> str:
    return f"{node.key}.{node.channel}@{node.token}"


@torch.inference_mode()
def towards(model: Model, nodes: Sequence[TraceNode]) -> list[tuple[str, ...]]:
    """The tokens that each node's value pushes the output towards; none for queries and keys.

    Its direction is a channel of the residual stream, or the column its matrix writes with, with
    the sign of its value (of its distance from the mean, in a model that is not lacewing's own).
    """
    network = model.network
    if has_latents(network.config):
        return [()] * len(nodes)
    width = network.config.d_model
    directions = torch.zeros(len(nodes), width)
    for row, column in _columns(model, nodes).items():
        directions[row] = column
    for row, node in enumerate(nodes):
        site = node.key.rpartition(".")[2]
        if site in ("attn_out", "mlp_out", FINAL_SITE) and node.channel < width:
            directions[row, node.channel] = 1.0
        mean = float(model.means[node.key][node.channel]) if model.is_open else 0.0
        directions[row] *= 1.0 if node.value >= mean else -1.0
    norm, ones = final_norm(network), torch.ones(1, len(nodes), 1)
    normed = norm.apply(directions[None], ones) - norm.apply(
        torch.zeros_like(directions)[None], ones
    )
    logits = normed[0] @ network.unembedding().T
    best = logits.topk(NAMED, 1)
    return [
        tuple(model.tokenizer.token(t) for t, up in zip(ids, ups, strict=True) if up > 0)
        for ids, ups in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _columns(model: Model, nodes: Sequence[TraceNode]) -> dict[int, Tensor]:
    """What one unit more of each value or neuron adds to what its matrix writes.

    Measured on a prompt of one token, where a head looks at nothing else, and with what is written
    taken before any threshold where a network has its own matrices.
    """
    rows = [r for r, node in enumerate(nodes) if node.key.rpartition(".")[2] in PUSHED]
    if not model.is_open:
        return {r: _ours(model, nodes[r]) for r in rows}
    if not rows:
        return {}
    places: dict[str, list[tuple[int, int]]] = {}
    for batch, r in enumerate(rows, start=1):
        places.setdefault(nodes[r].key, []).append((batch, nodes[r].channel))

    def raised(key: str) -> SiteHook:
        def hook(value: Tensor) -> Tensor:
            value = value.clone()
            for batch, channel in places[key]:
                value[batch, :, channel] += 1
            return value

        return hook

    written = {f"{k.partition('.')[0]}.{PUSHED[k.partition('.')[2]]}" for k in places}
    edits = {key: raised(key) for key in places}
    with edit(model.network, edits), record(model.network, sorted(written)) as seen:
        model.network(torch.zeros(len(rows) + 1, 1, dtype=torch.long))
    columns = {}
    for batch, r in enumerate(rows, start=1):
        layer, _, site = nodes[r].key.partition(".")
        out = seen[f"{layer}.{PUSHED[site]}"]
        columns[r] = out[batch, -1] - out[0, -1]
    return columns


def _ours(model: Model, node: TraceNode) -> Tensor:
    """A column of one of our own matrices."""
    layer, _, site = node.key.partition(".")
    return writer(model.ours, f"{layer}.{PUSHED[site]}")[0][:, node.channel]


def grouped(
    nodes: Sequence[Mapping[str, Any]],
    alike: Sequence[Mapping[str, Any]],
    said: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Nodes at tokens that say the same, largest together first: explained alike, or hinted alike.

    Args:
        nodes: Rows of a trace, with node, token, effect, label and where that is from.
        alike: Groups that `lacewing explain` made, with a name and the names of their members.
        said: Hints as plain values, by node and token.

    Returns:
        Groups of two nodes or more: what they say, whether that is an `explanation` or a `hint` of
        this trace, the members, and what they carry together in nats.
    """
    home: dict[str, str] = {}
    for group in alike:
        for name in group["members"]:
            home.setdefault(name, group["name"])
    groups: dict[tuple[str, str], list[str]] = {}
    effects: dict[str, float] = {}
    for node in nodes:
        name = f"{node['node']}@{node['token']}"
        effects[name] = node["effect"]
        if (called := home.get(node["node"])) is not None:
            groups.setdefault((called, "explanation"), []).append(name)
        elif node.get("label_by") == "hint" and said[name]["from"] and said[name]["towards"]:
            groups.setdefault((node["label"], "hint"), []).append(name)
    made = [
        {"name": name, "by": by, "members": members, "effect": sum(effects[m] for m in members)}
        for (name, by), members in groups.items()
        if len(members) > 1
    ]
    return sorted(made, key=lambda group: -abs(group["effect"]))
