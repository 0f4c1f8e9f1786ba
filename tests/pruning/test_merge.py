"""Circuits as sets of components, and circuits merged and pruned again."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from test_elimination import generous

from lacewing.circuit.circuit import Circuit
from lacewing.circuit.components import Component, components_of
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets
from lacewing.model.store import Model
from lacewing.pruning import merge
from lacewing.pruning.elimination import eliminated, minimise
from lacewing.pruning.merge import merged
from lacewing.pruning.reachability import circuit_of_components


@pytest.fixture(scope="module")
def small(model: Model, sets: PromptSets) -> Circuit:
    """The planted circuit."""
    return minimise(model, generous(model, extra=0), sets.validation, quiet=True)


def with_some(
    model: Model, small: Circuit, seed: int, share: float, config: PruneConfig | None = None
) -> Circuit:
    """A circuit and a share of the other components around it."""
    more = sorted(components_of(generous(model)) - components_of(small), key=str)
    dice = np.random.default_rng(seed)
    drawn: Sequence[Component] = [component for component in more if dice.random() < share]
    found = circuit_of_components(model.network, small, [*components_of(small), *drawn])
    return dataclasses.replace(found, config=config or small.config)


def test_a_circuit_is_its_components(model: Model, small: Circuit) -> None:
    """There and back is the same; what does not reach the answer is left out."""
    components = components_of(small)
    assert len(components) == small.n_nodes + small.n_edges
    assert small == circuit_of_components(model.network, small, components)
    key, channels = next((key, c) for key, c in small.nodes.items() if key.endswith("mlp_neuron"))
    outward = {p for p in components if "mlp_neuron-mlp_out" in p[0] and p[1] == channels[0]}
    lesser = circuit_of_components(model.network, small, components - outward)
    assert channels[0] not in lesser.nodes[key]
    assert not any(
        p[0].endswith("mlp_neuron") and p[2:] == (channels[0],) for p in components_of(lesser)
    )


def test_elimination_is_what_minimising_leaves(model: Model, sets: PromptSets) -> None:
    """Without the certificate, the same circuit; losses are kept."""
    circuit = dataclasses.replace(generous(model, extra=2), losses={"full": 1.0})
    small = eliminated(model, circuit, sets.validation)
    assert small
    assert components_of(minimise(model, circuit, sets.validation, quiet=True)) == components_of(
        small
    )
    assert circuit.losses == small.losses


def test_what_only_one_of_two_needs_goes(
    model: Model, sets: PromptSets, small: Circuit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of circuits around the planted one it is what is left."""
    monkeypatch.setattr(merge, "FRUITLESS", 1)
    around = [with_some(model, small, seed, 0.8) for seed in range(2)]
    assert all(one.n_edges > small.n_edges for one in around)
    words: list[str] = []
    assert small == merged(model, around, sets.validation, words.append)
    least = min(one.n_edges for one in around)
    assert f"{least} edges at least" in words[0]
    assert f"{small.n_edges} edges at least" in words[-1]


def test_a_merge_that_misses_the_target_is_none(
    model: Model, sets: PromptSets, small: Circuit
) -> None:
    """What no circuit reaches no merge does; the smallest of those given is returned."""
    around = [
        with_some(model, small, seed, 0.8, dataclasses.replace(small.config, target_loss=1e-6))
        for seed in range(3)
    ]
    assert eliminated(model, around[0], sets.validation) is None
    assert min(around, key=lambda one: one.n_edges) == merged(model, around, sets.validation)


def test_alone_it_stays(model: Model, sets: PromptSets) -> None:
    """One circuit has nothing to be merged with."""
    circuit = generous(model)
    assert circuit == merged(model, [circuit], sets.validation)
