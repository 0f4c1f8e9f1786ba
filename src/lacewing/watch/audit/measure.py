"""What an audit measures of a circuit, and by how much two measurements may differ.

Every pair's loss is kept, so that whoever checks can measure some pairs again and see that the
means and intervals follow from all of them.
"""

import platform

import numpy as np
import torch
from jaxtyping import Float

from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts
from lacewing.verification.random_circuits import CONTROL_PAIRS
from lacewing.verification.short import losses_of, three_losses
from lacewing.watch.audit.schema import Losses, Processor, Tolerances

TOLERANCES = Tolerances(same=1e-5, other=1e-3)
"""Where they come from: docs/audit.md. Everything is measured on the main processor."""
ROUNDING = 1e-9
"""Nats: by less than this, sums of the same numbers may differ between machines."""
PARTS = ("full", "alone", "without")


def pair_losses(model: Model, circuit: Circuit, prompts: Prompts) -> Losses:
    """The loss of every pair: of the whole model, of the circuit alone, without the circuit."""
    return Losses(*(tuple(map(float, part)) for part in three_losses(model, circuit, prompts)))


def control_losses(
    model: Model, circuit: Circuit, prompts: Prompts, nodes: Nodes
) -> dict[str, Float[np.ndarray, " pair"]]:
    """The losses of a random circuit, of the first pairs, as the two tests have them."""
    few = prompts.first(CONTROL_PAIRS)
    sides = {"sufficient": False, "necessary": True}
    return {name: losses_of(model, circuit, few, nodes, side) for name, side in sides.items()}


def sampled(circuit: Circuit, count: int, seed: int) -> list[int]:
    """Which pairs are measured again, in their order.

    All of them where the ablation takes values from the next pair, which a choice would change.
    """
    pairs = len(circuit.pairs)
    if circuit.ablation == "resample" or count >= pairs:
        return list(range(pairs))
    chosen = np.random.default_rng(seed).choice(pairs, count, replace=False)
    return sorted(int(pair) for pair in chosen)


def furthest(
    model: Model, circuit: Circuit, prompts: Prompts, losses: Losses, pairs: list[int]
) -> tuple[float, str, int]:
    """The largest difference of some pairs' losses, which loss it is, and of which pair."""
    again = pair_losses(model, circuit, prompts.take(pairs))
    worst = (0.0, PARTS[0], pairs[0])
    for part in PARTS:
        then = _array(getattr(losses, part))[pairs]
        distances = np.abs(_array(getattr(again, part)) - then)
        distances[~np.isfinite(distances)] = np.inf
        at = int(distances.argmax())
        worst = max(worst, (float(distances[at]), part, pairs[at]))
    return worst


def processor() -> Processor:
    """What is measured on here."""
    return Processor(
        machine=platform.machine(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        system=platform.system(),
        python=platform.python_version(),
        torch=str(torch.__version__),
    )


def tolerance(then: Processor, now: Processor, said: Tolerances) -> float:
    """By how much a loss may differ, nats: as the audit says, and never more than is meant here."""
    kinds = [(one.machine, one.instructions, one.torch) for one in (then, now)]
    if kinds[0] == kinds[1]:
        return min(said.same, TOLERANCES.same)
    return min(said.other, TOLERANCES.other)


def _array(values: tuple[float, ...]) -> Float[np.ndarray, " pair"]:
    return np.array(values, dtype=np.float64)
