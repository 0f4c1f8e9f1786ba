"""Robust pruning: the adversary, foreign text, attention, and what a cut has to hold under."""

import dataclasses
import json
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

import micro
from lacewing.ablation.calibration import loss_of
from lacewing.ablation.masks import Masks, masks_of
from lacewing.ablation.modes import ablated
from lacewing.ablation.node_mask import NodeMask
from lacewing.ablation.run import ablated_logits
from lacewing.attacks.search import turns
from lacewing.circuit.config import STRESS, PruneConfig, Stress
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import ConfigError
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.pruning.node_search import Search, Wanted, gradients, step_together
from lacewing.pruning.prune import prune
from lacewing.pruning.robust.adversary import Adversary
from lacewing.pruning.robust.constraints import (
    CLAIMED,
    MARK,
    OTHER_MODES,
    Ablated,
    Attentive,
    Claims,
    InPart,
    Strain,
)
from lacewing.pruning.robust.foreign_text import ForeignText
from lacewing.pruning.robust.losses import Demands, Kind
from lacewing.pruning.selection import Cut
from lacewing.tasks.task import Task

TASK = Task(name="first_letter", generate=lambda file, random: ())
CONFIG = PruneConfig(
    target_loss=micro.TARGET,
    prompts=640,
    batch=16,
    robust=True,
    stress=STRESS,
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
def demands(read: Model, sets: PromptSets) -> Demands:
    return Demands(Adversary(read, 0), ForeignText.of(read, sets))


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
    model: Model, sets: PromptSets, masks: Masks, kind: Kind, demands: Demands
) -> tuple[float, dict[str, Tensor]]:
    """The loss under a kind of stress, and what it teaches every node."""
    mask = mask_of(model, masks)
    batch = sets.train.take(range(32))
    dice = torch.Generator().manual_seed(0)
    (loss,) = gradients(model.network, [mask], [batch], [0.0], [None], kind, dice, [demands])
    return loss, slopes(mask)


def test_an_adversary_ablates_what_is_off_and_chosen(
    read: Model, sets: PromptSets, demands: Demands
) -> None:
    """The loss it is given is that of the model with its subset, less the circuit, at its mean."""
    adversary = Adversary(read, 3)
    masks = kept(read, BLIND)
    found, _ = learned(read, sets, masks, "worst", Demands(adversary, demands.text))
    batch = sets.train.take(range(32))
    logits = ablated_logits(read, batch, adversary.spare(masks))
    assert loss_of(logits, batch, False) == pytest.approx(found, rel=2e-2, abs=2e-2)  # bf16 there


def test_an_adversary_learns_to_ablate_what_hurts(
    read: Model, sets: PromptSets, demands: Demands
) -> None:
    """Up the loss: it lets the planted nodes run less and less that a circuit lacks."""
    adversary, nothing = Adversary(read, 0), kept(read, {})
    adversary.start_at(kept(read, PLANTED))
    found = []
    for _ in range(3):
        loss, _ = learned(read, sets, nothing, "worst", Demands(adversary, demands.text))
        found.append(loss)
        adversary.follow()
    widths = adversary.mask.widths
    tau = dict(zip(widths, adversary.mask.tau.detach().split(list(widths.values())), strict=True))
    assert tau["0.attn_v"][0] < 0
    assert tau["resid_final"][4] < 0
    assert found[-1] > found[0] + 0.1


def test_a_circuit_learns_nothing_of_what_the_adversary_lets_run(
    read: Model, sets: PromptSets, demands: Demands
) -> None:
    """Of the nodes that are ablated it learns, of the others not."""
    adversary = Adversary(read, 0)
    adversary.start_at(kept(read, BLIND))
    against = Demands(adversary, demands.text)
    _, slope = learned(read, sets, kept(read, BLIND), "worst", against)
    assert not slope["0.attn_v"][0].any()
    assert slope["0.attn_q"][0] < 0  # off and ablated: more of it, less loss


def test_a_blind_head_costs(read: Model, sets: PromptSets, demands: Demands) -> None:
    """A kept head that lost its query looks elsewhere: it costs, and the query is called back."""
    sharp, _ = learned(read, sets, kept(read, PLANTED), "attention", demands)
    plain, lacking = learned(read, sets, kept(read, BLIND), "mean", demands)
    blind, slope = learned(read, sets, kept(read, BLIND), "attention", demands)
    assert sharp < micro.TARGET
    assert blind > plain + 1
    assert slope["0.attn_q"][0] < lacking["0.attn_q"][0] < 0


def test_a_circuit_that_looks_elsewhere_does_not_hold(read: Model, sets: PromptSets) -> None:
    """The attention of the planted circuit is the full model's; of the blind one it is not."""
    condition = Attentive(read, sets.validation)
    assert condition(kept(read, PLANTED)) < 0.5
    assert condition(kept(read, BLIND)) > 1
    assert condition(kept(read, {})) == 0


def test_a_stray_head_is_left_out(read: Model, sets: PromptSets) -> None:
    """Of the blind circuit only path B is left; the planted one stays as it is."""
    condition = Attentive(read, sets.validation)
    found = condition.without_strays(kept(read, BLIND))
    assert found["0.attn_v"].nonzero()[:, 0].tolist() == [micro.HEAD]
    assert found["0.attn_in"].nonzero()[:, 0].tolist() == [5]
    whole = condition.without_strays(kept(read, PLANTED))
    assert all(torch.equal(whole[key], mask) for key, mask in kept(read, PLANTED).items())


def test_a_circuit_that_claims_everything_does_not_hold(
    read: Model, sets: PromptSets, demands: Demands
) -> None:
    """A constant claims all foreign text as much as its prompts; the planted circuit hardly any."""
    condition = Claims(read, sets.validation, demands.text.to_choose_on, calibrate=False)
    assert condition(kept(read, {})) == pytest.approx(1 / CLAIMED)
    assert condition(kept(read, PLANTED)) < 1


def test_claims_on_foreign_text_cost(read: Model, sets: PromptSets, demands: Demands) -> None:
    """What tells the task's own prompts from other text is called for."""
    none, _ = learned(read, sets, kept(read, {}), "natural", demands)
    some, slope = learned(read, sets, kept(read, BLIND), "natural", demands)
    assert some < none
    assert slope["0.attn_v"][micro.HEAD] < 0


def test_windows_to_choose_on_are_not_learned_on(demands: Demands) -> None:
    """No window that is drawn is one of those that cuts are chosen on."""
    dice = torch.Generator().manual_seed(0)
    drawn = {tuple(row.tolist()) for _ in range(50) for row in demands.text.draw(dice).tokens}
    chosen = {tuple(row.tolist()) for row in demands.text.to_choose_on.tokens}
    assert drawn & chosen == set()
    assert demands.text.foreign.all()  # the model gives P and Q little anywhere


def test_the_worst_condition_decides(read: Model, sets: PromptSets, demands: Demands) -> None:
    """A strained loss is the one under the mean, or the first that fails, scaled to its limit."""
    strain = Strain(read, sets, demands, CONFIG)
    names = [type(condition) for condition in strain.conditions]
    assert names == [Ablated] * len(OTHER_MODES) + [Attentive, InPart, InPart, Claims]
    planted = kept(read, PLANTED)
    values = [condition(planted) * micro.TARGET for condition in strain.conditions]
    plain = loss_of(ablated_logits(read, sets.validation, planted), sets.validation, False)
    failing = [value for value in values if value > micro.TARGET]
    expected = failing[0] if failing else max(values)
    assert max(plain, expected) == pytest.approx(strain(planted), rel=1e-5)
    lost = loss_of(ablated_logits(read, sets.validation, kept(read, BLIND)), sets.validation, False)
    assert lost > micro.TARGET
    assert lost == pytest.approx(strain(kept(read, BLIND)))


def test_what_failed_last_is_asked_first(read: Model, sets: PromptSets, demands: Demands) -> None:
    """With a target that the blind circuit reaches it fails on attention, which moves up."""
    strain = Strain(read, sets, demands, dataclasses.replace(CONFIG, target_loss=0.6))
    strain.conditions = [c for c in strain.conditions if isinstance(c, Claims | Attentive)][::-1]
    assert [type(condition) for condition in strain.conditions] == [Claims, Attentive]
    assert strain(kept(read, BLIND)) > 0.6
    assert [type(condition) for condition in strain.conditions] == [Attentive, Claims]


def test_an_attack_is_faced_from_then_on(read: Model, sets: PromptSets, demands: Demands) -> None:
    """Outside an empty circuit it finds what breaks it, outside the planted one it does not."""
    strain = Strain(read, sets, Demands(Adversary(read, 0), demands.text), CONFIG)
    strain.conditions = []
    assert strain.attack(kept(read, {}))
    assert not strain.attack(kept(read, PLANTED))
    assert [type(condition) for condition in strain.conditions] == [InPart, InPart]
    assert max(condition(kept(read, {})) for condition in strain.conditions) > 1


def test_a_broken_cut_grows_back_no_further_than_it_must(read: Model, sets: PromptSets) -> None:
    """Of the cuts on the way down, the smallest that no attack breaks; none if all break."""
    search = Search(read, 0, Wanted(TASK, CONFIG), sets)
    whole = {key: torch.ones(w, dtype=torch.bool) for key, w in search.mask.widths.items()}
    mode = [whole, kept(read, PLANTED), kept(read, BLIND), kept(read, {})]
    cuts = [Cut(masks, sum(int(mask.sum()) for mask in masks.values()), 0.0) for masks in mode]
    assert cuts[1] == search._standing(cuts)
    assert search._standing(cuts[2:]) is None


def test_a_robust_circuit_stands_all_conditions(read: Model, sets: PromptSets) -> None:
    """It reaches the target under mean ablation and holds under everything else."""
    config = dataclasses.replace(CONFIG, prompts=320, stages=1)
    circuit = prune(read, TASK, config, sets=sets, quiet=True)
    masks = masks_of(read.network, circuit.nodes)
    for mode in OTHER_MODES:
        logits = ablated(read, sets.validation, masks, mode, 0, read.network)
        assert loss_of(logits, sets.validation, False) <= MARK
    assert Attentive(read, sets.validation)(masks) <= 1
    text = ForeignText.of(read, sets).to_choose_on
    assert Claims(read, sets.validation, text, False)(masks) <= 1
    assert circuit.losses["validation"] <= micro.TARGET
    assert circuit.settings["robust"] is True


def test_every_kind_has_a_head_of_its_own(read: Model, sets: PromptSets) -> None:
    """After the first step only that kind's calibration has moved."""
    config = dataclasses.replace(CONFIG, calibrate=True)
    search = Search(read, 0, Wanted(TASK, config), sets)
    step_together(read, [search])
    moved = {kind for kind, head in search.heads.items() if head.log_scale != 0}
    assert {STRESS[0]} == moved
    assert set(STRESS) == set(search.heads)


def test_a_robust_search_sees_more_prompts() -> None:
    """Three times as many steps under all stress, fewer under less; the worst only on request."""
    assert set(STRESS) - set(PruneConfig().stress) == {"worst"}
    assert 3 * dataclasses.replace(CONFIG, robust=False).steps == CONFIG.steps
    assert CONFIG.steps > dataclasses.replace(CONFIG, stress=("zero",)).steps > CONFIG.steps / 3


def test_a_part_of_the_stress(read: Model, sets: PromptSets) -> None:
    """A circuit is asked for what was chosen, and for mean ablation always."""
    config = dataclasses.replace(CONFIG, stress=("zero", "subset"), prompts=320, stages=1)
    search = Search(read, 0, Wanted(TASK, config), sets)
    assert ("mean", "zero", "subset") == search.kinds
    assert search.strain is not None
    assert [Ablated, InPart] == [type(c) for c in search.strain.conditions]
    assert search.strain.mended is None
    assert not search.strain.opposed
    assert ("attention", "worst") == turns(("attention", "worst"))
    circuit = prune(read, TASK, config, sets=sets, quiet=True)
    assert circuit.losses["validation"] <= micro.TARGET


@pytest.mark.parametrize("stress", [(), ("zero", "zero")])
def test_stress_that_there_is_not(stress: tuple[Stress, ...]) -> None:
    """The message has the kinds there are."""
    with pytest.raises(ConfigError, match=r"some of attention, .* natural, each once"):
        dataclasses.replace(CONFIG, stress=stress)


def test_settings_come_back() -> None:
    """Through JSON, from circuits with settings of later or earlier versions too."""
    saved = json.loads(json.dumps(CONFIG.settings() | {"seconds": 3.0}))
    assert CONFIG == PruneConfig.of(saved)
    del saved["stress"]
    assert PruneConfig().stress == PruneConfig.of(saved).stress
