"""Attribution-graph JSON of one traced answer, for circuit-tracer's page and Neuronpedia's.

As `graph.py`, which writes that of a circuit: the layer of a node is the place of its site in the
order of computing, from 1. What a node got from nodes that are not in the graph, from positions and
biases is its error node's, one for each layer and token, so that the links into a node add up to
its effect.
"""

from typing import Any

from lacewing.model.sites import FINAL_SITE, parse_node
from lacewing.model.store import Model
from lacewing.viewer.exports.graph import (
    ERROR,
    FEATURE,
    MOST_LINKS,
    THRESHOLD,
    cantor,
    metadata,
    parameters,
    plain_node,
    typed,
)
from lacewing.viewer.exports.trace import layer_of

MOST_NODES = 1000
"""Of a graph, the largest effects; more than these pages draw in a moment."""
LEAST = 1e-6
"""Nats that are worth an error node."""

Links = dict[tuple[str, str], float]
Plain = dict[str, Any]


def answer_graph(result: Plain, model: Model) -> Plain:
    """The graph.

    Args:
        result: A trace, as plain values.
        model: The model it is of.
    """
    layers, words, end = model.network.config.n_layer, result["tokens"], result["ids"]["answer"]
    top, last = layer_of(FINAL_SITE, layers) + 1, len(words) - 1
    ranked = sorted(result["nodes"], key=lambda n: -abs(n["effect"]))
    kept = ranked[:MOST_NODES]
    ids = {"answer": f"{top}_{end}_{last}"}
    for n in kept:
        key, channel = parse_node(n["node"])
        ids[f"{n['node']}@{n['token']}"] = f"{layer_of(key, layers)}_{channel}_{n['token']}"
    for token, number in enumerate(result["ids"]["tokens"]):
        ids[f"token@{token}"] = f"E_{number}_{token}"
    links = _links(result["edges"], ids)
    totals = {ids[f"{n['node']}@{n['token']}"]: n["effect"] for n in kept}
    if "sources" in result:  # what is held adds up to the difference
        totals[ids["answer"]] = result["difference"]
    errors = _errors(links, totals)
    used = {end for link in links for end in link}
    tokens = [n for n in _tokens(result, ids) if n["node_id"] in used]
    groups = [
        [g["name"], *(ids[m] for m in g["members"] if m in ids)] for g in result.get("groups", ())
    ]
    settings = {
        "model": result["model"],
        "difference": result["difference"],
        "nodes_left_out": len(ranked) - len(kept),
    }
    said = "One answer of a language model against its rival"
    slug = f"trace-{result['model']}-{len(words)}-{end}"
    about = metadata(slug, result["model"], words, "".join(words), said, settings)
    return {
        "metadata": about | {"node_threshold": THRESHOLD},
        "qParams": parameters([group for group in groups if len(group) > 2]),
        "nodes": [_logit(result, ids["answer"]), *_features(ranked, ids), *tokens, *errors],
        "links": [{"source": s, "target": t, "weight": w} for (s, t), w in links.items()],
    }


def _logit(result: Plain, name: str) -> Plain:
    """The answer."""
    layer, number, token = name.split("_")
    said = f"{result['answer']!r} against {result['rival']!r} (p={result['chance']:.3f})"
    more = typed("logit", layer, int(number), f"L_{number}-{token}", said)
    chance = {"token_prob": result["chance"], "is_target_logit": True}
    return plain_node(more | chance, name, int(token), 0.0) | {"rival": result["ids"]["rival"]}


def _features(ranked: list[Plain], ids: dict[str, str]) -> list[Plain]:
    """Nodes that are there, largest first."""
    total, running, found = sum(abs(n["effect"]) for n in ranked) or 1.0, 0.0, []
    for n in ranked[:MOST_NODES]:
        name = ids[f"{n['node']}@{n['token']}"]
        layer, channel, token = map(int, name.split("_"))
        running += abs(n["effect"]) / total
        mark = "~ " if n.get("label_by") == "hint" else ""
        called = f"{n['node']}: {mark}{n['label']}" if n.get("label") else n["node"]
        js, number = f"{layer}_{channel}-0", cantor(layer, channel)
        more = typed(FEATURE, str(layer), number, js, called) | {"activation": n["value"]}
        own = {"sparse": {"node": n["node"], "effect": n["effect"]}}
        found.append(plain_node(more | own, name, token, min(1.0, round(running, 6))))
    return found


def _tokens(result: Plain, ids: dict[str, str]) -> list[Plain]:
    """The prompt."""
    found = []
    for token, number in enumerate(result["ids"]["tokens"]):
        said = f"Emb: {result['tokens'][token]}"
        more = typed("embedding", "E", token, f"E_{number}-{token}", said)
        found.append(plain_node(more, ids[f"token@{token}"], token, 1.0))
    return found


def _links(edges: list[Plain], ids: dict[str, str]) -> Links:
    """Those between nodes and tokens that are there, the strongest."""
    links: Links = {}
    for edge in edges:
        source, target = ids.get(edge["source"]), ids.get(edge["target"])
        if source is not None and target is not None:
            links[source, target] = links.get((source, target), 0.0) + edge["weight"]
    strongest = sorted(links, key=lambda ends: -abs(links[ends]))[:MOST_LINKS]
    return {ends: links[ends] for ends in strongest}


def _errors(links: Links, totals: dict[str, float]) -> list[Plain]:
    """What else each node got: an error node for each layer and token, whose links are added."""
    given = dict.fromkeys(totals, 0.0)
    for (_, target), weight in links.items():
        given[target] = given.get(target, 0.0) + weight
    errors: dict[str, Plain] = {}
    for target, effect in totals.items():
        if abs(rest := effect - given[target]) < LEAST:
            continue
        layer, _, token = target.split("_")
        name = f"0_{layer}_{token}"
        said = "what is not in the graph, positions, biases"
        more = typed(ERROR, str(int(layer) - 1), -1, f"{layer}_{token}-0", said)
        errors.setdefault(name, plain_node(more, name, int(token), 1.0))
        links[name, target] = rest
    return list(errors.values())
