"""Edits tried one by one: the least strength at which each mends a mistake."""

from collections.abc import Sequence
from dataclasses import dataclass

from lacewing.model.store import Model
from lacewing.model.transformer import Transformer
from lacewing.progress import progress
from lacewing.trace.aim import Aim
from lacewing.trace.candidates import candidates, in_turn
from lacewing.trace.curvature import Curvature
from lacewing.trace.elsewhere import Ends
from lacewing.trace.onwards import half_of
from lacewing.trace.weight_edits import Kind, WeightEdit, applied

GROWTH = 1.5
STRONGEST = 6.0
"""Times the expected strength that is tried."""
FIRST = 3
"""Edits of each kind that mend, after which no more of it are tried; rank one has no such end."""


@dataclass(frozen=True, eq=False)
class Trial:
    """An edit to try."""

    edit: WeightEdit
    wide: bool
    """Whether it was made for siblings too, half of which it must mend."""


@dataclass(frozen=True, eq=False)
class Mending:
    """An edit that mends, and the least strength at which it does."""

    edit: WeightEdit
    strength: float


def queue(cost: Curvature, model: Model, every: Sequence[Ends], need: float) -> list[Trial]:
    """Edits in the order of trying, least expected damage first.

    Args:
        cost: Of the model.
        model: The model.
        every: The mistake, and its siblings.
        need: Nats that the mistake's logit difference has to grow by.
    """

    def made(prompts: Sequence[Ends], wide: bool) -> list[Trial]:
        found = candidates(model.ours, prompts, need, cost, model.means)
        return [Trial(edit, wide) for edit in in_turn(found)]

    alone = made(every[:1], wide=False)
    if len(every) == 1:
        return alone
    return [one for both in zip(made(every, wide=True), alone, strict=False) for one in both]


def mending(
    network: Transformer, trials: Sequence[Trial], goal: Aim, quiet: bool = False
) -> list[Mending]:
    """Those that mend.

    Args:
        network: The model.
        trials: In the order of trying.
        goal: The mistake and its siblings.
        quiet: Report no progress.
    """
    found: list[Mending] = []
    counts: dict[tuple[Kind, bool], int] = {}
    alone = goal.alone()
    with progress("repair", len(trials), "edits", not quiet) as bar:
        for done, one in enumerate(trials):
            kind = one.edit.kind, one.wide
            if kind[0] == "rank one" or counts.get(kind, 0) < FIRST:
                strength = _least(network, one.edit, goal if one.wide else alone)
                if strength is not None:
                    found.append(Mending(one.edit, strength))
                    counts[kind] = counts.get(kind, 0) + 1
            bar.update(done + 1)
    return found


def _least(network: Transformer, edit: WeightEdit, goal: Aim) -> float | None:
    """The least strength at which an edit mends, to a few percent; none where it does not."""
    first = half_of(edit.map)

    def mends(strength: float) -> bool:
        with applied(network, edit, strength):
            return goal.reached(goal.differences(network, first))

    if not edit.adjustable:
        return 1.0 if mends(1.0) else None
    low, high = 0.0, 1.0
    while not mends(high):
        low, high = high, high * GROWTH
        if high > STRONGEST:
            return None
    for _ in range(4):
        middle = (low + high) / 2
        low, high = (low, middle) if mends(middle) else (middle, high)
    return high
