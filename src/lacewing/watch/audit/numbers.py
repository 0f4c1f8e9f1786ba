"""Whether the numbers of an audited circuit follow from its pairs' losses and from its files.

The random circuits' numbers follow from nothing that is kept, but they have to go together with
each other and with the losses of the pairs.
"""

from pathlib import Path

import numpy as np

from lacewing.circuit.circuit import Circuit
from lacewing.errors import MismatchError
from lacewing.statistics import bootstrap
from lacewing.tasks.scoring import HALF_CHANCE
from lacewing.verification.finding import reaches
from lacewing.verification.random_circuits import CONTROL_PAIRS, beats
from lacewing.watch.audit.build import suite_of
from lacewing.watch.audit.measure import PARTS, ROUNDING
from lacewing.watch.audit.schema import Audited, Ends, Tested


def same_facts(circuit: Circuit, folder: Path, audited: Audited) -> None:
    """Compare a circuit with what an audit says of it.

    Raises:
        MismatchError: naming what differs.
    """
    facts = {
        "task": circuit.task,
        "ablation": circuit.ablation,
        "nodes": circuit.n_nodes,
        "edges": circuit.n_edges,
        "target_loss": circuit.target_loss,
        "search_seed": circuit.seed,
        "pairs": len(circuit.pairs),
        "suite": suite_of(folder, circuit),
    }
    for name, value in facts.items():
        if (said := getattr(audited, name)) != value:
            raise _differs(audited, name, value, said)


def numbers_follow(audited: Audited, seed: int) -> None:
    """Compare means, intervals and verdicts with the losses of the pairs.

    Args:
        audited: The circuit in the audit, whose facts were compared.
        seed: The audit's.

    Raises:
        MismatchError: naming the number that does not follow.
    """
    for part in PARTS:
        if (count := len(getattr(audited.losses, part))) != audited.pairs:
            raise _differs(audited, f"losses.{part}", f"{audited.pairs} pairs", count)
    _mean(audited, "full", audited.full, audited.full_interval, audited.losses.full, seed)
    sides = (
        ("sufficient", audited.sufficient, audited.losses.alone, audited.target_loss, True),
        ("necessary", audited.necessary, audited.losses.without, HALF_CHANCE, False),
    )
    counts = [test.random.count for _, test, *_ in sides]
    if counts[0] != counts[1]:
        raise _differs(audited, "necessary.random.count", *counts)
    for name, test, losses, threshold, at_most in sides:
        _mean(audited, name, test.loss, test.interval, losses, seed)
        if (test.threshold, test.at_most) != (threshold, at_most):
            raise _differs(audited, f"{name}.threshold", threshold, test.threshold)
        lowest, highest = test.random.lowest - ROUNDING, test.random.highest + ROUNDING
        if not lowest <= test.random.mean <= highest:
            raise _differs(audited, f"{name}.random", "a mean between its ends", test.random.mean)
        _margin(audited, name, test, losses)
        if (follows := _verdict(audited, test)) is not test.verdict:
            raise _differs(audited, f"{name}.verdict", follows, test.verdict)


def _margin(audited: Audited, name: str, test: Tested, losses: tuple[float, ...]) -> None:
    """Compare a margin with how far the nearest random circuit is, by its mean loss.

    The margin is the interval with the lowest lower end. That of the nearest one by its mean holds
    its mean, so that the lower end cannot lie above it; nor can any upper end lie below.
    """
    own = float(np.mean(losses[:CONTROL_PAIRS]))
    nearest = test.random.lowest - own if test.at_most else own - test.random.highest
    low, high = test.margin
    if not low - ROUNDING <= nearest <= high + ROUNDING:
        raise _differs(audited, f"{name}.margin", f"an interval with {nearest:.9g}", test.margin)


def _verdict(audited: Audited, test: Tested) -> bool | None:
    """As the short test judges."""
    if test.at_most and not audited.nodes:
        return False
    side = reaches(test.loss, *test.interval, test.threshold, at_most=test.at_most)
    return side and beats(test.margin)


def _mean(
    audited: Audited, name: str, mean: float, ends: Ends, losses: tuple[float, ...], seed: int
) -> None:
    values = np.array(losses, dtype=np.float64)
    follows = (float(values.mean()), *bootstrap(values, seed=seed))
    for said, value in zip((mean, *ends), follows, strict=True):
        if not abs(said - value) <= ROUNDING * max(1.0, abs(value)):
            raise _differs(audited, name, f"{value:.9g} nats", f"{said:.9g}")


def _differs(audited: Audited, name: str, value: object, said: object) -> MismatchError:
    return MismatchError(
        f"circuit {audited.name}: {name} follows as {value!r:.80}, the audit says {said!r:.80}"
    )
