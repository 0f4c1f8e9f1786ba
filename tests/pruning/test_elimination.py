"""Switching edges off, ranking parts, and circuits from which nothing can go."""

import dataclasses

import numpy as np
import pytest
import torch

import micro
from lacewing.ablation.attribution import first_order
from lacewing.ablation.editor import CircuitEditor, cut_network, has_cut_edges
from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_loss
from lacewing.circuit.calibration import Calibration
from lacewing.circuit.circuit import Circuit, circuit_of
from lacewing.circuit.components import component_name, ends
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import DataError
from lacewing.model.hooks import edit
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.model.weights import writers
from lacewing.pruning.elimination import certify, measured, minimise


def planted(key: str, width: int) -> list[int]:
    """The planted channels that a model of this width has."""
    return [channel for channel in micro.PLANTED.get(key, []) if channel < width]


def generous(model: Model, target: float = micro.TARGET, extra: int = 6) -> Circuit:
    """A circuit of the planted nodes, some more at every site, and all edges between them."""
    nodes = {
        key: np.unique([*planted(key, width), *range(max(0, width - extra), width)]).astype(
            np.int32
        )
        for key, width in site_widths(model.network.config).items()
    }
    return circuit_of(
        model.network,
        nodes,
        model_id=model.id,
        model_source=model.source,
        task="first_letter",
        answers=(1, 2),
        ablation="mean",
        config=PruneConfig(target_loss=target),
    )


def test_what_is_left_is_exactly_the_planted_circuit(model: Model, sets: PromptSets) -> None:
    """From three times as many nodes down to those of the hand-made model, with a certificate."""
    small = minimise(model, generous(model), sets.validation, quiet=True)
    proof = small.certificate
    assert proof
    assert micro.PLANTED == {key: kept.tolist() for key, kept in small.nodes.items() if len(kept)}
    edges = {f: sorted(map(tuple, e.tolist())) for f, e in small.edges.items()}
    assert {family: sorted(pairs) for family, pairs in micro.EDGES.items()} == edges
    assert proof.minimal
    assert proof.loss <= micro.TARGET < min([*proof.nodes.values(), *proof.edges.values()])
    assert small.n_nodes == len(proof.nodes)
    assert small.n_edges == len(proof.edges)


def test_the_same_twice(model: Model, sets: PromptSets) -> None:
    """No dice are thrown."""
    first, second = (
        minimise(model, generous(model), sets.validation, quiet=True) for _ in range(2)
    )
    assert first == second
    assert first.certificate == second.certificate


def test_a_certificate_can_be_refused(model: Model, sets: PromptSets) -> None:
    """A circuit with needless parts is not minimal, nor is one that misses its target."""
    small = minimise(model, generous(model), sets.validation, quiet=True)
    nodes = dict(small.nodes) | {"0.attn_in": np.array([1, 2, 3, 5, 20], dtype=np.int32)}
    larger = dataclasses.replace(small, nodes=nodes)
    editor = CircuitEditor(model.network, larger, model.means)
    assert not certify(editor, sets.validation).minimal
    loss = CircuitEditor(model.network, small, model.means).loss(sets.validation)
    hard = dataclasses.replace(small, config=PruneConfig(target_loss=0.5 * loss))
    assert not certify(CircuitEditor(model.network, hard, model.means), sets.validation).minimal


def test_a_circuit_above_its_target(model: Model, sets: PromptSets) -> None:
    """Nothing can be removed from it, and the message says why."""
    with pytest.raises(DataError, match=r"above its target 1e-06: nothing can be removed"):
        minimise(model, generous(model, 1e-6), sets.validation, quiet=True)


def test_a_cut_edge_carries_the_fill(busy: Model) -> None:
    """The destination gets weight x fill in place of weight x value, before AbsTopK."""
    circuit = generous(busy, extra=999)
    family = next(f for f, pairs in circuit.edges.items() if "mlp_neuron" in f and len(pairs))
    edge = (family, *map(int, circuit.edges[family][0]))
    (start, source), (key, destination) = ends(edge)
    kept = {f: pairs[1:] if f == family else pairs for f, pairs in circuit.edges.items()}
    cut = dataclasses.replace(circuit, edges=kept)
    assert has_cut_edges(busy.network, cut)
    assert not has_cut_edges(busy.network, circuit)
    layer, site = key.split(".")
    before = dict(writers(busy.network.blocks[int(layer)]))[site]
    after = dict(writers(cut_network(busy.network, cut, busy.means).blocks[int(layer)]))[site]
    x = torch.randn(before[0].shape[1])
    filled = x.clone()
    filled[source] = busy.means[start][source]
    expected = (before[0] @ x + before[1]).clone()
    expected[destination] = before[0][destination] @ filled + before[1][destination]
    torch.testing.assert_close(expected, after[0] @ x + after[1])


def test_switching_off_and_on_again(busy: Model, sets: PromptSets) -> None:
    """The loss is what it was, and in between that of the ablated model."""
    editor = CircuitEditor(busy.network, generous(busy, extra=999), busy.means)
    before = editor.losses(sets.test)
    torch.testing.assert_close(ablated_loss(busy, sets.test, None), before, rtol=1e-4, atol=1e-5)
    node, edge = editor.nodes_on()[3], editor.edges_on()[1]
    masks = masks_of(busy.network, generous(busy, extra=999).nodes)
    masks[node[0]][node[1]] = False
    expected = float(ablated_loss(busy, sets.test, masks).mean())
    assert expected == pytest.approx(editor.loss(sets.test, [node]), rel=1e-4)
    editor.loss(sets.test, [edge, node])
    torch.testing.assert_close(before, editor.losses(sets.test), rtol=1e-5, atol=1e-6)
    editor.switch(edge, on=False)
    assert edge not in editor.edges_on()
    editor.switch(edge, on=True)
    assert edge in editor.edges_on()


def test_an_edge_ends_with_its_nodes(busy: Model) -> None:
    """Edges of a node that is off are off, and counted no more."""
    editor = CircuitEditor(busy.network, generous(busy, extra=999), busy.means)
    edge = editor.edges_on()[0]
    editor.switch(ends(edge)[0], on=False)
    assert edge not in editor.edges_on()
    assert "0.attn_in-attn_q.3-7" == component_name(("0.attn_in-attn_q", 3, 7))
    assert "1.mlp_out.5" == component_name(("1.mlp_out", 5))


def test_first_order_attribution_is_the_slope(busy: Model, sets: PromptSets) -> None:
    """Against finite differences of the gate between a node's value and its fill."""
    editor = CircuitEditor(busy.network, generous(busy, extra=999), busy.means)
    found = first_order(editor, sets.test)
    assert set(found) == {*editor.nodes_on(), *editor.edges_on()}
    step = 1e-3  # so small that no other entry enters an AbsTopK
    biggest = sorted(editor.nodes_on(), key=lambda node: -abs(found[node]))[:3]
    for key, channel in biggest:
        losses = []
        for share in (1 + step, 1 - step):

            def hook(x: torch.Tensor, share: float = share) -> torch.Tensor:
                mixed = x.clone()
                ablation_value = busy.means[key][channel]  # noqa: B023
                mixed[..., channel] = share * x[..., channel] + (1 - share) * ablation_value  # noqa: B023
                return mixed

            with edit(busy.network, {key: hook}):
                losses.append(float(ablated_loss(busy, sets.test, None).mean()))
        slope = (losses[0] - losses[1]) / (2 * step)
        assert -slope == pytest.approx(found[(key, channel)], rel=0.1, abs=1e-5)


def test_a_calibration_is_fitted_where_the_circuit_was_chosen(
    model: Model, sets: PromptSets
) -> None:
    """Other test prompts change the test loss alone; other validation prompts the calibration."""
    circuit = dataclasses.replace(generous(model), calibration=Calibration(1.0, {}))
    found = measured(model, circuit, sets)

    def turned(name: str) -> Circuit:
        prompts = getattr(sets, name)
        exchanged = dataclasses.replace(prompts, answer=prompts.other, other=prompts.answer)
        return measured(model, circuit, dataclasses.replace(sets, **{name: exchanged}))

    other_test, other_validation = turned("test"), turned("validation")
    assert found.calibration == other_test.calibration != other_validation.calibration
    assert found.losses["validation"] == other_test.losses["validation"]
    assert other_test.losses["circuit"] > 1 > found.losses["circuit"]
