"""One walk for many targets: the circuits that a search for each of them finds."""

from dataclasses import replace

import pytest

import micro
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import DataError
from lacewing.model.store import Model
from lacewing.pruning.prune import prune
from lacewing.pruning.walks import Walks
from lacewing.tasks.task import Task
from micro import prune_config as config

TASK = Task(name="first_letter", generate=lambda file, random: ())
TARGETS = (micro.TARGET, 0.3, 0.04, 0.6, micro.TARGET)


def same(one: Circuit, other: Circuit) -> bool:
    """Nodes, losses and calibration, to the last bit."""
    return (
        one == other
        and (one.losses, one.calibration) == (other.losses, other.calibration)
        and one.config == other.config
    )


def test_the_circuits_are_those_of_single_searches(model: Model, sets: PromptSets) -> None:
    """At every target, in any order, asked twice: what `prune` finds there; one path is walked."""
    walks = Walks(model, TASK, sets, quiet=True)
    sizes = {}
    for target in TARGETS:
        wanted = replace(config(), target_loss=target)
        found = walks.circuit(wanted)
        assert same(found, prune(model, TASK, wanted, sets=sets, quiet=True)), target
        sizes[target] = found.n_nodes
    assert 1 == len(walks.ended)
    assert len(set(sizes.values())) > 1, "all targets gave one circuit, so nothing was compared"


def test_other_settings_walk_anew(model: Model, sets: PromptSets) -> None:
    """Another seed is another path; edges are pruned by a search of their own."""
    walks = Walks(model, TASK, sets, quiet=True)
    for changes in ({"seed": 1}, {"penalty_to": 0.01}, {"edges": True}):
        wanted = replace(config(), **changes)
        assert same(walks.circuit(wanted), prune(model, TASK, wanted, sets=sets, quiet=True))
    assert 2 == len(walks.ended)


def test_a_target_out_of_reach_is_refused_before_anything_is_walked(
    model: Model, sets: PromptSets
) -> None:
    """With the words of `prune`."""
    walks, low = Walks(model, TASK, sets, quiet=True), replace(config(), target_loss=1e-9)
    with pytest.raises(DataError) as single:
        prune(model, TASK, low, sets=sets, quiet=True)
    with pytest.raises(DataError) as shared:
        walks.circuit(low)
    assert str(single.value) == str(shared.value)
    assert not walks.ended
