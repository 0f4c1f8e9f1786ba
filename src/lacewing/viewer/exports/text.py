"""A circuit as text: Graphviz, Mermaid, and tables of nodes and edges."""

import csv
import io
from collections.abc import Iterable

from lacewing.circuit.circuit import Circuit
from lacewing.model.sites import has_latents, parse_node
from lacewing.model.store import Model
from lacewing.model.weights import weight_of
from lacewing.viewer.describe import residual, row_of
from lacewing.viewer.edits import edge_name
from lacewing.viewer.reading import TaskTokens, label

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#999999"
"""Okabe and Ito's colours, which most colour-blind people tell apart."""
MOST_DRAWN = 500
"""Edges a layout program still lays out in reasonable time; the strongest are kept."""

Row = tuple[str, str, str, float]


def edges_of(model: Model, circuit: Circuit) -> list[Row]:
    """Name, source, destination and weight of every edge, strongest first."""
    rows = []
    for family, pairs in circuit.edges.items():
        if not len(pairs):
            continue
        layer, _, sites = family.partition(".")
        weight = weight_of(model.ours, family)
        source, destination = (f"{layer}.{site}" for site in sites.split("-"))
        for s, d in pairs.tolist():
            ends = f"{source}.{s}", f"{destination}.{d}"
            rows.append((edge_name(family, s, d), *ends, float(weight[d, s])))
    return sorted(rows, key=lambda row: -abs(row[3]))


def dot(model: Model, circuit: Circuit) -> str:
    """Graphviz: `dot -Tsvg circuit.dot`."""
    edges, layers = edges_of(model, circuit), model.network.config.n_layer
    lines = [
        "digraph circuit {",
        f"  label={_quoted(_title(circuit, len(edges)))};",
        "  rankdir=BT; node [shape=box, style=rounded, fontname=sans, fontsize=10];",
    ]
    rows: dict[int, list[str]] = {}
    tokens = TaskTokens.of(model, circuit)
    for name in circuit.node_names():
        key, channel = parse_node(name)
        rows.setdefault(row_of(key, layers), []).append(name)
        said = label(model, key, channel, tokens)
        text = _quoted(name + (f"\n{said}" if said else ""))
        lines.append(f"  {_quoted(name)} [label={text}];")
    lines += [f"  {{ rank=same; {'; '.join(map(_quoted, names))}; }}" for names in rows.values()]
    largest = max((abs(w) for *_, w in edges), default=1.0) or 1.0
    for _, source, destination, weight in edges[:MOST_DRAWN]:
        look = f'color="{BLUE}"' if weight > 0 else f'color="{ORANGE}", style=dashed'
        width = 0.5 + 2.5 * abs(weight) / largest
        lines.append(
            f"  {_quoted(source)} -> {_quoted(destination)} "
            f'[{look}, penwidth={width:.2f}, tooltip="{weight:+.4f}"];'
        )
    for write, read in _residual(model, circuit):
        look = f'color="{GREY}", style=dotted, arrowhead=none, tooltip="residual stream"'
        lines.append(f"  {_quoted(write)} -> {_quoted(read)} [{look}];")
    return "\n".join([*lines, "}", ""])


def mermaid(model: Model, circuit: Circuit) -> str:
    """Mermaid, as Markdown pages of many hosts draw it."""
    edges = edges_of(model, circuit)
    lines = [f"%% {_title(circuit, len(edges))}", "flowchart BT"]
    layers = model.network.config.n_layer
    rows: dict[int, list[str]] = {}
    for name in circuit.node_names():
        rows.setdefault(row_of(parse_node(name)[0], layers), []).append(name)
    for row, names in rows.items():
        key = parse_node(names[0])[0]
        lines.append(f'  subgraph row{row}["{"qkv" if "attn_v" in key else key}"]')
        lines += [f'    {_plain(name)}["{name}"]' for name in names]
        lines.append("  end")
    for _, source, destination, weight in edges[:MOST_DRAWN]:
        arrow = "-->" if weight > 0 else "-.->"
        lines.append(f'  {_plain(source)} {arrow}|"{weight:+.2f}"| {_plain(destination)}')
    lines += [f"  {_plain(w)} --- {_plain(r)}" for w, r in _residual(model, circuit)]
    return "\n".join([*lines, ""])


def edges_csv(model: Model, circuit: Circuit) -> str:
    """Every edge with its weight."""
    return _csv(("edge", "source", "destination", "weight"), edges_of(model, circuit))


def nodes_csv(model: Model, circuit: Circuit) -> str:
    """Every node with its site, head and label."""
    size, rows = model.network.config.d_head, []
    tokens = TaskTokens.of(model, circuit)
    for name in circuit.node_names():
        key, channel = parse_node(name)
        layer, _, site = key.rpartition(".")
        headed = site in ("attn_q", "attn_k", "attn_v") and not has_latents(model.network.config)
        head = channel // size if headed else ""
        mean = f"{float(model.means[key][channel]):.6g}"
        said = label(model, key, channel, tokens)
        rows.append((name, layer, site, channel, head, mean, said))
    return _csv(("node", "layer", "site", "channel", "head", "mean", "label"), rows)


def _csv(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([[_cell(value) for value in row] for row in rows])
    return out.getvalue()


def _cell(value: object) -> object:
    """A value that no spreadsheet takes for a formula."""
    risky = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if risky else value


def _residual(model: Model, circuit: Circuit) -> list[tuple[str, str]]:
    names = circuit.node_names()
    index = {name: i for i, name in enumerate(names)}
    joined = residual(circuit, index, model)
    return [(names[write], names[read]) for write, read in joined]


def _title(circuit: Circuit, edges: int) -> str:
    left_out = f", the strongest {MOST_DRAWN} drawn" if edges > MOST_DRAWN else ""
    return f"{circuit.task}: {circuit.n_nodes} nodes, {edges} edges{left_out}"


def _plain(name: str) -> str:
    return "n" + name.replace(".", "_")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
