"""The short test: is the circuit sufficient and necessary, and would any of its size do as well?

    sufficient  the circuit alone, everything outside at its pretraining mean, keeps the loss
    necessary   the full model without the circuit's nodes loses it
    control     both again for random circuits with as many nodes at every site, none of them its
                own: a control that shares nodes with the circuit is no control

Measured on test prompts, which nothing was chosen on. The thresholds are fixed here, in advance:

    sufficient: the whole 95 % interval of the loss lies at or below the target, and the circuit
                loses less than every random circuit
    necessary:  the whole interval of the loss without the circuit lies at or above half of chance
                (ln 2 / 2), and the model loses more than without any random circuit

More and less than a random circuit: the whole interval of the difference, over pairs, lies above
zero. An interval that straddles its threshold leaves a test unresolved, as in the suite. Where no
node is kept there is no circuit, whatever the loss: what answers has no node.

Paper section 2.2 and Fig. 32.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from lacewing.ablation.editor import cut_model
from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_loss
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes
from lacewing.model.layers import sparse_products
from lacewing.model.store import Model, what_is_left
from lacewing.progress import progress
from lacewing.statistics import bootstrap, pair_means
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import HALF_CHANCE
from lacewing.verification.finding import outcome, reaches, verdict
from lacewing.verification.random_circuits import (
    CONTROL_PAIRS,
    RANDOM_CIRCUITS,
    beats,
    margin,
    random_nodes,
)


@dataclass(frozen=True)
class Control:
    """Losses of random circuits of the same size per site, in nats."""

    count: int
    mean: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Test:
    """One verdict with everything behind it."""

    verdict: bool | None
    """None: unresolved."""
    loss: float
    """Mean task loss on test prompts, nats."""
    interval: tuple[float, float]
    """95 % bootstrap interval over pairs."""
    random: Control
    """The same loss for random circuits."""
    threshold: float
    """The loss that had to be reached, set in advance."""
    reason: str
    """The verdict in words."""
    margin: tuple[float, float] | None = None
    """How much better than the nearest random circuit, nats: 95 % interval; none in older files."""

    @classmethod
    def from_json(cls, plain: Mapping[str, Any], *, at_most: bool) -> "Test":
        """A saved test; older versions called the threshold a mark.

        They also passed an interval that only reaches the threshold: such a test is judged again.
        """
        named = {"threshold" if name == "mark" else name: value for name, value in plain.items()}
        (low, high), random = named["interval"], Control(**named["random"])
        named |= {"interval": (low, high), "random": random}
        if named.get("margin"):
            named["margin"] = tuple(named["margin"])
        elif named["verdict"]:
            loss, worst = named["loss"], random.lowest if at_most else random.highest
            sides = [
                reaches(loss, low, high, threshold, at_most=at_most)
                for threshold in (named["threshold"], worst)
            ]
            named["verdict"] = outcome(sides)
        return cls(**named)


@dataclass(frozen=True)
class ShortTest:
    """What the short test measured."""

    task: str
    model_id: str
    pairs: int
    seed: int
    full: float
    """Loss of the full model, nats."""
    full_interval: tuple[float, float]
    sufficient: Test
    necessary: Test

    @property
    def passed(self) -> bool:
        """Whether the circuit is sufficient and necessary."""
        return bool(self.sufficient.verdict and self.necessary.verdict)

    @property
    def verdict(self) -> str:
        """`2 of 2 short tests`, or `1 of 2 short tests; fails: necessary`, or unresolved."""
        tests = ("sufficient", self.sufficient.verdict), ("necessary", self.necessary.verdict)
        passed = sum(result is True for _, result in tests)
        counted = f"{passed} of {len(tests)} short tests"
        return counted if self.passed else f"{counted}; {verdict(tests)}"

    def as_json(self) -> dict[str, Any]:
        """Plain values for a file or a terminal."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "ShortTest":
        """What `as_json` wrote, now or in older versions."""
        known = {name: plain[name] for name in cls.__dataclass_fields__}
        known["full_interval"] = tuple(known["full_interval"])
        known["sufficient"] = Test.from_json(known["sufficient"], at_most=True)
        known["necessary"] = Test.from_json(known["necessary"], at_most=False)
        return cls(**known)


def short_test(
    model: Model,
    circuit: Circuit,
    prompts: Prompts,
    *,
    seed: int = 0,
    random_circuits: int = RANDOM_CIRCUITS,
    quiet: bool = False,
) -> ShortTest:
    """Test a circuit on prompts it was not chosen on.

    Args:
        model: The model the circuit belongs to.
        circuit: The circuit.
        prompts: Test prompts.
        seed: Seeds intervals and random circuits.
        random_circuits: How many controls.
        quiet: Report no progress.

    Returns:
        Losses, intervals, controls and the two verdicts.

    Raises:
        MismatchError: the circuit belongs to another model.
    """
    circuit.check(model)
    kept, removed = alone(model, circuit, prompts), without(model, circuit, prompts)
    random_alone: list[np.ndarray] = []
    random_without: list[np.ndarray] = []
    few = prompts.first(CONTROL_PAIRS)
    with (
        progress(f"verify {circuit.task}", random_circuits, "controls", not quiet) as bar,
        sparse_products(model.network),
    ):
        for index, nodes in enumerate(random_nodes(model, circuit, seed, random_circuits)):
            for found, complement in ((random_alone, False), (random_without, True)):
                found.append(losses_of(model, circuit, few, nodes, complement))
            bar.update(index + 1)
    full = pair_means(ablated_loss(model, prompts, None))
    sufficient = _sufficient(kept, random_alone, circuit.target_loss, seed)
    return ShortTest(
        task=circuit.task,
        model_id=circuit.model_id,
        pairs=len(prompts),
        seed=seed,
        full=float(full.mean()),
        full_interval=bootstrap(full, seed=seed),
        sufficient=sufficient if circuit.n_nodes else _no_circuit(sufficient, model),
        necessary=_necessary(removed, random_without, seed),
    )


@dataclass(frozen=True)
class Reached:
    """Whether a circuit reaches its target on its own test pairs."""

    verdict: bool | None
    """None: the interval straddles the target."""
    interval: tuple[float, float]
    """95 % bootstrap interval of the loss over pairs, nats."""
    pairs: int


def reached(model: Model, circuit: Circuit, prompts: Prompts, *, seed: int = 0) -> Reached:
    """The first half of sufficiency, without random circuits: quick enough for the end of `prune`.

    Raises:
        MismatchError: the circuit belongs to another model.
    """
    circuit.check(model)
    losses = alone(model, circuit, prompts)
    low, high = bootstrap(losses, seed=seed)
    mean = float(losses.mean())
    side = reaches(mean, low, high, circuit.target_loss, at_most=True)
    return Reached(side, (low, high), len(prompts))


def alone(model: Model, circuit: Circuit, prompts: Prompts) -> Float[np.ndarray, " pair"]:
    """The task loss of every pair with everything outside the circuit ablated, in nats."""
    cut = cut_model(model, circuit, circuit.ablation)
    return losses_of(cut, circuit, prompts, circuit.nodes, complement=False)


def without(model: Model, circuit: Circuit, prompts: Prompts) -> Float[np.ndarray, " pair"]:
    """The task loss of every pair with the circuit's nodes ablated, in nats."""
    return losses_of(model, circuit, prompts, circuit.nodes, complement=True)


def three_losses(
    model: Model, circuit: Circuit, prompts: Prompts
) -> tuple[Float[np.ndarray, " pair"], Float[np.ndarray, " pair"], Float[np.ndarray, " pair"]]:
    """The loss of every pair, in nats: of the whole model, of the circuit alone, and without it."""
    full = pair_means(ablated_loss(model, prompts, None))
    return full, alone(model, circuit, prompts), without(model, circuit, prompts)


def losses_of(
    model: Model, circuit: Circuit, prompts: Prompts, nodes: Nodes, complement: bool
) -> Float[np.ndarray, " pair"]:
    """The task loss of every pair with nodes alone, or without them, as a circuit is asked.

    Args:
        model: The circuit's model.
        circuit: Says how the others are ablated, and what nodes alone are calibrated by.
        prompts: Pairs.
        nodes: The circuit's, or those of a random one.
        complement: Whether they are ablated instead of the others.
    """
    masks = masks_of(model.network, nodes, complement)
    calibration = None if complement else circuit.calibration
    return pair_means(ablated_loss(model, prompts, masks, circuit.ablation, calibration))


def _test(
    pairs: np.ndarray, random: list[np.ndarray], threshold: float, seed: int, *, at_most: bool
) -> Test:
    """A test without its reason, judged as the suite judges."""
    loss, (low, high) = float(pairs.mean()), bootstrap(pairs, seed=seed)
    means = [float(losses.mean()) for losses in random]
    better = margin(pairs[: len(random[0])], random, less=at_most, seed=seed)
    side = reaches(loss, low, high, threshold, at_most=at_most)
    return Test(
        verdict=side and beats(better),
        loss=loss,
        interval=(low, high),
        random=Control(len(means), float(np.mean(means)), min(means), max(means)),
        threshold=threshold,
        reason=f"{loss:.3f} nats [{low:.3f}, {high:.3f}]",
        margin=better,
    )


def _sufficient(pairs: np.ndarray, random: list[np.ndarray], target: float, seed: int) -> Test:
    test = _test(pairs, random, target, seed, at_most=True)
    reason = (
        f"alone it keeps {test.reason} against the target {target:g}; the best of "
        f"{test.random.count} random circuits has {test.random.lowest:.3f}"
    )
    return replace(test, reason=reason)


def _necessary(pairs: np.ndarray, random: list[np.ndarray], seed: int) -> Test:
    test = _test(pairs, random, HALF_CHANCE, seed, at_most=False)
    reason = (
        f"without it the loss is {test.reason} against {HALF_CHANCE:.3f}, half of chance; the "
        f"worst of {test.random.count} random removals gives {test.random.highest:.3f}"
    )
    return replace(test, reason=reason)


def _no_circuit(test: Test, model: Model) -> Test:
    """The sufficiency of no node at all."""
    left = f"{what_is_left(model)} alone gives {test.loss:.3f} nats"
    reason = f"no circuit: no node is kept, and {left}"
    return replace(test, verdict=False, reason=reason)
