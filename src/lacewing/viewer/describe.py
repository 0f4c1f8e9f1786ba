"""A circuit as the page draws it: rows, nodes, edges, and the residual stream that joins them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lacewing import artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import kept_at
from lacewing.errors import ArtifactError
from lacewing.explain.labels import FILE as EXPLANATIONS
from lacewing.model.config import BLOCK_SITES
from lacewing.model.sites import FINAL_SITE, has_latents, parse_node, site_widths
from lacewing.model.store import Model
from lacewing.model.weights import QKV, weight_of, writer
from lacewing.tasks.batch import Prompts
from lacewing.tasks.registry import CATALOGUES, get, names
from lacewing.verification.verify import Verification, saved_verification
from lacewing.viewer import latents, reading
from lacewing.viewer.answers import (
    CircuitAnswer,
    Edges,
    Effect,
    Link,
    Node,
    NodeDetail,
    Notes,
    SiteRow,
)
from lacewing.viewer.edits import edge_name
from lacewing.viewer.ends import ends
from lacewing.viewer.meanings import Meaning, meanings
from lacewing.viewer.session import Session
from lacewing.viewer.things import Found

CERTIFICATE = ("target_loss", "loss", "pairs", "minimal")
"""What is told of a certificate as a whole."""
ROWS = ("attn_in", "attn_v", "attn_out", "mlp_in", "mlp_neuron", "mlp_out")
"""Sites of a block that have a row of their own; queries and keys lie in that of the values."""


def beside(found: Found, name: str) -> Any:
    """A JSON file beside a circuit; None where there is none, or none that can be read."""
    try:
        plain = artifacts.read_json(artifacts.own(found.folder, name))
        return artifacts.without_sum(plain, found.folder / name) if _is(plain) else plain
    except (ArtifactError, OSError):
        return None


def row_of(key: str, layers: int) -> int:
    """The row a site is drawn in: 0 is the embedding, the last but one the final residual."""
    if key == FINAL_SITE:
        return 1 + layers * len(ROWS)
    layer, site = key.split(".")
    return 1 + int(layer) * len(ROWS) + ROWS.index("attn_v" if site in QKV else site)


def circuit_answer(
    found: Found, model: Model, circuit: Circuit, prompts: Prompts, notes: Notes
) -> bytes:
    """Everything needed to draw a circuit, as JSON."""
    config = model.network.config
    certificate = beside(found, "certificate.json")
    explained = meanings(beside(found, EXPLANATIONS))
    verification = saved_verification(found.folder)
    tokens = reading.TaskTokens.of(model, circuit)
    nodes = [node(model, name, certificate, explained, tokens) for name in circuit.node_names()]
    index = {n.id: i for i, n in enumerate(nodes)}
    known = (
        {key: certificate[key] for key in CERTIFICATE} if _is(certificate, *CERTIFICATE) else None
    )
    answer = CircuitAnswer(
        id=found.id,
        task=circuit.task,
        model=(found.run.under or found.run).id if found.run else "",
        model_name=found.run.name if found.run else "",
        layers=config.n_layer,
        channels=config.d_model,
        d_head=config.d_head,
        heads=config.n_head,
        answers=[{"token": t, "text": model.tokenizer.token(t)} for t in circuit.answers],
        target_loss=circuit.target_loss,
        losses=dict(circuit.losses),
        ablation=circuit.ablation,
        seed=circuit.seed,
        config=circuit.config.as_json(),
        calibrated=circuit.calibration is not None,
        pairs=len(prompts),
        verification=verification.as_json() if verification else None,
        verdict=told(circuit.n_nodes, verification),
        certificate=known,
        sites=_sites(model, circuit),
        nodes=nodes,
        edges=_edges(model, circuit, index, certificate),
        residual=residual(circuit, index, model),
        embedding=[i for i, n in enumerate(nodes) if _reads_embedding(n)],
        unembedding=[i for i, n in enumerate(nodes) if n.site == FINAL_SITE],
        heads_kept=[] if has_latents(model.network.config) else _heads(circuit, config.d_head),
        notes=notes,
        description=described(circuit.task),
        latents=latents.counts(model),
        **ends(model, circuit, prompts),
    )
    return answer.model_dump_json().encode()


def told(nodes: int | None, verification: Verification | None) -> str | None:
    """A circuit's verdict in a few words; without a node there is none, whatever was measured."""
    if nodes == 0:
        return "fails: no circuit"
    return verification.verdict if verification else None


def described(task: str) -> str:
    """What a task is about, in its own words; nothing for a task that is not known here."""
    known = any(task in names(catalogue) for catalogue in CATALOGUES)
    return get(task).description if known else ""


def node(
    model: Model,
    name: str,
    certificate: Any,
    explained: Mapping[str, Meaning],
    tokens: reading.TaskTokens,
) -> Node:
    """A node with its place, bias and label."""
    key, channel = parse_node(name)
    layer, _, site = key.rpartition(".")
    config = model.network.config
    part, number = latents.part_of(model, key, channel)
    bias = latents.bias(model, key, channel)
    if part == "channel" and site not in ("attn_in", "mlp_in", FINAL_SITE):
        bias = float(writer(model.ours, key)[1][channel])
    headed = part == "channel" and site in QKV
    proof = _proof(certificate, "nodes", name)
    return Node(
        id=name,
        layer=int(layer) if layer else None,
        site=site,
        row=row_of(key, config.n_layer),
        channel=channel,
        part=part,
        number=number,
        head=channel // config.d_head if headed else None,
        head_channel=channel % config.d_head if headed else None,
        position=part != "latent" and site in ("attn_in", "mlp_in") and number >= config.d_model,
        bias=bias,
        mean=round(float(model.means[key][channel]), 6),
        label=reading.label(model, key, channel, tokens),
        slack=proof.get("slack"),
        loss_without=proof.get("loss_without"),
        meaning=explained.get(name),
    )


def detail(session: Session, name: str, notes: Notes, effect: Effect | None) -> NodeDetail:
    """Everything known of a node, kept or not."""
    found, model, circuit = session.found, session.model, session.circuit
    key, channel = parse_node(name)
    explained = meanings(beside(found, EXPLANATIONS))
    plain = node(model, name, beside(found, "certificate.json"), explained, session.tokens)
    inputs, outputs = links(model, circuit, name)
    return NodeDetail(
        **plain.model_dump(),
        kept=channel in kept_at(circuit.nodes, key),
        reads=reading.reads(model, key, channel),
        writes=reading.writes(model, key, channel),
        inputs=inputs,
        outputs=outputs,
        effect=effect,
        annotations=[a for a in notes.annotations if a.on == name],
        latent=latents.told(model, key, channel),
    )


def links(model: Model, circuit: Circuit, name: str) -> tuple[list[Link], list[Link]]:
    """What a node of the circuit reads from and writes to, strongest edges first."""
    key, channel = parse_node(name)
    inputs: list[Link] = []
    outputs: list[Link] = []
    for family, pairs in circuit.edges.items():
        layer, _, sites = family.partition(".")
        if not len(pairs):
            continue
        source, destination = (f"{layer}.{site}" for site in sites.split("-"))
        weight = weight_of(model.ours, family)
        for s, d in pairs.tolist():
            edge = edge_name(family, s, d)
            if (source, s) == (key, channel):
                there = f"{destination}.{d}"
                outputs.append(Link(edge=edge, node=there, weight=float(weight[d, s]), kind="edge"))
            elif (destination, d) == (key, channel):
                there = f"{source}.{s}"
                inputs.append(Link(edge=edge, node=there, weight=float(weight[d, s]), kind="edge"))
    for group in (inputs, outputs):
        group.sort(key=lambda link: -abs(link.weight or 0))
    names = circuit.node_names()
    index = {n: i for i, n in enumerate(names)}
    for write, read in residual(circuit, index, model):
        if names[read] == name:
            inputs.append(Link(edge=None, node=names[write], weight=None, kind="residual"))
        elif names[write] == name:
            outputs.append(Link(edge=None, node=names[read], weight=None, kind="residual"))
    if key == FINAL_SITE:
        for token in circuit.answers:
            row = latents.under(model).lm_head.weight[token][None]
            value = float(latents.along(row, latents.writing(model, key, channel))[0])
            text = repr(model.tokenizer.token(token))
            outputs.append(Link(edge=None, node=text, weight=value, kind="unembedding"))
    return inputs, outputs


def residual(circuit: Circuit, index: Mapping[str, int], model: Model) -> list[tuple[int, int]]:
    """Indices of kept writes with the kept later reads of the same residual channel.

    None where nodes are latents: each of those writes to many channels.
    """
    if has_latents(model.network.config):
        return []
    width = model.network.config.d_model
    written: dict[int, list[int]] = {}
    joined = []
    for key, channels in circuit.nodes.items():
        for channel in channels.tolist():
            here = index[f"{key}.{channel}"]
            if key == FINAL_SITE or key.endswith("_in"):
                joined += [(write, here) for write in written.get(channel, ())]
            elif key.endswith("_out") and channel < width:
                written.setdefault(channel, []).append(here)
    return joined


def _sites(model: Model, circuit: Circuit) -> list[SiteRow]:
    layers, widths = model.network.config.n_layer, site_widths(model.network.config)
    rows = []
    for key, kept in circuit.nodes.items():
        layer, _, site = key.rpartition(".")
        if len(kept):
            rows.append(
                SiteRow(
                    key=key,
                    layer=int(layer) if layer else None,
                    site=site,
                    row=row_of(key, layers),
                    nodes=len(kept),
                    width=widths[key],
                )
            )
    return rows


def _edges(model: Model, circuit: Circuit, index: Mapping[str, int], certificate: Any) -> Edges:
    source: list[int] = []
    destination: list[int] = []
    weights: list[float] = []
    slack: list[float | None] = []
    proven = certificate.get("edges", {}) if isinstance(certificate, dict) else {}
    for family, pairs in circuit.edges.items():
        layer, _, sites = family.partition(".")
        if not len(pairs):
            continue
        matrix = weight_of(model.ours, family).numpy()
        weights += np.round(matrix[pairs[:, 1], pairs[:, 0]], 6).tolist()
        left, right = sites.split("-")
        source += [index[f"{layer}.{left}.{s}"] for s in pairs[:, 0].tolist()]
        destination += [index[f"{layer}.{right}.{d}"] for d in pairs[:, 1].tolist()]
        if proven:
            names = [edge_name(family, s, d) for s, d in pairs.tolist()]
            slack += [_proof(certificate, "edges", edge).get("slack") for edge in names]
    return Edges(
        source=source, destination=destination, weight=weights, slack=slack if proven else None
    )


def _heads(circuit: Circuit, d_head: int) -> list[dict[str, Any]]:
    """Kept channels of each head, counted by kind."""
    heads: dict[str, dict[str, Any]] = {}
    for key, channels in circuit.nodes.items():
        layer, _, site = key.rpartition(".")
        for channel in channels.tolist() if site in QKV else ():
            name = f"{layer}.{channel // d_head}"
            row = heads.setdefault(name, {"head": name, "q": 0, "k": 0, "v": 0})
            row[site[-1]] += 1
    return sorted(heads.values(), key=lambda row: [int(part) for part in row["head"].split(".")])


def _reads_embedding(n: Node) -> bool:
    return n.site in ("attn_in", "mlp_in", FINAL_SITE) and not n.position


def _proof(certificate: Any, kind: str, name: str) -> dict[str, Any]:
    """A node's or an edge's line of a certificate."""
    group = certificate.get(kind) if isinstance(certificate, dict) else None
    found = group.get(name) if isinstance(group, dict) else None
    return found if isinstance(found, dict) else {}


def _is(value: Any, *keys: str) -> bool:
    return isinstance(value, dict) and all(key in value for key in keys)


assert set(QKV) | set(ROWS) == set(BLOCK_SITES)
