"""The short test: is the circuit sufficient and necessary, and would any of its size do as well?

    sufficient  the circuit alone, everything outside at its pretraining mean, keeps the loss
    necessary   the full model without the circuit's nodes loses it
    control     both again for random circuits with as many nodes at every site, none of them its
                own: a control that shares nodes with the circuit is no control

Measured on test prompts, which nothing was chosen on. The thresholds are fixed here, in advance:

    sufficient: the 95 % interval of the loss reaches down to the target, and the loss is below that
                of every random circuit
    necessary:  the interval of the loss without the circuit lies above half of chance (ln 2 / 2),
                and the loss is above that without any random circuit

Paper section 2.2 and Fig. 32.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from lacewing.ablation.editor import cut_model
from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_loss
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes
from lacewing.model.layers import sparse_products
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.statistics import bootstrap, pair_means
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import HALF_CHANCE
from lacewing.verification.random_circuits import CONTROL_PAIRS, RANDOM_CIRCUITS, random_nodes


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

    verdict: bool
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

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Test":
        """A saved test; older versions called the threshold a mark."""
        named = {"threshold" if name == "mark" else name: value for name, value in plain.items()}
        interval, random = tuple(named["interval"]), Control(**named["random"])
        return cls(**named | {"interval": interval, "random": random})


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
        return self.sufficient.verdict and self.necessary.verdict

    def as_json(self) -> dict[str, Any]:
        """Plain values for a file or a terminal."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "ShortTest":
        """What `as_json` wrote, now or in older versions."""
        known = {name: plain[name] for name in cls.__dataclass_fields__}
        known["full_interval"] = tuple(known["full_interval"])
        tests = {name: Test.from_json(known[name]) for name in ("sufficient", "necessary")}
        return cls(**known | tests)


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
    cut = cut_model(model, circuit, circuit.ablation)
    alone = _losses(cut, circuit, prompts, circuit.nodes, complement=False)
    without = _losses(model, circuit, prompts, circuit.nodes, complement=True)
    random_alone: list[float] = []
    random_without: list[float] = []
    few = prompts.first(CONTROL_PAIRS)
    with (
        progress(f"verify {circuit.task}", random_circuits, "controls", not quiet) as bar,
        sparse_products(model.network),
    ):
        for index, nodes in enumerate(random_nodes(model, circuit, seed, random_circuits)):
            for found, complement in ((random_alone, False), (random_without, True)):
                losses = _losses(model, circuit, few, nodes, complement)
                found.append(float(losses.mean()))
            bar.update(index + 1)
    full = pair_means(ablated_loss(model, prompts, None))
    return ShortTest(
        task=circuit.task,
        model_id=circuit.model_id,
        pairs=len(prompts),
        seed=seed,
        full=float(full.mean()),
        full_interval=bootstrap(full, seed=seed),
        sufficient=_sufficient(pair_means(alone), random_alone, circuit.target_loss, seed),
        necessary=_necessary(pair_means(without), random_without, seed),
    )


def _losses(
    model: Model, circuit: Circuit, prompts: Prompts, nodes: Nodes, complement: bool
) -> Tensor:
    masks = masks_of(model.network, nodes, complement)
    calibration = None if complement else circuit.calibration
    return ablated_loss(model, prompts, masks, circuit.ablation, calibration)


def _control(losses: list[float]) -> Control:
    return Control(len(losses), float(np.mean(losses)), min(losses), max(losses))


def _sufficient(pairs: np.ndarray, random: list[float], target: float, seed: int) -> Test:
    loss, (low, high), control = float(pairs.mean()), bootstrap(pairs, seed=seed), _control(random)
    verdict = low <= target and float(pairs[:CONTROL_PAIRS].mean()) < control.lowest
    reason = (
        f"alone it keeps {loss:.3f} nats [{low:.3f}, {high:.3f}] against the target {target:g}; "
        f"the best of {control.count} random circuits has {control.lowest:.3f}"
    )
    return Test(verdict, loss, (low, high), control, target, reason)


def _necessary(pairs: np.ndarray, random: list[float], seed: int) -> Test:
    loss, (low, high), control = float(pairs.mean()), bootstrap(pairs, seed=seed), _control(random)
    verdict = low > HALF_CHANCE and float(pairs[:CONTROL_PAIRS].mean()) > control.highest
    reason = (
        f"without it the loss is {loss:.3f} nats [{low:.3f}, {high:.3f}] against "
        f"{HALF_CHANCE:.3f}, half of chance; the worst of {control.count} random removals gives "
        f"{control.highest:.3f}"
    )
    return Test(verdict, loss, (low, high), control, HALF_CHANCE, reason)
