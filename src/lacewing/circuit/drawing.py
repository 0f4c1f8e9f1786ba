"""A circuit drawn in layers: sites as rows from the embedding (bottom) to the logits (top).

Nodes are dots, heads are boxed, edges are curves: blue for positive weights, orange and dashed for
negative, thicker for larger. Thin grey lines join a write to the later reads of the same residual
channel; they carry no weight and are no edges. Hovering a dot or a curve tells what it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from lacewing.circuit.edges import Nodes, kept_at
from lacewing.model.sites import FINAL_SITE, has_latents
from lacewing.model.store import Model
from lacewing.model.weights import weight_of, writer
from lacewing.pages import svg

MOST_EDGES = 400
ROW, GAP, LEFT = 64, 15, 120
SWEEPS = 3
"""Passes over the rows, each nearer to few crossings."""
TOKENS = 6
"""Tokens named for a channel."""


@runtime_checkable
class Drawn(Protocol):
    """What of a circuit is drawn; `Circuit` is one."""

    @property
    def task(self) -> str:
        """Its task's name."""

    @property
    def nodes(self) -> Nodes:
        """Kept channels of every site key."""

    @property
    def edges(self) -> Mapping[str, np.ndarray]:
        """[edge, 2] source and destination channels of every family."""


@dataclass(frozen=True)
class Line:
    """One drawn edge."""

    source: str
    destination: str
    weight: float


def drawing(model: Model, circuit: Drawn) -> str:
    """The circuit as SVG; of more than 400 edges, the strongest, and the title says so."""
    edges = sorted(_edges(model, circuit), key=lambda e: -abs(e.weight))
    shown = edges[:MOST_EDGES]
    rows = _rows(circuit)
    place, width = _places(rows, shown, model.network.config.d_head)
    height = ROW * len(rows) + 20
    body = [
        svg.text(8, _y(i, len(rows)) + 4, label, "soft small") for i, (label, _) in enumerate(rows)
    ]
    plain = not has_latents(model.network.config)
    body += _residual(place, rows) if plain else []
    largest = max((abs(e.weight) for e in shown), default=1.0)
    body += [_curve(e, place, largest) for e in shown]
    body += _heads(rows, place, model.network.config.d_head) if plain else []
    body += [_dot(node, place[node], _about(model, node)) for _, nodes in rows for node in nodes]
    left_out = (
        f"; the strongest {len(shown)} of {len(edges)} edges" if len(edges) > len(shown) else ""
    )
    count = sum(map(len, circuit.nodes.values()))
    title = f"Circuit of {circuit.task}: {count} nodes, {len(edges)} edges{left_out}"
    return svg.figure(width, height, body, title)


def _edges(model: Model, circuit: Drawn) -> list[Line]:
    found = []
    for key, pairs in circuit.edges.items():
        if not len(pairs):
            continue
        layer, _, family = key.partition(".")
        weight = weight_of(model.ours, key)
        source, destination = family.split("-")
        for s, d in pairs:
            found.append(
                Line(f"{layer}.{source}.{s}", f"{layer}.{destination}.{d}", float(weight[d, s]))
            )
    return found


def _rows(circuit: Drawn) -> list[tuple[str, list[str]]]:
    """Row labels with their nodes, bottom first; queries, keys and values share a row."""
    layers = sorted({int(key.split(".")[0]) for key in circuit.nodes if key != FINAL_SITE})
    groups = (
        ("attn_in",),
        ("attn_q", "attn_k", "attn_v"),
        ("attn_out",),
        ("mlp_in",),
        ("mlp_neuron",),
        ("mlp_out",),
    )
    rows = []
    for layer in layers:
        for sites in groups:
            nodes = [
                f"{layer}.{s}.{c}" for s in sites for c in kept_at(circuit.nodes, f"{layer}.{s}")
            ]
            if nodes:
                label = "q k v" if len(sites) > 1 else sites[0]
                rows.append((f"{layer}.{label}", nodes))
    rows.append((FINAL_SITE, [f"{FINAL_SITE}.{c}" for c in kept_at(circuit.nodes, FINAL_SITE)]))
    return rows


def _places(
    rows: list[tuple[str, list[str]]], edges: list[Line], d_head: int
) -> tuple[dict[str, tuple[float, float]], float]:
    """Where each node is drawn: in its row, near the mean place of what it is joined to."""
    widest = max((len(nodes) for _, nodes in rows), default=1)
    width = max(640.0, LEFT + 30 + GAP * widest * 1.15)
    middle = LEFT + (width - LEFT) / 2
    joined: dict[str, list[str]] = {}
    for edge in edges:
        joined.setdefault(edge.destination, []).append(edge.source)
        joined.setdefault(edge.source, []).append(edge.destination)
    place: dict[str, tuple[float, float]] = {}
    channel: dict[str, float] = {}

    def wanted(node: str) -> float:
        near = [place[other][0] for other in joined.get(node, []) if other in place]
        return float(np.mean(near)) if near else channel.get(node.rsplit(".", 1)[1], middle)

    for _ in range(SWEEPS):
        for i, (_, nodes) in enumerate(rows):
            ordered = _by_head(sorted(nodes, key=wanted), wanted, d_head)
            spread = min(60.0, (width - LEFT - 30) / max(1, len(nodes)))
            for j, node in enumerate(ordered):
                x = middle + (j - (len(nodes) - 1) / 2) * spread
                place[node] = (x, _y(i, len(rows)))
                if "out" in node or "_in" in node:
                    channel[node.rsplit(".", 1)[1]] = x
    return place, width


def _by_head(nodes: list[str], wanted: Callable[[str], float], d_head: int) -> list[str]:
    """Keep the channels of a head side by side, queries before keys before values."""
    if ".attn_q." not in " ".join(nodes) and ".attn_k." not in " ".join(nodes):
        return nodes
    return sorted(
        nodes, key=lambda n: (int(n.rsplit(".", 1)[1]) // d_head, n.split(".")[1], wanted(n))
    )


def _y(row: int, rows: int) -> float:
    return 20 + ROW * (rows - 1 - row) + ROW / 2


def _residual(
    place: dict[str, tuple[float, float]], rows: list[tuple[str, list[str]]]
) -> list[str]:
    """Grey lines from each write to the next reads of its channel."""
    lines = []
    writes: dict[str, tuple[float, float]] = {}
    for label, nodes in rows:
        for node in nodes:
            channel, at = node.rsplit(".", 1)[1], place[node]
            if label.endswith("_in") or label == FINAL_SITE:
                if channel in writes:
                    lines.append(svg.line(*writes[channel], *at, "same"))
            elif label.endswith("_out"):
                writes[channel] = at
    return lines


def _curve(edge: Line, place: dict[str, tuple[float, float]], largest: float) -> str:
    (x1, y1), (x2, y2) = place[edge.source], place[edge.destination]
    half, strength = (y1 + y2) / 2, abs(edge.weight) / largest
    kind = "plus" if edge.weight > 0 else "minus"
    return (
        f'<path d="M{x1:.1f},{y1:.1f} C{x1:.1f},{half:.1f} {x2:.1f},{half:.1f} {x2:.1f},{y2:.1f}" class="{kind}" '
        f'stroke-width="{0.6 + 2.6 * strength:.2f}" stroke-opacity="{0.35 + 0.6 * strength:.2f}">'
        f"<title>{edge.source} to {edge.destination}: {edge.weight:+.3f}</title></path>"
    )


def _heads(
    rows: list[tuple[str, list[str]]], place: dict[str, tuple[float, float]], d_head: int
) -> list[str]:
    boxes = []
    for label, nodes in rows:
        if not label.endswith("q k v"):
            continue
        heads: dict[int, list[str]] = {}
        for node in nodes:
            heads.setdefault(int(node.rsplit(".", 1)[1]) // d_head, []).append(node)
        for head, members in heads.items():
            xs, y = [place[m][0] for m in members], place[members[0]][1]
            left, right = min(xs) - 9, max(xs) + 9
            boxes.append(
                f'<rect x="{left:.1f}" y="{y - 11:.1f}" width="{right - left:.1f}" height="22" rx="8" class="box"/>'
            )
            boxes.append(
                svg.text((left + right) / 2, y + 22, f"head {head}", "soft small", "middle")
            )
    return boxes


def _dot(node: str, at: tuple[float, float], about: str) -> str:
    site = node.split(".")[-2] if node.count(".") == 2 else ""
    letter = {"attn_q": "q", "attn_k": "k", "attn_v": "v"}.get(site, "")
    x, y = at
    mark = svg.text(x, y - 8, letter, "soft small", "middle") if letter else ""
    return (
        f'<g><circle cx="{x:.1f}" cy="{y:.1f}" r="5" class="node"/>{mark}'
        f"<title>{escape(about)}</title></g>"
    )


def _about(model: Model, node: str) -> str:
    """What hovering a node says: its bias, and the tokens of its channel; of latents their name."""
    if has_latents(model.network.config):
        return node
    key, channel = node.rsplit(".", 1)
    network, c = model.ours, int(channel)
    if key == FINAL_SITE:
        return f"{node}\nraises {_tokens(model, network.lm_head.weight[:, c])}"
    site = key.split(".")[1]
    if site in ("attn_in", "mlp_in"):
        if c >= network.config.d_model:
            return f"{node}\nposition channel {c - network.config.d_model}"
        return f"{node}\nembedding of {_tokens(model, network.wte.weight[:, c])}"
    bias = float(writer(network, key)[1][c])
    return f"{node}\nbias {bias:+.3f}"


def _tokens(model: Model, weights: Tensor) -> str:
    """The tokens of largest weight, of either sign."""
    order = weights.abs().argsort(descending=True)[:TOKENS].tolist()
    named = [
        f"{model.tokenizer.token(t)!r} {float(weights[t]):+.2f}" for t in order if weights[t] != 0
    ]
    return ", ".join(named) or "no token"
