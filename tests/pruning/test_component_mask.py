"""The mask of nodes and edges against the circuit editor, and what is found with it."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

import micro
from lacewing.ablation.editor import CircuitEditor
from lacewing.ablation.masks import masks_of
from lacewing.circuit.components import ends
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.edges import edges_between
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import ConfigError
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.pruning import component_mask
from lacewing.pruning.component_mask import ComponentMask
from lacewing.pruning.prune import prune
from lacewing.pruning.reachability import reachable
from lacewing.tasks.scoring import two_answer_loss
from lacewing.tasks.task import Task

TASK = Task(name="first_letter", generate=lambda file, random: ())


def whole(model: Model) -> dict[str, np.ndarray]:
    """All nodes but the last one of each site, which are constants then."""
    widths = site_widths(model.network.config)
    return {key: np.arange(width - 1, dtype=np.int32) for key, width in widths.items()}


def mask_around(model: Model) -> ComponentMask:
    masks = masks_of(model.network, whole(model))
    return ComponentMask(model, masks, 1.0, 0.1, 0.01, torch.Generator().manual_seed(0))


def test_the_same_as_the_circuit_editor(busy: Model, sets: PromptSets) -> None:
    """With every seventh component off: logits as of the network whose weights were set to zero."""
    from test_elimination import generous

    mask, dice = mask_around(busy), np.random.default_rng(1)
    components = [*mask.nodes, *mask.edges]
    off = dice.choice(len(components), len(components) // 7, replace=False)
    with torch.no_grad():
        mask.tau[off] = -0.2
    nodes = whole(busy)
    edges = edges_between(busy.network, nodes)
    circuit = dataclasses.replace(generous(busy), nodes=nodes, edges=edges)
    editor = CircuitEditor(busy.network, circuit, busy.means)
    untouched = editor.logits(sets.test)
    for place in off:
        editor.switch(components[place], on=False)
    expected = editor.logits(sets.test)
    found = mask.logits(sets.test.tokens, sets.test.last)
    torch.testing.assert_close(expected, found, rtol=1e-4, atol=1e-5)
    assert (untouched - expected).abs().max() > 0.1
    on = set(editor.edges_on())
    assert len(on) + 0.5 * len(editor.nodes_on()) == pytest.approx(float(mask.cost(0.5).detach()))


def test_gradients_are_those_of_the_gates(
    busy: Model, sets: PromptSets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With gates in place of steps, and nothing that jumps: finite differences of single parts."""
    monkeypatch.setattr(component_mask, "step", lambda tau, temperature: tau)
    network = copy.deepcopy(busy.network)
    for component in (network, *network.blocks):
        component.config = dataclasses.replace(network.config, abs_topk=None)
    mask = mask_around(dataclasses.replace(busy, network=network))
    with torch.no_grad():
        mask.tau.fill_(1)

    def loss() -> torch.Tensor:
        return two_answer_loss(mask.logits(sets.test.tokens, sets.test.last), sets.test).mean()

    loss().backward()  # type: ignore[no-untyped-call]
    slopes = mask.tau.grad
    assert slopes is not None
    nodes, step = len(mask.nodes), 1e-3
    both = slopes[:nodes].abs().topk(3).indices, nodes + slopes[nodes:].abs().topk(3).indices
    for place in torch.cat(both):
        sides = []
        with torch.no_grad():
            for at in (1 + step, 1 - step, 1):
                mask.tau[place] = at
                sides.append(float(loss()))
        slope = (sides[0] - sides[1]) / (2 * step)
        assert slope == pytest.approx(float(slopes[place]), rel=0.1, abs=1e-5)


def test_paths_of_some_edges_only(model: Model) -> None:
    """Without the edge into a channel, nothing that led there is connected."""
    nodes = micro.nodes_of(micro.PLANTED, model.network.config)
    masks = masks_of(model.network, nodes)
    edges = {
        family: [tuple(e) for e in p.tolist()]
        for family, p in edges_between(model.network, nodes).items()
    }
    alive = reachable(model.network, masks, edges)
    assert all(bool((alive[key] == masks[key]).all()) for key in masks)
    cut = reachable(model.network, masks, edges | {"0.mlp_neuron-mlp_out": []})
    assert not any(bool(cut[f"0.{site}"].any()) for site in ("mlp_in", "mlp_neuron"))
    assert bool(cut["0.attn_q"].any())


def test_edges_are_pruned_to_the_planted_ones(model: Model, sets: PromptSets) -> None:
    """A circuit whose edges all have ends in it, at the target, no larger, the same twice."""
    config = PruneConfig(
        target_loss=micro.TARGET, prompts=1024, batch=16, calibrate=False, edges=True
    )
    circuit, again = (prune(model, TASK, config, sets=sets, quiet=True) for _ in range(2))
    assert circuit == again
    found = {f: sorted(map(tuple, e.tolist())) for f, e in circuit.edges.items()}
    assert {family: sorted(pairs) for family, pairs in micro.EDGES.items()} == found
    assert circuit.losses["validation"] <= micro.TARGET
    assert circuit.nodes_only.edges >= circuit.n_edges
    kept = {(key, int(c)) for key, channels in circuit.nodes.items() for c in channels}
    for family, pairs in circuit.edges.items():
        assert all({*ends((family, int(s), int(d)))} <= kept for s, d in pairs)


def test_edges_under_constraints_are_refused() -> None:
    """One line that says what to take instead."""
    with pytest.raises(ConfigError, match="take --edges or --robust, not both"):
        PruneConfig(edges=True, robust=True)
