"""Circuit files of other tools, read as parts; see `parts`. Nothing is unpickled.

    lacewing       {"format": "lacewing-parts-1", "heads": [...], "mlps": [...], "neurons": [...],
                   "nodes": [...], "edges": ["0.3->2.1.q", "mlp 0->logits"]}
    EAP-IG         what Graph.to_json writes: cfg, nodes, edges with in_graph
    auto-circuit   the names of its edges: {"edges": ["A0.3->A2.1.Q", "MLP 0->Resid End"]}, or a
                   mapping from names to scores, with "threshold"
    circuit-tracer a graph file: metadata, qParams, nodes, links

circuit-tracer's features stand in transcoders, not in the model: the MLPs of their layers stand for
them, and all heads, whose patterns its graphs take as given.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.circuit.parts import Parts
from lacewing.errors import ArtifactError, MismatchError
from lacewing.model.protocol import Shape

OWN = "lacewing-parts-1"
EAP_NODE = re.compile(r"a(\d+)\.h(\d+)(?:<([qkv])>)?|m(\d+)")
AUTO_NODE = re.compile(r"A(\d+)\.(\d+)(?:\.([QKV]))?|MLP (\d+)")
OWN_NODE = re.compile(r"(\d+)\.(\d+)(?:\.([qkv]))?|mlp (\d+)")
ENDS = {"input", "logits", "Resid Start", "Resid End"}
"""Where edges begin and end that are no parts."""


def read_parts(file: Path, config: Shape) -> tuple[Parts, str]:
    """The parts in a file, and the format it is in.

    Args:
        file: JSON.
        config: The model's sizes.

    Raises:
        ArtifactError: it is no JSON, or of no known format, or names what is no part.
        MismatchError: it says that it is of a model of other sizes.
    """
    plain = artifacts.read_json(file)
    name = _format(plain)
    if name is None:
        raise ArtifactError(
            f"{file} is no circuit that is known: {OWN}, EAP-IG, auto-circuit or circuit-tracer "
            "(docs/open_models.md says what each holds)"
        )
    try:
        parts = READERS[name](plain, config)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ArtifactError(f"{file} is no whole circuit of {name} ({error!r:.200})") from error
    if not len(parts):
        raise ArtifactError(f"{file} holds no head, MLP, neuron or node: an empty circuit")
    return parts, name


def _format(plain: Any) -> str | None:
    if not isinstance(plain, Mapping):
        return None
    if plain.get("format") == OWN:
        return "lacewing"
    if {"cfg", "nodes", "edges"} <= plain.keys():
        return "EAP-IG"
    if {"metadata", "qParams", "nodes", "links"} <= plain.keys():
        return "circuit-tracer"
    return "auto-circuit" if "edges" in plain else None


def _own(plain: Mapping[str, Any], config: Shape) -> Parts:
    ends = _of_edges(_ends(plain.get("edges", ())), OWN_NODE)
    return Parts(
        heads=ends.heads | frozenset(map(str, plain.get("heads", ()))),
        mlps=ends.mlps | frozenset(int(layer) for layer in plain.get("mlps", ())),
        neurons=frozenset(map(str, plain.get("neurons", ()))),
        nodes=frozenset(map(str, plain.get("nodes", ()))),
    )


def _eap_ig(plain: Mapping[str, Any], config: Shape) -> Parts:
    _check_sizes(plain["cfg"], config)
    kept = [name for name, edge in plain["edges"].items() if edge["in_graph"]]
    if kept:  # without pruning, edges stay whose ends have left the graph
        inside = {name for name, node in plain["nodes"].items() if node["in_graph"]} | ENDS
        ends = [[end.partition("<")[0] for end in pair] for pair in _ends(kept)]
        both = [pair for pair, names in zip(_ends(kept), ends, strict=True) if inside >= {*names}]
        return _of_edges(both, EAP_NODE)
    return _of_nodes((name for name, node in plain["nodes"].items() if node["in_graph"]), EAP_NODE)


def _check_sizes(cfg: Mapping[str, Any], config: Shape) -> None:
    """Refuse a graph of a model of other sizes."""
    there, here = (int(cfg["n_layers"]), int(cfg["n_heads"])), (config.n_layer, config.n_head)
    if there != here:
        raise MismatchError(
            f"the graph is of a model of {there[0]} layers of {there[1]} heads (cfg), but this one "
            f"has {here[0]} of {here[1]}: pass the model it was found in with --model"
        )


def _auto_circuit(plain: Mapping[str, Any], config: Shape) -> Parts:
    edges = plain["edges"]
    if isinstance(edges, Mapping):
        least = float(plain["threshold"])
        edges = [name for name, score in edges.items() if abs(float(score)) >= least]
    return _of_edges(_ends(edges), AUTO_NODE)


def _circuit_tracer(plain: Mapping[str, Any], config: Shape) -> Parts:
    features = [n for n in plain["nodes"] if n["feature_type"] == "cross layer transcoder"]
    heads = (f"{layer}.{head}" for layer in range(config.n_layer) for head in range(config.n_head))
    layers = frozenset(int(node["layer"]) for node in features)
    return Parts(heads=frozenset(heads) if layers else frozenset(), mlps=layers)


READERS: Mapping[str, Callable[[Mapping[str, Any], Shape], Parts]] = {
    "lacewing": _own,
    "EAP-IG": _eap_ig,
    "auto-circuit": _auto_circuit,
    "circuit-tracer": _circuit_tracer,
}
"""By format."""


def _ends(edges: Iterable[str]) -> list[tuple[str, str]]:
    """Source and destination of edges written with an arrow."""
    found = []
    for edge in edges:
        source, arrow, destination = (side.strip() for side in str(edge).partition("->"))
        if not arrow or not source or not destination:
            raise ValueError(f"{edge!r} is no edge; write SOURCE->DESTINATION")
        found.append((source, destination))
    return found


def _of_edges(edges: Iterable[tuple[str, str]], pattern: re.Pattern[str]) -> Parts:
    """What edges lead to, and the values of the heads they lead from."""
    names = []
    for source, destination in edges:
        names.append(destination)
        head = pattern.fullmatch(source)
        values = head is not None and head[1] is not None
        names.append(_value_of(source) if values else source)
    return _of_nodes(names, pattern)


def _value_of(head: str) -> str:
    """The name of a head's values, in the spelling of its name."""
    if head.startswith("a"):
        return f"{head}<v>"
    return f"{head}.V" if head.startswith("A") else f"{head}.v"


def _of_nodes(names: Iterable[str], pattern: re.Pattern[str]) -> Parts:
    heads, mlps = set(), set()
    for name in names:
        if name in ENDS:
            continue
        if not (found := pattern.fullmatch(name)):
            raise ValueError(f"{name!r} names no head or MLP")
        if found[4] is not None:
            mlps.add(int(found[4]))
        else:
            letter = f".{found[3].lower()}" if found[3] else ""
            heads.add(f"{int(found[1])}.{int(found[2])}{letter}")
    return Parts(heads=frozenset(heads), mlps=frozenset(mlps))
