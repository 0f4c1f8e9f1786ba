"""Robust pruning: the adversary, foreign text, attention, and what a selection holds under."""

import dataclasses
import json
import random
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import Tensor

import micro
from lacewing.ablation.calibration import loss_of
from lacewing.ablation.masks import Masks, masks_of
from lacewing.ablation.modes import ablated
from lacewing.ablation.node_mask import NodeMask
from lacewing.ablation.run import ablated_logits
from lacewing.circuit.config import CONSTRAINTS, Constraint, PruneConfig
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import ConfigError
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.pruning.mask_learning import gradients
from lacewing.pruning.node_search import Search, Wanted, step_together
from lacewing.pruning.prune import prune
from lacewing.pruning.robust.adversary import Adversary
from lacewing.pruning.robust.constraints import (
    LOSS,
    OTHER_MODES,
    AttentionMoved,
    ForeignClaims,
    OtherAblation,
    RestInPart,
    RobustTarget,
    holds,
)
from lacewing.pruning.robust.foreign_text import ForeignText
from lacewing.pruning.robust.losses import Asked, RobustInputs, rotation
from lacewing.pruning.selection import Selection
from lacewing.tasks.task import Task

TASK = Task(name="first_letter", generate=lambda file, random: ())
CONFIG = PruneConfig(
    target_loss=micro.TARGET,
    prompts=640,
    batch=16,
    robust=True,
    constraints=CONSTRAINTS,
    calibrate=False,
)
PLANTED = micro.PLANTED
BLIND = {key: kept for key, kept in PLANTED.items() if key != "0.attn_q"}
"""Head 0 looks at all tokens alike: path A is lost in the mean of them."""


@pytest.fixture(scope="module")
def read(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The micro model, with small letters as the text it was trained on."""
    folder, dice = tmp_path_factory.mktemp("letters"), random.Random(0)
    for number in range(320):
        text = "".join(dice.choices(micro.LETTERS, k=400))
        (folder / f"{number}.txt").write_text(text)
    return dataclasses.replace(model, corpus=str(Path(folder) / "*.txt"))


@pytest.fixture(scope="module")
def inputs(read: Model, sets: PromptSets) -> RobustInputs:
    return RobustInputs(Adversary(read, 0), ForeignText.of(read, sets))


def kept(model: Model, nodes: dict[str, list[int]]) -> Masks:
    """Masks of some nodes."""
    return masks_of(model.network, micro.nodes_of(nodes, model.network.config))


def mask_of(model: Model, masks: Masks) -> NodeMask:
    """A mask that learns, with these nodes on."""
    init = torch.cat([mask.float() - 0.5 for mask in masks.values()])
    return NodeMask(site_widths(model.network.config), model.means, init, 1.0)


def slopes(mask: NodeMask) -> dict[str, Tensor]:
    """The gradient of every node, site by site."""
    assert mask.tau.grad is not None
    return dict(zip(mask.widths, mask.tau.grad.split(list(mask.widths.values())), strict=True))


def learned(
    model: Model, sets: PromptSets, masks: Masks, asked: Asked, inputs: RobustInputs
) -> tuple[float, dict[str, Tensor]]:
    """The loss under a constraint, and what it teaches every node."""
    mask = mask_of(model, masks)
    batch = sets.train.take(range(32))
    dice = torch.Generator().manual_seed(0)
    (loss,) = gradients(model.network, [mask], [batch], [0.0], [None], asked, dice, [inputs])
    return loss, slopes(mask)


def test_an_adversary_ablates_what_is_off_and_chosen(
    read: Model, sets: PromptSets, inputs: RobustInputs
) -> None:
    """The loss it is given is that of the model with its subset, less the circuit, at its mean."""
    adversary = Adversary(read, 3)
    masks = kept(read, BLIND)
    found, _ = learned(read, sets, masks, "worst", RobustInputs(adversary, inputs.text))
    batch = sets.train.take(range(32))
    logits = ablated_logits(read, batch, adversary.spare(masks))
    assert loss_of(logits, batch, False) == pytest.approx(found, rel=2e-2, abs=2e-2)  # bf16 there


def test_an_adversary_learns_to_ablate_what_hurts(
    read: Model, sets: PromptSets, inputs: RobustInputs
) -> None:
    """Up the loss: it lets the planted nodes run less and less that a circuit lacks."""
    adversary, nothing = Adversary(read, 0), kept(read, {})
    adversary.start_at(kept(read, PLANTED))
    found = []
    for _ in range(3):
        loss, _ = learned(read, sets, nothing, "worst", RobustInputs(adversary, inputs.text))
        found.append(loss)
        adversary.follow()
    widths = adversary.mask.widths
    tau = dict(zip(widths, adversary.mask.tau.detach().split(list(widths.values())), strict=True))
    assert tau["0.attn_v"][0] < 0
    assert tau["resid_final"][4] < 0
    assert found[-1] > found[0] + 0.1


def test_a_circuit_learns_nothing_of_what_the_adversary_lets_run(
    read: Model, sets: PromptSets, inputs: RobustInputs
) -> None:
    """Of the nodes that are ablated it learns, of the others not."""
    adversary = Adversary(read, 0)
    adversary.start_at(kept(read, BLIND))
    against = RobustInputs(adversary, inputs.text)
    _, slope = learned(read, sets, kept(read, BLIND), "worst", against)
    assert not slope["0.attn_v"][0].any()
    assert slope["0.attn_q"][0] < 0  # off and ablated: more of it, less loss


def test_a_blind_head_costs(read: Model, sets: PromptSets, inputs: RobustInputs) -> None:
    """A kept head that lost its query looks elsewhere: it costs, and the query is called back."""
    sharp, _ = learned(read, sets, kept(read, PLANTED), "attention", inputs)
    plain, lacking = learned(read, sets, kept(read, BLIND), "mean", inputs)
    blind, slope = learned(read, sets, kept(read, BLIND), "attention", inputs)
    assert sharp < micro.TARGET
    assert blind > plain + 1
    assert slope["0.attn_q"][0] < lacking["0.attn_q"][0] < 0


def test_a_circuit_that_looks_elsewhere_does_not_hold(read: Model, sets: PromptSets) -> None:
    """The attention of the planted circuit is the full model's; of the blind one it is not."""
    constraint = AttentionMoved(read, sets.validation)
    assert constraint.value(kept(read, PLANTED)) < 0.5 * constraint.limit
    assert not holds(constraint, kept(read, BLIND))
    assert constraint.value(kept(read, {})) == 0


def test_a_stray_head_is_left_out(read: Model, sets: PromptSets) -> None:
    """Of the blind circuit only path B is left; the planted one stays as it is."""
    constraint = AttentionMoved(read, sets.validation)
    found = constraint.without_strays(kept(read, BLIND))
    assert found["0.attn_v"].nonzero()[:, 0].tolist() == [micro.HEAD]
    assert found["0.attn_in"].nonzero()[:, 0].tolist() == [5]
    whole = constraint.without_strays(kept(read, PLANTED))
    assert all(torch.equal(whole[key], mask) for key, mask in kept(read, PLANTED).items())


def test_a_circuit_that_claims_everything_does_not_hold(
    read: Model, sets: PromptSets, inputs: RobustInputs
) -> None:
    """A constant claims all foreign text as much as its prompts; the planted circuit hardly any."""
    constraint = ForeignClaims(read, sets.validation, inputs.text.to_choose_on, calibrate=False)
    assert constraint.value(kept(read, {})) == pytest.approx(1)
    assert holds(constraint, kept(read, PLANTED))


def test_claims_on_foreign_text_cost(read: Model, sets: PromptSets, inputs: RobustInputs) -> None:
    """What tells the task's own prompts from other text is called for."""
    none, _ = learned(read, sets, kept(read, {}), "natural", inputs)
    some, slope = learned(read, sets, kept(read, BLIND), "natural", inputs)
    assert some < none
    assert slope["0.attn_v"][micro.HEAD] < 0


def test_windows_to_choose_on_are_not_learned_on(inputs: RobustInputs) -> None:
    """No window that is drawn is one of those that selections are made on."""
    dice = torch.Generator().manual_seed(0)
    drawn = {tuple(row.tolist()) for _ in range(50) for row in inputs.text.draw(dice).tokens}
    chosen = {tuple(row.tolist()) for row in inputs.text.to_choose_on.tokens}
    assert drawn & chosen == set()
    assert inputs.text.foreign.all()  # the model gives P and Q little anywhere


def test_every_constraint_decides(
    read: Model, sets: PromptSets, inputs: RobustInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A selection reaches the target if mean ablation and each single constraint say so."""
    target = RobustTarget(read, sets, inputs, CONFIG)
    names = [type(constraint) for constraint in target.constraints]
    others = [AttentionMoved, RestInPart, RestInPart, ForeignClaims]
    assert names == [OtherAblation] * len(OTHER_MODES) + others
    planted = kept(read, PLANTED)
    values = {id(c): c.value(planted) for c in target.constraints}
    assert target.reaches(planted) == all(values[id(c)] <= c.limit for c in target.constraints)
    plain = loss_of(ablated_logits(read, sets.validation, planted), sets.validation, False)
    assert plain <= micro.TARGET
    made = target.constraints
    for one in made:
        target.constraints = [one]
        for limit in (values[id(one)] + 1e-6, values[id(one)] - 1e-6):
            limited = mock.Mock(value=one.value, limit=limit)
            target.constraints = [limited]
            assert target.reaches(planted) == (values[id(one)] <= limit)
    target.constraints = []
    lost = loss_of(ablated_logits(read, sets.validation, kept(read, BLIND)), sets.validation, False)
    assert lost > micro.TARGET
    assert not target.reaches(kept(read, BLIND))


def test_what_failed_last_is_asked_first(
    read: Model, sets: PromptSets, inputs: RobustInputs
) -> None:
    """With a target that the blind circuit reaches it fails on attention, which moves up."""
    target = RobustTarget(read, sets, inputs, dataclasses.replace(CONFIG, target_loss=0.6))
    two = [c for c in target.constraints if isinstance(c, ForeignClaims | AttentionMoved)]
    target.constraints = two[::-1]
    assert [type(c) for c in target.constraints] == [ForeignClaims, AttentionMoved]
    assert not target.reaches(kept(read, BLIND))
    assert [type(c) for c in target.constraints] == [AttentionMoved, ForeignClaims]


def test_an_attack_is_a_constraint_from_then_on(
    read: Model, sets: PromptSets, inputs: RobustInputs
) -> None:
    """Outside an empty circuit it finds what breaks it, outside the planted one it does not."""
    target = RobustTarget(read, sets, RobustInputs(Adversary(read, 0), inputs.text), CONFIG)
    target.constraints = []
    assert target.attack(kept(read, {}))
    assert not target.attack(kept(read, PLANTED))
    assert [type(constraint) for constraint in target.constraints] == [RestInPart, RestInPart]
    assert not all(holds(constraint, kept(read, {})) for constraint in target.constraints)


def test_a_broken_selection_grows_back_no_further_than_it_must(
    read: Model, sets: PromptSets
) -> None:
    """Of the selections on the way down, the smallest that no attack breaks; none if all break."""
    search = Search(read, 0, Wanted(TASK, CONFIG), sets)
    whole = {key: torch.ones(w, dtype=torch.bool) for key, w in search.mask.widths.items()}
    way = [whole, kept(read, PLANTED), kept(read, BLIND), kept(read, {})]
    found = [Selection(masks, sum(int(mask.sum()) for mask in masks.values())) for masks in way]
    assert found[1] is search._standing(found)
    assert search._standing(found[2:]) is None


def test_a_robust_circuit_holds_under_all_constraints(read: Model, sets: PromptSets) -> None:
    """It reaches the target under mean ablation and holds under everything else."""
    config = dataclasses.replace(CONFIG, prompts=320, stages=1)
    circuit = prune(read, TASK, config, sets=sets, quiet=True)
    masks = masks_of(read.network, circuit.nodes)
    for mode in OTHER_MODES:
        logits = ablated(read, sets.validation, masks, mode, 0, read.network)
        assert loss_of(logits, sets.validation, False) <= LOSS
    assert holds(AttentionMoved(read, sets.validation), masks)
    text = ForeignText.of(read, sets).to_choose_on
    assert holds(ForeignClaims(read, sets.validation, text, False), masks)
    assert circuit.losses["validation"] <= micro.TARGET
    assert circuit.config == config


def test_every_constraint_has_a_calibration_of_its_own(read: Model, sets: PromptSets) -> None:
    """After the first step only that of the first constraint has moved."""
    config = dataclasses.replace(CONFIG, calibrate=True)
    search = Search(read, 0, Wanted(TASK, config), sets)
    step_together(read, [search])
    moved = {asked for asked, found in search.calibrations.items() if found.log_scale != 0}
    assert {CONSTRAINTS[0]} == moved
    assert set(CONSTRAINTS) == set(search.calibrations)


def test_a_robust_search_sees_more_prompts() -> None:
    """Three times as many steps under all constraints, fewer under less; the worst on request."""
    assert set(CONSTRAINTS) - set(PruneConfig().constraints) == {"worst"}
    assert 3 * dataclasses.replace(CONFIG, robust=False).steps == CONFIG.steps
    assert (
        CONFIG.steps > dataclasses.replace(CONFIG, constraints=("zero",)).steps > CONFIG.steps / 3
    )


def test_some_of_the_constraints(read: Model, sets: PromptSets) -> None:
    """A circuit is asked for what was chosen, and for mean ablation always."""
    config = dataclasses.replace(CONFIG, constraints=("zero", "subset"), prompts=320, stages=1)
    search = Search(read, 0, Wanted(TASK, config), sets)
    assert ("mean", "zero", "subset") == search.constraints
    assert search.robust is not None
    assert [OtherAblation, RestInPart] == [type(c) for c in search.robust.constraints]
    assert search.robust.mended is None
    assert not search.robust.opposed
    assert ("attention", "worst") == rotation(("attention", "worst"))
    circuit = prune(read, TASK, config, sets=sets, quiet=True)
    assert circuit.losses["validation"] <= micro.TARGET


@pytest.mark.parametrize("constraints", [(), ("zero", "zero")])
def test_constraints_that_there_are_not(constraints: tuple[Constraint, ...]) -> None:
    """The message has those there are."""
    with pytest.raises(ConfigError, match=r"some of attention, .* natural, each once"):
        dataclasses.replace(CONFIG, constraints=constraints)


def test_settings_come_back() -> None:
    """Through JSON, from circuits of other versions too, where constraints were called stress."""
    saved = json.loads(json.dumps(CONFIG.as_json() | {"seconds": 3.0}))
    assert CONFIG == PruneConfig.of(saved)
    older = saved | {"stress": saved.pop("constraints")}
    assert CONFIG == PruneConfig.of(older)
    assert PruneConfig().constraints == PruneConfig.of(saved).constraints
