"""Two versions of a model: which mechanisms of the first does the second still have?

A fine-tuned, quantised or tampered copy may answer as before and do so in another way. For every
circuit of the first model the short test asks the same of the second: does the circuit alone
still keep the task's loss (sufficient), and is the task lost without it (necessary)? Necessity has
to be asked too, since a second way beside the first leaves sufficiency as it was.

    survived     sufficient and necessary in the second model, by the whole intervals
    moved        the second model does the task, and the circuit is no longer enough, or no longer
                 needed; what does it now is pruned anew
    gone         the second model does not do the task any more
    as before    the circuit did not pass in the first model either, and neither the model's loss,
                 nor that of the circuit alone, nor that without it has moved by MOVED
    unresolved   an interval straddles its limit
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from lacewing.circuit.circuit import Circuit
from lacewing.errors import DataError, MismatchError
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.pruning.prune import prune
from lacewing.statistics import bootstrap
from lacewing.sweep.emergence import by_chance
from lacewing.tasks.batch import Prompts
from lacewing.verification.random_circuits import RANDOM_CIRCUITS
from lacewing.verification.short import ShortTest, short_test, three_losses
from lacewing.verification.verify import test_prompts
from lacewing.watch.probe import MOVED

State = Literal["survived", "moved", "gone", "as before", "unresolved"]
HOLDS = ("survived", "as before")
"""States in which nothing was lost."""
LARGEST = 3
"""Matrices named that changed most."""


@dataclass(frozen=True)
class Anew:
    """What does the task in the second model, where the first one's circuit does not."""

    nodes: int
    edges: int
    shared: int
    """Nodes that the first model's circuit has too."""
    by_chance: float
    """That two random circuits of these sizes would share in the mean."""
    loss: float
    """Alone, on its test pairs, nats."""


@dataclass(frozen=True)
class Mechanism:
    """One circuit in both models."""

    task: str
    nodes: int
    state: State
    reason: str
    before: ShortTest
    after: ShortTest
    anew: Anew | None = None
    no_circuit: str | None = None
    """Why pruning anew found none."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"before": self.before.as_json(), "after": self.after.as_json()}


@dataclass(frozen=True)
class Change:
    """How far a matrix or vector of the second model is from the first one's."""

    name: str
    relative: float
    """Norm of the difference over the norm in the first model."""


@dataclass(frozen=True)
class Comparison:
    """Two versions of a model."""

    before: str
    after: str
    mechanisms: tuple[Mechanism, ...]
    changed: int
    """Tensors of weights that differ, of `tensors`."""
    tensors: int
    largest: tuple[Change, ...]
    """Those that changed most, the most first."""

    @property
    def survived(self) -> bool:
        """Whether every mechanism did, or is as it was before."""
        return all(found.state in HOLDS for found in self.mechanisms)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        plain = asdict(self) | {"survived": self.survived}
        return plain | {"mechanisms": [found.as_json() for found in self.mechanisms]}


def compare_versions(
    before: Model,
    after: Model,
    circuits: Sequence[Circuit],
    *,
    anew: bool = True,
    corpus: str | None = None,
    task: str | None = None,
    seed: int = 0,
    random_circuits: int = RANDOM_CIRCUITS,
    quiet: bool = False,
) -> Comparison:
    """Ask which mechanisms of one model another version of it still has.

    Args:
        before: The model that the circuits were found in.
        after: Another version of it: same shape, same tokenizer, other weights.
        circuits: The mechanisms, with their test pairs.
        anew: Whether to prune the second model where a mechanism moved.
        corpus: Where prompts for that come from; by default the second model's corpus.
        task: The circuits' task, where it is a file of pairs.
        seed: Seeds intervals and random circuits.
        random_circuits: How many controls each test has.
        quiet: Report no progress.

    Returns:
        Every mechanism's state with both short tests, and which weights changed most.

    Raises:
        MismatchError: a circuit is of another model than `before`, or the models differ in shape or
            tokenizer.
        DataError: a circuit has no test pairs.

    Example:
        >>> model, circuit = load("builtin:taught-tiny"), Circuit.load("runs/indent")
        >>> same = compare_versions(model, model, [circuit], random_circuits=4, quiet=True)
        >>> same.changed
        0
    """
    check_versions(before, after)
    found = []
    for circuit in circuits:
        circuit.check(before)
        prompts = test_prompts(before, circuit)
        there = replace(circuit, model_id=after.id, model_source=after.source)
        first, second = (
            short_test(
                model, same, prompts, seed=seed, random_circuits=random_circuits, quiet=quiet
            )
            for model, same in ((before, circuit), (after, there))
        )
        state, reason = _state(circuit, first, second)
        if state == "unresolved" and not first.passed:
            state, reason = _beside((before, after), (circuit, there), prompts, first.verdict, seed)
        mechanism = Mechanism(circuit.task, circuit.n_nodes, state, reason, first, second)
        if state == "moved" and anew:
            mechanism = _pruned(mechanism, after, there, task or circuit.task, corpus, quiet)
        found.append(mechanism)
    changes = _changes(before, after)
    different = [change for change in changes if change.relative > 0]
    different.sort(key=lambda change: -change.relative)
    largest = tuple(different[:LARGEST])
    return Comparison(
        before.source, after.source, tuple(found), len(different), len(changes), largest
    )


def check_versions(before: Model, after: Model) -> None:
    """Refuse two models of which the one is no version of the other.

    Raises:
        MismatchError: they differ in shape or tokenizer.
    """
    if site_widths(before.network.config) != site_widths(after.network.config):
        raise MismatchError(
            f"{after.source} has other sites than {before.source}: no node of the one is a node of "
            "the other; compare versions of one model"
        )
    if before.tokenizer.id != after.tokenizer.id:
        raise MismatchError(
            f"{after.source} has tokenizer {after.tokenizer.id}, {before.source} has "
            f"{before.tokenizer.id}: the same prompts are other tokens there"
        )


def _state(circuit: Circuit, first: ShortTest, second: ShortTest) -> tuple[State, str]:
    """What became of a circuit, and why."""
    target = circuit.target_loss
    if not first.passed:
        return "unresolved", f"it did not pass before: {first.verdict}"
    if second.full_interval[0] > target:
        low, high = second.full_interval
        told = f"{second.full:.3f} nats [{low:.3f}, {high:.3f}] against the target {target:g}"
        return "gone", f"the whole model has {told}"
    if second.full_interval[1] > target:
        return "unresolved", f"whether the whole model still does the task: {second.full:.3f} nats"
    for name, test in (("enough", second.sufficient), ("needed", second.necessary)):
        if test.verdict is False:
            return "moved", f"it is no longer {name}: {test.reason}"
    for test in (second.sufficient, second.necessary):
        if test.verdict is None:
            return "unresolved", test.reason
    return "survived", second.sufficient.reason


def _beside(
    models: tuple[Model, Model],
    circuits: tuple[Circuit, Circuit],
    prompts: Prompts,
    verdict: str,
    seed: int,
) -> tuple[State, str]:
    """What became of a circuit that did not pass before: how far its three losses moved."""
    names = ("the model", "the circuit alone", "the model without it")
    was, now = (
        dict(zip(names, three_losses(model, circuit, prompts), strict=True))
        for model, circuit in zip(models, circuits, strict=True)
    )
    moved = {name: bootstrap(now[name] - was[name], seed=seed) for name in names}
    told = "; ".join(
        f"{name} by {np.mean(now[name] - was[name]):+.3f} nats [{low:+.3f}, {high:+.3f}]"
        for name, (low, high) in moved.items()
    )
    told = f"it did not pass before ({verdict}); since then moved: {told}"
    if moved["the circuit alone"][0] > MOVED or moved["the model without it"][1] < -MOVED:
        return "moved", told
    within = all(low > -MOVED and high < MOVED for low, high in moved.values())
    return ("as before" if within else "unresolved"), told


def _pruned(
    mechanism: Mechanism,
    after: Model,
    there: Circuit,
    task: str,
    corpus: str | None,
    quiet: bool,
) -> Mechanism:
    """The same with what does the task now."""
    try:
        now = prune(after, task, there.config, corpus=corpus, quiet=quiet)
    except DataError as error:
        return replace(mechanism, no_circuit=str(error))
    shared = (there & now).n_nodes
    chance = by_chance(there, now, site_widths(after.network.config))
    return replace(
        mechanism, anew=Anew(now.n_nodes, now.n_edges, shared, chance, now.losses["circuit"])
    )


def _changes(before: Model, after: Model) -> list[Change]:
    """How far every tensor of weights moved; one that the other lacks has moved by all of it."""
    old, new = (_weights(model) for model in (before, after))
    return [Change(name, _moved(name, old, new)) for name in sorted(old.keys() | new.keys())]


def _weights(model: Model) -> dict[str, torch.Tensor]:
    """Every tensor of numbers that a model computes with."""
    state = model.network.state_dict()
    return {name: value for name, value in state.items() if value.is_floating_point()}


def _moved(name: str, old: Mapping[str, torch.Tensor], new: Mapping[str, torch.Tensor]) -> float:
    if name not in old or name not in new or old[name].shape != new[name].shape:
        return 1.0
    was, now = old[name].detach().float(), new[name].detach().float()
    difference = float((now - was).norm())
    return (
        difference / max(float(was.norm()), torch.finfo(torch.float32).tiny) if difference else 0.0
    )
