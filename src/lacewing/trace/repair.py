"""Repair: the smallest edit of a model that mends one wrong answer.

a mistake -> what each weight, bias and node would have to change by (`candidates`)
-> in the order of expected damage: the least strength that mends it
-> those that do: what they damage on text and tasks kept for choosing
-> the least damaging: kin, text and tasks that nothing was chosen on
-> the same for plain fine-tuning on the same prompt, at equal success
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from lacewing.errors import ConfigError, DataError
from lacewing.model.store import Model
from lacewing.model.transformer import Transformer, own
from lacewing.progress import progress
from lacewing.statistics import wilson
from lacewing.trace.candidates import candidates, in_turn
from lacewing.trace.curvature import Curvature, curvature
from lacewing.trace.elsewhere import (
    Damage,
    Ends,
    Material,
    Outputs,
    damage,
    difference,
    differences,
    outputs,
)
from lacewing.trace.held import hold
from lacewing.trace.outcome import Kin, OnKin, Outcome, Repair, Tested
from lacewing.trace.trace import answer_ids, pair_ids, prompt_ids
from lacewing.trace.tuning import RATES, Enough, Tuned, tuned
from lacewing.trace.weight_edits import KINDS, WeightEdit, applied, apply

MARGIN = 0.2
"""Nats by which a mended answer has to win."""
GROWTH = 1.5
STRONGEST = 6.0
"""Times the expected strength that is tried."""
FIRST = 3
"""Edits of each kind that mend, of which the damage is measured."""
SIBLINGS = 16
"""Mistakes like it that an edit may be made and chosen with."""


@dataclass(frozen=True)
class Workshop:
    """A model, what it is measured on, and what every change of it would cost: made once."""

    model: Model
    material: Material
    cost: Curvature
    choose: Outputs
    report: Outputs


def workshop(model: Model, material: Material, seed: int = 0) -> Workshop:
    """Measure what any repair of a model needs.

    Raises:
        ConfigError: the model is not lacewing's own.
    """
    network = own(model.network, "repairing an answer")
    cost = curvature(network, material.fit.text, material.fit.tasks.values(), seed)
    found = outputs(network, material.choose), outputs(network, material.report)
    return Workshop(model, material, cost, *found)


def repair(
    shop: Workshop,
    mistake: Kin,
    kin: Sequence[Kin] = (),
    siblings: Sequence[Kin] = (),
    *,
    margin: float = MARGIN,
    tries: int = 120,
    seed: int = 0,
    quiet: bool = False,
) -> Repair:
    """Find the least damaging edit that mends a mistake, and measure it beside fine-tuning.

    Args:
        shop: The model, with what it is measured on.
        mistake: A prompt, the right answer, and the wrong one that the model gives.
        kin: Prompts like it, on which nothing is chosen.
        siblings: Other mistakes like it, which edits are made and chosen with, and which
            fine-tuning gets as well.
        margin: Nats by which the right answer has to win.
        tries: Edits whose strength is looked for, at most.
        seed: Of intervals.
        quiet: Report no progress.

    Raises:
        ConfigError: the answer wins already.
        DataError: the prompt is empty or too long, or an answer is not one token.

    Example:
        >>> shop = workshop(model, material(model))  # doctest: +SKIP
        >>> repair(shop, Kin("x = 'a", "'", '"')).chosen.edit.words(1.0)  # doctest: +SKIP
    """
    model, network = shop.model, shop.model.ours
    every = [ids for one in (mistake, *siblings[:SIBLINGS]) if (ids := _ids(model, one))]
    tokens, answer, rival = answer_ids(model, mistake.prompt, mistake.answer, mistake.rival)
    before = difference(network, tokens, answer, rival)
    if before > 0:
        raise ConfigError(
            f"{mistake.answer!r} wins over {mistake.rival!r} already, by {before:.2f} nats: there "
            "is nothing to mend"
        )
    alone, too = _enough(every[:1], margin), _enough(every, margin)
    queue = _queue(shop, every, margin - before)[:tries]
    mending: list[tuple[WeightEdit, float]] = []
    with progress("repair", len(queue), "edits", not quiet) as bar:
        for done, (edit, every_one) in enumerate(queue):
            strength = _least(network, edit, too if every_one else alone)
            mending += [] if strength is None else [(edit, strength)]
            bar.update(done + 1)
    measured = [_tested(shop, *one, every[1:]) for one in _first(mending)]
    measured.sort(key=lambda one: (2 * one.siblings < len(every) - 1, one.damage))
    most = bool(measured) and 2 * measured[0].siblings >= len(every) - 1
    fine, words = _fine_tuned(shop, every, too if most else alone)
    mended = None
    if measured:
        mended = copy.deepcopy(network)
        apply(mended, measured[0].edit, measured[0].strength)
    known = [
        (ids, difference(network, *ids) > 0) for one in kin if (ids := _ids(model, one)) is not None
    ]
    ends = (tokens, answer, rival, margin, known, seed)
    return Repair(
        model=model.name or model.source,
        model_id=model.id,
        prompt=mistake.prompt,
        answer=mistake.answer,
        rival=mistake.rival,
        margin=margin,
        seed=seed,
        before=before,
        tried=len(queue),
        mending=len(mending),
        siblings=len(every) - 1,
        chosen=measured[0] if measured else None,
        others=tuple(measured[1:]),
        outcome=None if mended is None else _outcome(shop, mended, *ends),
        fine_tuning=None if fine is None else _outcome(shop, fine.network, *ends),
        fine_tuned=words,
        network=mended,
    )


def likeliest(model: Model, prompt: str, answer: str) -> str:
    """The likeliest token after a prompt that is not the answer.

    Raises:
        DataError: the prompt is empty or too long, or the answer is not one token.
    """
    logits = hold(model.ours, prompt_ids(model, prompt)).logits
    return model.tokenizer.token(pair_ids(model, logits, answer, None)[1])


def _queue(shop: Workshop, every: Sequence[Ends], need: float) -> list[tuple[WeightEdit, bool]]:
    """Edits in the order of trying; whether each is made for siblings too, which it must mend."""
    ends = shop.model.ours, shop.cost, shop.model.means
    queue = [(edit, False) for edit in in_turn(candidates(ends[0], every[:1], need, *ends[1:]))]
    if len(every) == 1:
        return queue
    also = [(edit, True) for edit in in_turn(candidates(ends[0], every, need, *ends[1:]))]
    return [edit for both in zip(also, queue, strict=False) for edit in both]


def _enough(prompts: Sequence[Ends], margin: float) -> Enough:
    """Whether the first prompt is mended by a margin, and at least half of the others at all."""

    def enough(network: Transformer) -> bool:
        found = differences(network, prompts)
        others = int((found[1:] > 0).sum())
        return float(found[0]) >= margin and 2 * others >= len(prompts) - 1

    return enough


def _least(network: Transformer, edit: WeightEdit, enough: Enough) -> float | None:
    """The least strength at which an edit mends, to a few percent; none where it does not."""

    def mends(strength: float) -> bool:
        with applied(network, edit, strength):
            return enough(network)

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


def _ids(model: Model, kin: Kin) -> Ends | None:
    """A prompt and its answers as tokens; none where an answer is not one token."""
    try:
        return answer_ids(model, kin.prompt, kin.answer, kin.rival)
    except DataError:
        return None


def _first(mending: Sequence[tuple[WeightEdit, float]]) -> list[tuple[WeightEdit, float]]:
    """The few of each kind that should damage least; all of rank one, one to a matrix."""
    found: list[tuple[WeightEdit, float]] = []
    for kind in KINDS:
        same = [one for one in mending if one[0].kind == kind]
        same.sort(key=lambda one: one[0].damage * one[1] ** 2)
        found += same if kind == "rank one" else same[:FIRST]
    return found


def _tested(shop: Workshop, edit: WeightEdit, strength: float, siblings: Sequence[Ends]) -> Tested:
    """What an edit does to text and tasks kept for choosing, and to siblings."""
    network, part = shop.model.ours, shop.material.choose
    with applied(network, edit, strength):
        size = _size(damage(part, shop.choose, outputs(network, part)))
        mended = sum(difference(network, *ends) > 0 for ends in siblings)
    return Tested(edit, strength, size, mended)


def _size(found: Damage) -> float:
    """One number to choose by: text moved, and tasks made worse."""
    return found.kl + max(0.0, found.task_rise)


def _fine_tuned(
    shop: Workshop, prompts: Sequence[Ends], enough: Enough
) -> tuple[Tuned | None, str]:
    """The least damaging of several ways of plain fine-tuning, and words for it."""
    best: tuple[float, Tuned] | None = None
    part = shop.material.choose
    for optimizer, rates in RATES.items():
        for rate in rates:
            made = tuned(shop.model.ours, prompts, enough, optimizer, rate)
            if not made.reached:
                continue
            size = _size(damage(part, shop.choose, outputs(made.network, part)))
            best = (size, made) if best is None or size < best[0] else best
    if best is None:
        return None, "no learning rate that was tried mended it"
    made = best[1]
    steps = "1 step" if made.steps == 1 else f"{made.steps} steps"
    return made, f"{made.optimizer}, learning rate {made.rate:g}, {steps}, scaled back"


def _outcome(
    shop: Workshop,
    network: Transformer,
    tokens: tuple[int, ...],
    answer: int,
    rival: int,
    margin: float,
    kin: Sequence[tuple[Ends, bool]],
    seed: int,
) -> Outcome:
    part = shop.material.report
    reached = difference(network, tokens, answer, rival)
    return Outcome(
        mended=reached >= margin - 1e-3,
        difference=reached,
        kin=_on_kin(network, kin),
        damage=damage(part, shop.report, outputs(network, part), seed),
    )


def _on_kin(network: Transformer, kin: Sequence[tuple[Ends, bool]]) -> OnKin:
    """How an edited model does on prompts that the model was right on, or not."""
    counts = {(False, True): 0, (False, False): 0, (True, True): 0, (True, False): 0}
    for ends, was in kin:
        counts[was, difference(network, *ends) > 0] += 1
    wrong, right = (counts[was, True] + counts[was, False] for was in (False, True))
    return OnKin(
        counts[False, True],
        wrong,
        wilson(counts[False, True], wrong),
        counts[True, False],
        right,
        wilson(counts[True, False], right),
    )
