"""Attribution-graph JSON of one traced answer, for circuit-tracer's page and Neuronpedia's.

As `graph.py`, which writes that of a circuit: the layer of a node is the place of its site in the
order of computing, from 1. What comes from nodes that are not kept, and from biases, is an error
node of each layer and token.
"""

from typing import Any

from lacewing.model.sites import FINAL_SITE, parse_node
from lacewing.model.store import Model
from lacewing.viewer.exports.graph import (
    ERROR,
    FEATURE,
    THRESHOLD,
    cantor,
    metadata,
    parameters,
    plain_node,
    typed,
)
from lacewing.viewer.exports.trace import layer_of


def answer_graph(result: dict[str, Any], model: Model) -> dict[str, Any]:
    """The graph.

    Args:
        result: A trace, as plain values.
        model: The model it is of.
    """
    layers, words = model.network.config.n_layer, result["tokens"]
    last, top = len(words) - 1, layer_of(FINAL_SITE, layers) + 1
    answer, rival = (model.tokenizer.single(result[end]) for end in ("answer", "rival"))
    target = f"{top}_{answer}_{last}"
    total = sum(abs(n["effect"]) for n in result["nodes"]) or 1.0
    ids, nodes, running = {"answer": target}, [], 0.0
    said = f"{result['answer']!r} against {result['rival']!r} (p={result['chance']:.3f})"
    nodes.append(
        _node(target, last, "logit", str(top), answer or 0, said, 0.0)
        | {"token_prob": result["chance"], "is_target_logit": True, "rival": rival}
    )
    for n in sorted(result["nodes"], key=lambda n: -abs(n["effect"])):
        key, channel = parse_node(n["node"])
        layer, token = layer_of(key, layers), n["token"]
        running += abs(n["effect"]) / total
        name = ids[f"{n['node']}@{token}"] = f"{layer}_{channel}_{token}"
        feature = cantor(layer, channel)
        mark = "~ " if n.get("label_by") == "hint" else ""
        called = f"{n['node']}: {mark}{n['label']}" if n.get("label") else n["node"]
        made = _node(name, token, FEATURE, str(layer), feature, called, min(1.0, running))
        more = {"node": n["node"], "effect": n["effect"]}
        nodes.append(made | {"activation": n["value"], "sparse": more})
    links: dict[tuple[str, str], float] = {}
    others: dict[str, dict[str, Any]] = {}
    for edge in result["edges"]:
        source, to = edge["source"], ids.get(edge["target"])
        if to is None:
            continue
        begin = ids.get(source)
        if begin is None:
            begin = _source(source, to, words, others)
        links[begin, to] = links.get((begin, to), 0.0) + edge["weight"]
    return {
        "metadata": metadata(
            f"trace-{result['model']}-{len(words)}-{answer}",
            result["model"],
            words,
            "".join(words),
            "One answer of a language model against its rival",
            {"model": result["model"], "difference": result["difference"]},
        )
        | {"node_threshold": THRESHOLD},
        "qParams": parameters(
            [[g["name"], *(ids[m] for m in g["members"])] for g in result.get("groups", ())]
        ),
        "nodes": nodes + list(others.values()),
        "links": [{"source": s, "target": t, "weight": w} for (s, t), w in links.items()],
    }


def _source(name: str, to: str, words: list[str], others: dict[str, dict[str, Any]]) -> str:
    """The id of what is no node: a token, or what positions, biases and nodes left out gave."""
    if name.startswith("token@"):
        token = int(name.partition("@")[2])
        made = f"E_{token}_{token}"
        node = _node(made, token, "embedding", "E", token, f"Emb: {words[token]}", 1.0)
    else:
        layer, _, token_text = to.split("_")
        token = int(token_text)
        made = f"0_{layer}_{token}"
        node = _node(made, token, ERROR, str(int(layer) - 1), -1, "positions, biases", 1.0)
    others.setdefault(made, node)
    return made


def _node(
    name: str, token: int, kind: str, layer: str, feature: int, clerp: str, influence: float
) -> dict[str, Any]:
    more = typed(kind, layer, feature, f"{name}-0", clerp)
    return plain_node(more, name, token, round(influence, 6))
