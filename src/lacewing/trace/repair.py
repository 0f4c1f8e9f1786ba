"""Repair: the smallest edit of a model that mends one wrong answer.

a mistake -> what each weight, bias and node would have to change by (`candidates`)
-> in the order of expected damage: the least strength that mends it (`trials`)
-> those that do: a glance at what they damage; the best of them on text and tasks for choosing
-> the least damaging: kin, text and tasks that nothing was chosen on
-> the same for plain fine-tuning on the same prompt, at equal success
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from lacewing.errors import ConfigError, DataError
from lacewing.model.layers import sparse_products
from lacewing.model.store import Model
from lacewing.model.transformer import Transformer, own
from lacewing.statistics import wilson
from lacewing.trace.aim import Aim, aim
from lacewing.trace.curvature import Curvature, curvature
from lacewing.trace.elsewhere import (
    Damage,
    Ends,
    Material,
    Yardstick,
    difference,
    yardstick,
)
from lacewing.trace.held import hold
from lacewing.trace.onwards import half_of
from lacewing.trace.outcome import Kin, OnKin, Outcome, Repair, Tested, Widest
from lacewing.trace.trace import answer_ids, pair_ids, prompt_ids
from lacewing.trace.trials import Mending, mending, queue
from lacewing.trace.tuning import WAYS, Tuned, Way, tuned
from lacewing.trace.weight_edits import applied, apply

MARGIN = 0.2
"""Nats by which a mended answer has to win."""
SIBLINGS = 16
"""Mistakes like it that an edit may be made and chosen with."""
GLANCE = 4
"""Windows of the text kept for choosing that every edit that mends is looked at on."""
BEST = 4
"""Edits that are then measured on all that is kept for choosing."""
PIECE = 64
"""Kin that are run at once."""


@dataclass(frozen=True)
class Workshop:
    """A model, what it is measured on, and what every change of it would cost: made once."""

    model: Model
    material: Material
    cost: Curvature
    glance: Yardstick
    choose: Yardstick
    report: Yardstick


def workshop(model: Model, material: Material, seed: int = 0) -> Workshop:
    """Measure what any repair of a model needs.

    Raises:
        ConfigError: the model is not lacewing's own.
    """
    network = own(model.network, "repairing an answer")
    cost = curvature(network, material.fit.text, material.fit.tasks.values(), seed)
    parts = material.choose.glance(GLANCE), material.choose, material.report
    return Workshop(model, material, cost, *(yardstick(network, part) for part in parts))


def repair(
    shop: Workshop,
    mistake: Kin,
    kin: Sequence[Kin] = (),
    siblings: Sequence[Kin] = (),
    *,
    margin: float = MARGIN,
    tries: int = 120,
    seed: int = 0,
    ways: Sequence[Way] = WAYS,
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
        ways: Optimizers and learning rates that fine-tuning tries.
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
    goal = aim(network, every, margin)
    tried = queue(shop.cost, model, every, margin - before)[:tries]
    known = _before(network, [ids for one in kin if (ids := _ids(model, one))])
    with sparse_products(network):
        mends = mending(network, tried, goal, quiet)
        measured, widest = _measured(shop, mends, goal, known)
    most = bool(measured) and 2 * measured[0].siblings >= len(every) - 1
    fine = _fine_tuned(shop, goal, ways, alone=not most)
    mended, first = None, None
    if measured:
        mended, first = copy.deepcopy(network), half_of(measured[0].edit.map)
        apply(mended, measured[0].edit, measured[0].strength)
    return Repair(
        model=model.name or model.source,
        model_id=model.id,
        prompt=mistake.prompt,
        answer=mistake.answer,
        rival=mistake.rival,
        margin=margin,
        seed=seed,
        before=before,
        tried=len(tried),
        mending=len(mends),
        siblings=len(every) - 1,
        chosen=measured[0] if measured else None,
        others=tuple(measured[1:]),
        widest=widest,
        outcome=None if mended is None else _outcome(shop, mended, goal, known, seed, first),
        fine_tuning=None if fine is None else _outcome(shop, fine.network, goal, known, seed),
        fine_tuned=None if fine is None else fine.way,
        fine_tuned_steps=0 if fine is None else fine.steps,
        network=mended,
    )


def likeliest(model: Model, prompt: str, answer: str) -> str:
    """The likeliest token after a prompt that is not the answer.

    Raises:
        DataError: the prompt is empty or too long, or the answer is not one token.
    """
    logits = hold(model.ours, prompt_ids(model, prompt)).logits
    return model.tokenizer.token(pair_ids(model, logits, answer, None)[1])


def _ids(model: Model, kin: Kin) -> Ends | None:
    """A prompt and its answers as tokens; none where an answer is not one token."""
    try:
        return answer_ids(model, kin.prompt, kin.answer, kin.rival)
    except DataError:
        return None


def _measured(
    shop: Workshop, mends: Sequence[Mending], goal: Aim, known: Sequence[tuple[Aim, list[bool]]]
) -> tuple[list[Tested], Widest | None]:
    """The best edits that mend, least damaging first; and the one that mends most siblings.

    All are looked at on a little text, the few best, and the widest, on all that is for choosing.
    Edits that mend at least half of the siblings go before others.
    """
    looked = [_tested(shop.glance, shop, one, goal) for one in mends]
    half = len(goal.right) - 1
    looked.sort(key=lambda one: (2 * one.siblings < half, one.damage))
    if not looked:
        return [], None
    wide = min(looked, key=lambda one: (-one.siblings, one.damage))
    best = list({id(one): one for one in (*looked[:BEST], wide)}.values())
    found = [_tested(shop.choose, shop, Mending(one.edit, one.strength), goal) for one in best]
    widest = found[best.index(wide)]
    found.sort(key=lambda one: (2 * one.siblings < half, one.damage))
    with applied(shop.model.ours, widest.edit, widest.strength):
        kin = _on_kin(shop.model.ours, known, half_of(widest.edit.map))
    return found, Widest(widest, kin)


def _tested(on: Yardstick, shop: Workshop, one: Mending, goal: Aim) -> Tested:
    """What an edit does to something else, and to siblings."""
    network, first = shop.model.ours, half_of(one.edit.map)
    with applied(network, one.edit, one.strength):
        size = _size(on.damage(network, first))
        mended = int((goal.differences(network, first)[1:] > 0).sum())
    return Tested(one.edit, one.strength, size, mended)


def _size(found: Damage) -> float:
    """One number to choose by: text moved, and tasks made worse."""
    return found.kl + max(0.0, found.task_rise)


def _fine_tuned(shop: Workshop, goal: Aim, ways: Sequence[Way], alone: bool) -> Tuned | None:
    """The least damaging of several ways of plain fine-tuning; none where none mends."""
    made = [one for way in ways if (one := tuned(shop.model.ours, goal, way, alone)).reached]
    made.sort(key=lambda one: _size(shop.glance.damage(one.network)))
    return min(made[:2], key=lambda one: _size(shop.choose.damage(one.network)), default=None)


def _outcome(
    shop: Workshop,
    network: Transformer,
    goal: Aim,
    known: Sequence[tuple[Aim, list[bool]]],
    seed: int,
    first: int | None = None,
) -> Outcome:
    reached = float(goal.alone().differences(network, first))
    return Outcome(
        mended=reached >= goal.margin - 1e-3,
        difference=reached,
        kin=_on_kin(network, known, first),
        damage=shop.report.damage(network, first, seed),
    )


def _before(network: Transformer, kin: Sequence[Ends]) -> list[tuple[Aim, list[bool]]]:
    """Kin in pieces of like length, with whether the model is right on each."""
    ranked = sorted(kin, key=lambda ends: len(ends[0]))
    with sparse_products(network):
        pieces = [aim(network, ranked[at : at + PIECE], 0.0) for at in range(0, len(kin), PIECE)]
        return [(piece, (piece.differences(network) > 0).tolist()) for piece in pieces]


def _on_kin(
    network: Transformer, known: Sequence[tuple[Aim, list[bool]]], first: int | None
) -> OnKin:
    """How an edited model does on prompts that the model was right on, or not."""
    counts = {(False, True): 0, (False, False): 0, (True, True): 0, (True, False): 0}
    with sparse_products(network):
        for piece, rightly in known:
            after = (piece.differences(network, first) > 0).tolist()
            for was, now in zip(rightly, after, strict=True):
                counts[was, now] += 1
    wrong, right = (counts[was, True] + counts[was, False] for was in (False, True))
    return OnKin(
        counts[False, True],
        wrong,
        wilson(counts[False, True], wrong),
        counts[True, False],
        right,
        wilson(counts[True, False], right),
    )
