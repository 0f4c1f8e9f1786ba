"""Circuits of other tools: what each format's parts become, and that a random one fails."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lacewing.circuit.parts import INSIDE, Parts, nodes_of_parts, random_parts
from lacewing.errors import ArtifactError, MismatchError
from lacewing.interop.formats import read_parts
from lacewing.model.config import ModelConfig
from lacewing.model.huggingface.network import OpenShape
from lacewing.model.sites import site_widths

HERE = Path(__file__).parent
CONFIG = ModelConfig(n_layer=3, d_model=32, d_head=8, d_mlp=64, vocab_size=100, context=32)
SHARED = OpenShape(3, 32, 8, 64, n_head=4, n_key_head=2, vocab_size=100, context=32)


def _written(tmp_path: Path, plain: Any) -> Path:
    file = tmp_path / "circuit.json"
    file.write_text(json.dumps(plain), encoding="utf-8")
    return file


def _eap_ig(edges: Sequence[str], layers: int = 3) -> dict[str, Any]:
    """As `Graph.to_json` of EAP-IG writes it."""
    every = {name: {"score": 0.5, "in_graph": True} for name in edges}
    every["input->m0"] = {"score": 0.0, "in_graph": False}
    nodes = {name: {"in_graph": True} for name in ("input", "a0.h1", "m2", "logits")}
    nodes["m1"] = nodes["a2.h0"] = {"in_graph": False}
    cfg = {"n_layers": layers, "n_heads": 4, "parallel_attn_mlp": False, "d_model": 32}
    return {"cfg": cfg, "nodes": nodes, "edges": every}


def _tracer(layers: Sequence[int]) -> dict[str, Any]:
    """As circuit-tracer writes its graphs."""
    nodes = [
        {
            "node_id": f"{layer}_7_3",
            "feature": 7,
            "layer": str(layer),
            "ctx_idx": 3,
            "feature_type": "cross layer transcoder",
            "jsNodeId": f"{layer}_7-0",
        }
        for layer in layers
    ]
    nodes.append({"node_id": "E_5_0", "feature": 0, "layer": "E", "feature_type": "embedding"})
    return {"metadata": {"slug": "a"}, "qParams": {}, "nodes": nodes, "links": []}


@pytest.mark.parametrize(
    ("plain", "name", "heads", "mlps"),
    [
        (
            {"format": "lacewing-parts-1", "heads": ["0.1"], "edges": ["mlp 2 -> logits"]},
            "lacewing",
            {"0.1"},
            {2},
        ),
        (
            {"format": "lacewing-parts-1", "edges": ["0.1->2.3.q", "input->0.1.k"]},
            "lacewing",
            {"0.1.v", "2.3.q", "0.1.k"},
            set(),
        ),
        (
            _eap_ig(["input->a0.h1<v>", "a0.h1->m2", "m2->logits"]),
            "EAP-IG",
            {"0.1.v"},
            {2},
        ),
        (
            # As prune=False leaves it: edges whose ends are out of the graph.
            _eap_ig(["a0.h1->m2", "a0.h1->m1", "m1->logits", "a0.h1->a2.h0<q>"]),
            "EAP-IG",
            {"0.1.v"},
            {2},
        ),
        (_eap_ig([]), "EAP-IG", {"0.1"}, {2}),
        (
            {"edges": ["Resid Start->A0.1.V", "A0.1->MLP 2", "MLP 2->Resid End"]},
            "auto-circuit",
            {"0.1.v"},
            {2},
        ),
        (
            {"edges": {"A0.1->MLP 2": -0.9, "A1.1->MLP 2": 0.1}, "threshold": 0.5},
            "auto-circuit",
            {"0.1.v"},
            {2},
        ),
    ],
)
def test_parts_of_each_format(
    tmp_path: Path, plain: Any, name: str, heads: set[str], mlps: set[int]
) -> None:
    """Edges become their ends: what they lead to, and the values of the heads they lead from."""
    parts, found = read_parts(_written(tmp_path, plain), CONFIG)
    assert (found, parts.heads, parts.mlps) == (name, heads, mlps)


def test_features_stand_in_the_mlps_of_their_layers(tmp_path: Path) -> None:
    """circuit-tracer's graphs name no head: all are kept, as their patterns are taken as given."""
    parts, name = read_parts(_written(tmp_path, _tracer([0, 2, 2])), CONFIG)
    assert name == "circuit-tracer"
    assert parts.mlps == {0, 2}
    assert len(parts.heads) == CONFIG.n_layer * CONFIG.n_head


def test_files_that_the_tools_wrote() -> None:
    """What auto-circuit 1.0.1 calls all edges of a model, and a graph of circuit-tracer 0.5.0.

    The first: `Edge.name` of each of `graph_edges` of a HookedTransformer (transformer-lens 2.16.1)
    of two layers and four heads. The second: the models of `circuit_tracer.frontend`, dumped.
    """
    sizes = OpenShape(2, 64, 16, 256, n_head=4, n_key_head=4, vocab_size=100, context=64)
    parts, name = read_parts(HERE / "auto_circuit_1.0.1.json", sizes)
    assert name == "auto-circuit"
    heads = {f"{layer}.{head}" for layer in range(2) for head in range(4)}
    assert parts.heads == {f"{head}.{letter}" for head in heads for letter in "qkv"}
    assert parts.mlps == {0, 1}
    whole = nodes_of_parts(parts, sizes)
    assert all(len(kept) == site_widths(sizes)[key] for key, kept in whole.items())
    assert {key.partition(".")[2] for key in whole} == set(INSIDE)
    parts, name = read_parts(HERE / "circuit_tracer_0.5.0.json", sizes)
    assert (name, parts.heads, parts.mlps) == ("circuit-tracer", heads, {0, 1})


def test_nodes_of_parts() -> None:
    """A head is its channels, neurons are themselves; reads and writes are no part of the claim."""
    nodes = nodes_of_parts(Parts(frozenset({"1.2"}), neurons=frozenset({"0.7"})), CONFIG)
    assert nodes["1.attn_q"].tolist() == nodes["1.attn_v"].tolist() == list(range(16, 24))
    assert nodes["0.mlp_neuron"].tolist() == [7]
    assert sum(map(len, nodes.values())) == 3 * 8 + 1
    assert {key.partition(".")[2] for key in nodes} == set(INSIDE)
    queries = nodes_of_parts(Parts(frozenset({"1.2.q"})), CONFIG)
    assert len(queries["1.attn_q"]) == 8
    assert not len(queries["1.attn_k"])
    alone = nodes_of_parts(Parts(nodes=frozenset({"2.mlp_in.3"})), CONFIG)
    assert sum(map(len, alone.values())) == 1
    claimed = {f"{layer}.{site}" for layer in range(3) for site in (*INSIDE, "mlp_in")}
    assert alone.keys() == claimed  # who names one channel of a read speaks of all reads like it


@pytest.mark.parametrize("config", [CONFIG, SHARED])
def test_random_parts_are_others_of_the_same_kinds(config: Any) -> None:
    """Others as long as there are others; then the circuit's own; never fewer."""
    parts = Parts(
        frozenset({"1.2", "0.1.v"}),
        frozenset({0}),
        frozenset({"1.3", "1.4"}),
        frozenset({"2.mlp_in.3"}),
    )
    generator = np.random.default_rng(0)
    for _ in range(20):
        drawn = random_parts(parts, config, generator)
        letters = sorted(name.rpartition(".")[2] for name in drawn.heads)
        assert letters == ["k", "q", "v", "v"]
        whose = {name.rpartition(".")[0] for name in drawn.heads}
        assert len(whose) == 2
        shared = config.n_head // config.n_key_head
        assert not {(h[0], int(h[2]) // shared) for h in whose} & {
            ("1", 2 // shared),
            ("0", 1 // shared),
        }
        assert drawn.mlps in ({1}, {2})
        assert len(drawn.neurons) == 2
        assert not drawn.neurons & parts.neurons
        assert not drawn.nodes & parts.nodes
    most = Parts(frozenset(f"0.{head}" for head in range(4)), frozenset(range(3)))
    whole = random_parts(most, config, generator)
    assert whole.mlps == most.mlps
    assert len({name.rpartition(".")[0] for name in whole.heads}) == 4


def test_shared_keys_and_values() -> None:
    """Where two heads share keys and values, either brings those."""
    for head in (2, 3):
        nodes = nodes_of_parts(Parts(frozenset({f"1.{head}"})), SHARED)
        assert nodes["1.attn_q"].tolist() == list(range(8 * head, 8 * head + 8))
        assert nodes["1.attn_k"].tolist() == nodes["1.attn_v"].tolist() == list(range(8, 16))


@pytest.mark.parametrize(
    ("plain", "error", "said"),
    [
        ({"heads": ["0.1"]}, ArtifactError, "no circuit that is known"),
        ([1, 2], ArtifactError, "no circuit that is known"),
        ({"format": "lacewing-parts-1"}, ArtifactError, "an empty circuit"),
        ({"edges": ["A0.1"]}, ArtifactError, "is no edge; write SOURCE->DESTINATION"),
        ({"edges": ["A0.1->X 3"]}, ArtifactError, "names no head or MLP"),
        ({"edges": {"A0.1->MLP 2": 1.0}}, ArtifactError, "threshold"),
        ({"edges": {"A0.1->MLP 2": 10**400}, "threshold": 1}, ArtifactError, "no whole circuit"),
        ({"format": "lacewing-parts-1", "heads": ["9.1"]}, MismatchError, "head 9.1 is no part"),
        ({"format": "lacewing-parts-1", "heads": ["0.7"]}, MismatchError, "head 0.7 is no part"),
        ({"format": "lacewing-parts-1", "heads": ["x"]}, MismatchError, "names no head"),
        ({"format": "lacewing-parts-1", "neurons": ["0.64"]}, MismatchError, "neuron 0.64"),
        (
            _eap_ig([], layers=12),
            MismatchError,
            "of 12 layers of 4 heads .cfg., but this one has 3",
        ),
        ({"format": "lacewing-parts-1", "mlps": [3]}, MismatchError, "MLP 3 is no part"),
    ],
)
def test_bad_files_are_one_line(
    tmp_path: Path, plain: Any, error: type[Exception], said: str
) -> None:
    """Each says what was wrong with it."""
    file = _written(tmp_path, plain)
    with pytest.raises(error, match=said) as raised:
        nodes_of_parts(read_parts(file, CONFIG)[0], CONFIG)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, "1" + "0" * 5000])
def test_depth_and_digits(tmp_path: Path, text: str) -> None:
    """What Python would not come back from is one line."""
    file = tmp_path / "circuit.json"
    file.write_text(text)
    with pytest.raises(ArtifactError, match="is not JSON") as raised:
        read_parts(file, CONFIG)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_far_too_large(tmp_path: Path) -> None:
    """Six gigabytes that hold nothing are not read."""
    file = tmp_path / "circuit.json"
    file.touch()
    os.truncate(file, 6 * 2**30)
    with pytest.raises(ArtifactError, match="bytes, where at most"):
        read_parts(file, CONFIG)


def test_no_json(tmp_path: Path) -> None:
    """A pickle is refused unread."""
    file = tmp_path / "scores.pt"
    file.write_bytes(np.zeros(3).tobytes())
    with pytest.raises(ArtifactError, match="is not JSON"):
        read_parts(file, CONFIG)
