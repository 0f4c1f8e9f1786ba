"""What circuit-tracer's page and Neuronpedia demand of a graph, and what no schema of theirs says.

Sources: circuit-tracer `frontend/graph_models.py` and `frontend/assets`; Neuronpedia
`app/api/graph/graph-schema.json` and `app/[modelId]/graph/utils.ts` (2026).
"""

import re
from collections.abc import Mapping
from typing import Any

METADATA = {"slug": str, "scan": str, "prompt_tokens": list, "prompt": str, "transcoder_list": list}
PARAMETERS = {
    "pinnedIds": list,
    "supernodes": list,
    "linkType": str,
    "clickedId": str,
    "sg_pos": str,
}
NODE = {
    "node_id": str,
    "feature": int,
    "layer": str,
    "ctx_idx": int,
    "feature_type": str,
    "jsNodeId": str,
    "clerp": str,
}
KINDS = ("cross layer transcoder", "mlp reconstruction error", "embedding", "logit")
TRACING = (
    "pair_wise_contributors",
    "top_q_marginal_contributors",
    "top_k_marginal_contributors",
)


def problems(graph: dict[str, Any]) -> list[str]:
    """Everything that one of the two readers would refuse, hide or crash on; empty if nothing."""
    missing = {"metadata", "qParams", "nodes", "links"} - graph.keys()
    if missing:
        return [f"top level lacks {sorted(missing)}"]
    found = _typed(graph["metadata"], METADATA, "metadata")
    found += _typed(graph["qParams"], PARAMETERS, "qParams")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", str(graph["metadata"].get("slug"))):
        found.append("metadata.slug has other signs than letters, digits, _ . -")
    found += _nodes(graph)
    ids = {node.get("node_id") for node in graph["nodes"]}
    for link in graph["links"]:
        if {"source", "target", "weight"} - link.keys():
            found.append("a link lacks source, target or weight")
        elif not {link["source"], link["target"]} <= ids:
            found.append(f"a link's end is no node: {link['source']} to {link['target']}")
        elif not isinstance(link["weight"], int | float) or link["weight"] != link["weight"]:
            found.append(f"the link {link['source']} to {link['target']} has no weight")
    for group in graph["qParams"].get("supernodes", ()):
        if not group or not set(group[1:]) <= ids:
            found.append(f"supernode {group[:1]} has members that are no nodes")
    return found


def _nodes(graph: dict[str, Any]) -> list[str]:
    found = []
    nodes, tokens = graph["nodes"], graph["metadata"].get("prompt_tokens", [])
    ids = [node.get("node_id") for node in nodes]
    if len(ids) != len(set(ids)):
        found.append("two nodes have one node_id")
    for node in nodes:
        where = f"node {node.get('node_id')}"
        found += _typed(node, NODE, where)
        if node.get("feature_type") not in KINDS:
            found.append(f"{where}: feature_type {node.get('feature_type')!r} is unknown")
        if not 0 <= node.get("ctx_idx", -1) < len(tokens):
            found.append(f"{where}: ctx_idx lies outside the prompt")
        kind, clerp = node.get("feature_type"), node.get("clerp", "")
        if kind == "logit" and clerp and not re.search(r"\(p=[\d.]+\)", clerp):
            found.append(f"{where}: a logit's clerp needs (p=...)")
        if kind == "embedding" and node.get("layer") != "E":
            found.append(f"{where}: an embedding's layer is E")
        if kind != "embedding" and not str(node.get("layer")).isdigit():
            found.append(f"{where}: layer is no number")
        if "node_threshold" in graph["metadata"] and node.get("influence") is None:
            found.append(f"{where}: without influence it is hidden")
        if "qk_tracing_results" in node and set(TRACING) - node["qk_tracing_results"].keys():
            found.append(f"{where}: qk_tracing_results lacks a key")
    deep = [n for n in nodes if n.get("feature_type") != "logit" and str(n["layer"]).isdigit()]
    if not any(int(n["layer"]) >= 1 for n in deep):
        found.append("no node but logits has a layer of 1 or more")
    return found


def _typed(value: dict[str, Any], types: Mapping[str, type], where: str) -> list[str]:
    found = [f"{where} lacks {key}" for key in types if key not in value]
    return found + [
        f"{where}: {key} is no {kind.__name__}"
        for key, kind in types.items()
        if key in value and not isinstance(value[key], kind)
    ]
