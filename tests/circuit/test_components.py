"""The parts of a circuit by name, and what a certificate says of them."""

import dataclasses
import json
from pathlib import Path

import pytest

import micro
from lacewing import artifacts
from lacewing.circuit.calibration import Calibration
from lacewing.circuit.certificate import Certificate
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.components import component_name, components_of, edge_list, ends
from lacewing.circuit.facts import SavedCertificate
from lacewing.model.store import Model


@pytest.fixture(scope="module")
def planted(model: Model) -> Circuit:
    """The circuit that was put into the model."""
    return micro.make(model, micro.PLANTED)


def certificate(loss: float, without: float, edge: float = 0.5) -> Certificate:
    """Of two nodes and an edge, at a target of 0.15."""
    nodes = {"0.attn_v.0": 0.9, "0.attn_out.4": without}
    return Certificate(0.15, loss, micro.PAIRS, nodes, {"0.attn_v-attn_out.0-4": edge})


def test_every_part_once(planted: Circuit) -> None:
    """As many as are counted, each node and each edge by itself, named differently."""
    parts = components_of(planted)
    assert planted.n_nodes + planted.n_edges == len(parts)
    assert {(key, c) for key, kept in micro.PLANTED.items() for c in kept} <= parts
    assert {(f"{f}", s, d) for f, pairs in micro.EDGES.items() for s, d in pairs} <= parts
    names = {component_name(part) for part in parts}
    assert len(parts) == len(names)
    assert set(planted.node_names()) <= names


def test_an_edge_has_its_nodes(planted: Circuit) -> None:
    """From the source's channel of one site to the destination's of another, both kept."""
    assert (("0.attn_v", 7), ("0.attn_out", 9)) == ends(("0.attn_v-attn_out", 7, 9))
    assert (("3.mlp_in", 1), ("3.mlp_neuron", 2)) == ends(("3.mlp_in-mlp_neuron", 1, 2))
    parts = components_of(planted)
    for edge in edge_list(planted.edges):
        assert set(ends(edge)) <= parts


def test_minimal_is_needed_everywhere() -> None:
    """Within the target, and above it without any single part; at the target is not above."""
    assert certificate(0.1, 0.2).minimal
    assert certificate(0.15, 0.2).minimal
    assert not certificate(0.151, 0.2).minimal
    assert not certificate(0.1, 0.15).minimal
    assert not certificate(0.1, 0.2, edge=0.12).minimal
    assert Certificate(0.15, 0.1, micro.PAIRS, {}, {}).minimal


def test_a_certificate_is_read_as_it_was_written() -> None:
    """Through JSON, with the slack of every part: its loss less the target."""
    proof = certificate(0.1, 0.2)
    plain = json.loads(json.dumps(proof.as_json()))
    saved = artifacts.typed(plain, SavedCertificate, "certificate.json")
    assert proof == Certificate.of(saved, micro.PAIRS)
    assert {"loss_without": 0.9, "slack": pytest.approx(0.75)} == plain["nodes"]["0.attn_v.0"]
    assert (2, True) == (plain["pairs"], plain["minimal"])


def test_a_circuit_keeps_its_certificate_and_calibration(planted: Circuit, tmp_path: Path) -> None:
    """Saved and loaded, with what it was measured on; set operations drop both."""
    calibration = Calibration(2.5, {80: 0.5, 81: -0.25})
    whole = dataclasses.replace(planted, calibration=calibration, certificate=certificate(0.1, 0.2))
    whole.save(tmp_path / "circuit")
    loaded = Circuit.load(tmp_path / "circuit")
    assert (calibration, whole.certificate) == (loaded.calibration, loaded.certificate)
    assert loaded.certificate is not None
    assert micro.PAIRS == loaded.certificate.pairs
    both = whole & planted
    assert (None, None) == (both.calibration, both.certificate)


def test_what_is_left_of_a_difference_has_both_ends(model: Model, planted: Circuit) -> None:
    """Less a path, no edge leads to or from a node that is gone."""
    left = planted - micro.make(model, micro.PATH_A)
    kept = components_of(left)
    edges = edge_list(left.edges)
    assert edges
    for edge in edges:
        assert set(ends(edge)) <= kept
