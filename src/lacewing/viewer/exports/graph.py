"""Attribution-graph JSON: one circuit on one prompt, or its wiring alone without positions.

Written for circuit-tracer's page and Neuronpedia at once. The layer of a node is the place of its
site in the order of computing, from 1; its true name, site and head stand in its label and under
the key `sparse`. Influence is cumulative: the smaller, the more the logits rest on a node.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch

from lacewing import __version__
from lacewing.circuit.edges import kept_at
from lacewing.errors import DataError
from lacewing.model.config import BLOCK_SITES
from lacewing.model.sites import has_latents, parse_node
from lacewing.model.weights import weight_of
from lacewing.viewer import latents, notes
from lacewing.viewer.describe import residual
from lacewing.viewer.exports.trace import Tracing, layer_of, trace
from lacewing.viewer.reading import label
from lacewing.viewer.session import Session

FEATURE, ERROR = "cross layer transcoder", "mlp reconstruction error"
NO_SLUG = r"[^A-Za-z0-9_.-]+"
"""What the readers do not take in a name."""
MOST_LINKS = 20_000
MOST_EDGES = 3000
THRESHOLD = 0.9
"""Where the readers' slider stands at first: nodes that make up this share of the influence."""


def prompt_graph(session: Session, pair: int, member: str) -> dict[str, Any]:
    """The graph of one test prompt.

    Raises:
        DataError: there is no such pair, the circuit is too large for these viewers, or its nodes
            are latents.
    """
    sequence = session.sequence(pair, member)
    if has_latents(session.model.network.config):
        raise DataError(
            "a graph at every token follows the channels of the residual stream, and nodes are "
            "latents here: save wiring.json, or nodes.csv"
        )
    if session.circuit.n_edges > MOST_EDGES:
        raise DataError(
            f"a graph of {session.circuit.n_edges} edges at every token is more than these viewers "
            f"show (up to {MOST_EDGES} edges): save wiring.json, which has no tokens"
        )
    tokens = session.prompts.tokens[sequence, : int(session.prompts.last[sequence]) + 1].tolist()
    found, logits = trace(session, tokens)
    chosen = session.prompts.pairs[pair]
    words = [session.model.tokenizer.token(t) for t in tokens]
    influence = _influence(found, logits.softmax(0), session)
    kept, links = _kept(found, influence)
    graph = _Graph(session, tokens, words, found, influence, logits.softmax(0).tolist())
    nodes = [graph.node(name) for name in kept]
    text = chosen.clean if member == "clean" else chosen.corrupted
    return {
        "metadata": _metadata(session, f"{session.found.id}-{pair}-{member}", words, text)
        | {
            "node_threshold": THRESHOLD,
            "pruning_settings": {
                "links": len(links),
                "links_left_out": len(found.links) - len(links),
            },
        },
        "qParams": parameters(graph.groups(kept)),
        "nodes": nodes,
        "links": [
            {"source": graph.id(s), "target": graph.id(t), "weight": weight}
            for (s, t), weight in links.items()
        ],
    }


def _influence(found: Tracing, p: torch.Tensor, session: Session) -> dict[str, float]:
    """How much of the shown logits' probability rests on each node, along all paths."""
    into: dict[str, list[tuple[str, float]]] = {}
    for (source, target), weight in found.links.items():
        into.setdefault(target, []).append((source, abs(weight)))
    layers = session.model.network.config.n_layer
    share: dict[str, float] = {}
    for name in found.values:
        if name.startswith("logit."):
            share[name] = float(p[_channel(name)])
    for target in sorted(into, key=lambda name: -_layer(name, layers)):
        total = sum(weight for _, weight in into[target])
        for source, weight in into[target] if total else ():
            share[source] = share.get(source, 0.0) + share.get(target, 0.0) * weight / total
    return share


def _kept(
    found: Tracing, influence: Mapping[str, float]
) -> tuple[list[str], dict[tuple[str, str], float]]:
    """Nodes the logits rest on, with the queries and keys behind them; and their links."""
    kept = {name for name, share in influence.items() if share > 0}
    for target in list(kept):
        kept |= {end for row in found.products.get(target, ()) for end in row[:2]}
    queries = {n for n in kept if influence.get(n, 0.0) == 0}
    kept |= {source for source, target in found.links if target in queries}
    links = {ends: w for ends, w in found.links.items() if ends[0] in kept and ends[1] in kept}
    strongest = sorted(links, key=lambda ends: -abs(links[ends]))[:MOST_LINKS]
    return sorted(kept), {ends: links[ends] for ends in strongest}


class _Graph:
    """Names and nodes of one graph, as the readers want them."""

    def __init__(
        self,
        session: Session,
        tokens: list[int],
        words: list[str],
        found: Tracing,
        influence: Mapping[str, float],
        p: list[float],
    ) -> None:
        self.session, self.tokens, self.words = session, tokens, words
        self.found, self.p = found, p
        self.layers = session.model.network.config.n_layer
        total = sum(influence.values()) or 1.0
        running, self.cumulative = 0.0, {}
        order = sorted(influence, key=lambda n: (not n.startswith("logit."), -influence[n], n))
        for name in order:
            running += influence[name] / total
            self.cumulative[name] = min(1.0, round(running, 6))

    def id(self, name: str) -> str:
        """The reader's id of one of our names."""
        token = _token(name)
        if name.startswith("E@"):
            return f"E_{self.tokens[token]}_{token}"
        if name.startswith("logit."):
            return f"{layer_of('resid_final', self.layers) + 1}_{_channel(name)}_{token}"
        if name.startswith("error@"):
            return f"0_{_layer(name, self.layers)}_{token}"
        return f"{_layer(name, self.layers)}_{_channel(name)}_{token}"

    def node(self, name: str) -> dict[str, Any]:
        """A node."""
        token, layer = _token(name), _layer(name, self.layers)
        if name.startswith("E@"):
            id = self.tokens[token]
            more = typed("embedding", "E", token, f"E_{id}-{token}", f"Emb: {self.words[token]}")
        elif name.startswith("error@"):
            more = typed(ERROR, str(layer), -1, f"{layer}_{token}-0", "ablated, and biases")
        elif name.startswith("logit."):
            id = _channel(name)
            said = f'Output "{self.session.model.tokenizer.token(id)}" (p={self.p[id]:.3f})'
            more = typed("logit", str(layer), id, f"L_{id}-{token}", said)
            more |= {
                "token_prob": self.p[id],
                "is_target_logit": id in self.session.circuit.answers,
            }
        else:
            more = _feature(self.session, name.partition("@")[0], layer)
            more |= self._products(name)
        more = {"activation": self.found.values.get(name)} | more
        return plain_node(more, self.id(name), token, self.cumulative.get(name, 1.0))

    def _products(self, name: str) -> dict[str, Any]:
        rows = [(self.id(q), self.id(k), w) for q, k, w in self.found.products.get(name, ())]
        if not rows:
            return {}
        sums: tuple[dict[str, float], dict[str, float]] = ({}, {})
        for q, k, weight in rows:
            for group, id in zip(sums, (q, k), strict=True):
                group[id] = group.get(id, 0.0) + weight
        tops = [sorted(group.items(), key=lambda item: -abs(item[1])) for group in sums]
        return {
            "qk_tracing_results": {
                "pair_wise_contributors": [list(row) for row in rows],
                "top_q_marginal_contributors": [list(item) for item in tops[0]],
                "top_k_marginal_contributors": [list(item) for item in tops[1]],
            }
        }

    def groups(self, kept: list[str]) -> list[list[str]]:
        """The saved supernodes, at every token where their members are."""
        at: dict[str, list[str]] = {}
        for name in kept:
            at.setdefault(name.partition("@")[0], []).append(self.id(name))
        groups = []
        for saved in notes.read(self.session.found.folder).supernodes:
            members = [id for member in saved.members for id in at.get(member, ())]
            if members:
                groups.append([saved.name, *members])
        return groups


def wiring(session: Session) -> dict[str, Any]:
    """The circuit without positions: nodes, edges by weight, and the residual stream.

    One pseudo-token stands for all; a link through the residual stream has weight 1. The answers
    are shown as equally likely, since nothing is run.
    """
    circuit, model = session.circuit, session.model
    layers, names = model.network.config.n_layer, circuit.node_names()
    top = layer_of("resid_final", layers) + 1

    def id(node: str) -> str:
        key, channel = parse_node(node)
        return f"{layer_of(key, layers)}_{channel}_0"

    nodes = [plain_node(typed("embedding", "E", 0, "E_0-0", "Emb: any token"), "E_0_0")]
    links: list[dict[str, Any]] = []
    for node in names:
        key, channel = parse_node(node)
        nodes.append(plain_node(_feature(session, node, layer_of(key, layers)), id(node)))
        part, number = latents.part_of(model, key, channel)
        embedded = part == "latent" or number < model.network.config.d_model
        if key.endswith(("attn_in", "mlp_in")) and embedded:  # not a channel of positions
            links.append({"source": "E_0_0", "target": id(node), "weight": 1.0})
    for family, pairs in circuit.edges.items():
        layer, _, sites = family.partition(".")
        if not len(pairs):
            continue
        weight = weight_of(model.ours, family)
        ends = [f"{layer}.{site}" for site in sites.split("-")]
        for s, d in pairs.tolist():
            source, target = id(f"{ends[0]}.{s}"), id(f"{ends[1]}.{d}")
            links.append({"source": source, "target": target, "weight": float(weight[d, s])})
    index = {name: i for i, name in enumerate(names)}
    for write, read in residual(circuit, index, model):
        links.append({"source": id(names[write]), "target": id(names[read]), "weight": 1.0})
    chance = 1 / max(1, len(circuit.answers))
    for token in circuit.answers:
        said = f'Output "{model.tokenizer.token(token)}" (p={chance:.3f})'
        nodes.append(
            plain_node(typed("logit", str(top), token, f"L_{token}-0", said), f"{top}_{token}_0")
        )
        for channel in kept_at(circuit.nodes, "resid_final").tolist():
            row = latents.under(model).lm_head.weight[token][None]
            value = float(latents.along(row, latents.writing(model, "resid_final", channel))[0])
            source = id(f"resid_final.{channel}")
            if value:
                links.append({"source": source, "target": f"{top}_{token}_0", "weight": value})
    metadata = _metadata(session, f"{session.found.id}-wiring", ["(any)"], "(any prompt)")
    return {"metadata": metadata, "qParams": parameters([]), "nodes": nodes, "links": links}


def plain_node(
    more: dict[str, Any], id: str, token: int = 0, influence: float = 0.5
) -> dict[str, Any]:
    """What the readers want of every node, with what is known of this one."""
    return {
        "node_id": id,
        "ctx_idx": token,
        "reverse_ctx_idx": 0,
        "run_idx": 0,
        "influence": influence,
        "activation": None,
        "token_prob": 0.0,
        "is_target_logit": False,
    } | more


def typed(kind: str, layer: str, feature: int, js: str, clerp: str) -> dict[str, Any]:
    """What kind of node it is, and what is said of it."""
    return {
        "feature_type": kind,
        "layer": layer,
        "feature": feature,
        "jsNodeId": js,
        "clerp": clerp,
    }


def _feature(session: Session, node: str, layer: int) -> dict[str, Any]:
    key, channel = parse_node(node)
    site, size = key.split(".")[-1], session.model.network.config.d_head
    headed = site in ("attn_q", "attn_k", "attn_v") and not has_latents(
        session.model.network.config
    )
    head = channel // size if headed else None
    said = label(session.model, key, channel, session.tokens)
    clerp = node + (f" (head {head})" if head is not None else "") + (f": {said}" if said else "")
    more = typed(FEATURE, str(layer), cantor(layer, channel), f"{layer}_{channel}-0", clerp)
    return more | {"sparse": {"node": node, "site": site, "head": head, "channel": channel}}


def _metadata(session: Session, slug: str, words: list[str], prompt: str) -> dict[str, Any]:
    circuit, run = session.circuit, session.found.run
    settings = {
        "task": circuit.task,
        "model_id": circuit.model_id,
        "ablation": circuit.ablation,
        "nodes": circuit.n_nodes,
        "edges": circuit.n_edges,
        "target_loss": circuit.target_loss,
        "losses": dict(circuit.losses),
        "seed": circuit.seed,
    }
    kind = (
        "latents of a transformer"
        if has_latents(session.model.network.config)
        else "a weight-sparse transformer"
    )
    said = f"Circuit of {circuit.task} in {kind}"
    return metadata(slug, run.name if run else circuit.model_id, words, prompt, said, settings)


def metadata(
    slug: str, model: str, words: list[str], prompt: str, said: str, settings: dict[str, Any]
) -> dict[str, Any]:
    """What a graph is of, under names that the readers take."""
    return {
        "slug": re.sub(NO_SLUG, "-", slug),
        "scan": re.sub(NO_SLUG, "-", f"lacewing-{model}"),
        "prompt_tokens": words,
        "prompt": prompt,
        "transcoder_list": [],
        "schema_version": 1,
        "info": {
            "description": said,
            "generator": {"name": "lacewing", "version": __version__},
        },
        "generation_settings": settings,
    }


def parameters(supernodes: list[list[str]]) -> dict[str, Any]:
    """What the readers' page shows at first."""
    return {
        "pinnedIds": [],
        "supernodes": supernodes,
        "linkType": "both",
        "clickedId": "",
        "sg_pos": "",
    }


def cantor(x: int, y: int) -> int:
    """One number for two, as both readers take features apart again."""
    return (x + y) * (x + y + 1) // 2 + y


def _layer(name: str, layers: int) -> int:
    if name.startswith("E@"):
        return 0
    if name.startswith("logit."):
        return layer_of("resid_final", layers) + 1
    if name.startswith("error@"):
        return layer_of(name.split("@")[2], layers) - 1
    return layer_of(name.partition("@")[0].rpartition(".")[0], layers)


def _token(name: str) -> int:
    return int(name.split("@")[1])


def _channel(name: str) -> int:
    return int(name.partition("@")[0].rsplit(".", 1)[1])


assert len(BLOCK_SITES) == 8  # layers of the graph count them
