"""Searching for circuits: masks learned along a path of rising penalties, several at a time."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lacewing.ablation.attribution import node_rises
from lacewing.ablation.calibration import loss_of
from lacewing.ablation.learning_maps import learning_maps
from lacewing.ablation.masks import Masks, masks_of
from lacewing.ablation.node_mask import NodeMask
from lacewing.ablation.run import ablated_logits, ablated_loss
from lacewing.ablation.worst_subset import STARTS
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.edges import Nodes
from lacewing.circuit.prompts import PromptSets, prompt_sets
from lacewing.errors import DataError
from lacewing.model.registry import SPLICED
from lacewing.model.sites import site_widths
from lacewing.model.store import Model, what_is_left
from lacewing.pruning.learned_calibration import LearnedCalibration
from lacewing.pruning.mask_learning import (
    STILL,
    Pressure,
    drawn,
    follow,
    gradients,
    mask_optimizer,
    penalty_at,
)
from lacewing.pruning.node_elimination import eliminate_nodes
from lacewing.pruning.robust.adversary import Adversary
from lacewing.pruning.robust.constraints import RobustTarget
from lacewing.pruning.robust.foreign_text import ForeignText
from lacewing.pruning.robust.losses import PLAIN, Asked, RobustInputs, rotation
from lacewing.pruning.selection import Selection, Target, TargetLoss, smallest_selection
from lacewing.pruning.state import State
from lacewing.tasks.batch import Prompts
from lacewing.tasks.task import Task

ATTACKS, ELIMINATIONS = 4, 2
"""How often a robust selection that an attack breaks is made again, and how often nodes are
eliminated again."""
NO_NODE = np.zeros(0, dtype=np.int32)
RANKED = 64
"""Pairs that nodes are ranked on; what goes is decided on all."""
RANKED_OPEN, TRIES_OPEN = 24, 64
"""The same in open models, other pairs each time, and runs of nodes tried there at the end: a
selection takes seconds to measure, and a choice of a hundred thousand nodes learns by heart the
pairs that it is made on, so those that decide do not rank."""


@dataclass(frozen=True)
class Wanted:
    """One circuit to be found."""

    task: Task
    config: PruneConfig = field(default_factory=PruneConfig)
    sets: PromptSets | None = None
    """The prompts, where they are already made; by default from the model's corpus."""
    anyway: bool = False
    """Search even where the full model misses the target."""
    forbidden: Nodes | None = None
    """Nodes that may not be kept."""
    state: State = field(default_factory=State)
    """Where the work on the way is kept; by default nowhere."""
    nodes: State | None = None
    """Where the end of the search for nodes is kept, for one of the same nodes that prunes edges
    too."""


class Search:
    """One mask on its way: where it stands on its path, and the smallest selection so far."""

    def __init__(self, model: Model, number: int, wanted: Wanted, sets: PromptSets) -> None:
        config = wanted.config
        self.number, self.wanted, self.sets = number, wanted, sets
        self.step = 0
        wanted.state.start()
        self.mask = _start(model, wanted)
        self.generator = torch.Generator().manual_seed(config.seed)
        foreign = model.is_foreign
        self.pressure = Pressure(config.chosen_at, config.penalty_from) if foreign else None
        self.maps = learning_maps(model.network, model.means)
        self.optimizer = mask_optimizer(self.mask, config, STILL if foreign else 1e-8)
        vocab = model.network.config.vocab_size
        self.constraints = rotation(config.constraints) if config.robust else (PLAIN,)
        calibrated = self.constraints if config.calibrate else ()
        self.calibrations = {asked: LearnedCalibration(vocab) for asked in calibrated}
        self.robust = self._robust(model) if config.robust else None
        plain = TargetLoss(model, sets.validation, config.chosen_at, config.calibrate)
        self.target: Target = self.robust or plain
        points = np.linspace(config.steps / 2, config.steps, config.stages)
        self.stages = {round(point) for point in points}
        self.rankings: list[Tensor] = []
        """tau at the stages that were passed."""
        self.best: Selection | None = None
        """The smallest selection of all stages."""
        self.selected: Selection | None = None
        """The same without the nodes it can do without."""

    @classmethod
    def begin(cls, model: Model, number: int, wanted: Wanted) -> "Search | DataError":
        """Start a search, if the full model does the task and no node at all does not."""
        config, name = wanted.config, wanted.task.name
        try:
            sets = wanted.sets or prompt_sets(model, wanted.task, config)
        except DataError as error:
            return error
        try:
            if not wanted.anyway:
                check_there_is_a_circuit(model, name, config, sets.validation)
            return cls(model, number, wanted, sets)
        except DataError as error:  # such as: no text outside the task
            return error

    def asked_for(self, model: Model, config: PruneConfig) -> "Search":
        """The same walked path, to be asked for a circuit at another target loss.

        Only where the mask learns alike for every target: in a model of ours, and not `robust`.
        """
        assert self.robust is None
        assert self.pressure is None
        other = copy.copy(self)
        # What it took is the walk, and what the other takes from now on.
        state = State(earlier=self.wanted.state.earlier)
        other.wanted = replace(self.wanted, config=config, state=state)
        other.target = TargetLoss(model, self.sets.validation, config.chosen_at, config.calibrate)
        other.best = other.selected = None
        return other

    @property
    def penalty(self) -> float:
        """The cost of a kept node in the next step."""
        if self.pressure:
            return self.pressure.cost
        return penalty_at(self.wanted.config, self.step)

    @property
    def ended(self) -> bool:
        """Whether the path has been walked to its end."""
        return self.step >= self.wanted.config.steps

    @property
    def inputs(self) -> RobustInputs | None:
        """What the constraints of a robust search are asked with."""
        return self.robust.inputs if self.robust else None

    def draw(self) -> Prompts:
        """The prompts of the next step."""
        return drawn(self.sets.train, self.wanted.config.batch, self.generator)

    @property
    def asked(self) -> Asked:
        """The constraint that the mask learns under in the next step."""
        return self.constraints[self.step % len(self.constraints)]

    @property
    def calibration(self) -> LearnedCalibration | None:
        """The calibration of the next step."""
        return self._calibration(self.asked)

    def _calibration(self, asked: Asked) -> LearnedCalibration | None:
        """The calibration under a constraint; claims on text go by that of mean ablation."""
        mean = "attention" if "attention" in self.constraints else PLAIN
        return self.calibrations.get(mean if asked == "natural" else asked)

    def _robust(self, model: Model) -> RobustTarget:
        config = self.wanted.config
        text = ForeignText.of(model, self.sets) if "natural" in config.constraints else None
        inputs = RobustInputs(Adversary(model, config.seed), text)
        return RobustTarget(model, self.sets, inputs, config)

    def learn(self, model: Model) -> None:
        """Move the mask along its gradient; at a stage, keep where it stands."""
        config = self.wanted.config
        follow(self.mask, self.optimizer, config, self.step / config.steps)
        if self.calibration:
            self.calibration.follow()
        if self.inputs:
            self.inputs.adversary.follow()
        self.step += 1
        if self.step in self.stages:
            self.rankings.append(self.mask.tau.detach().clone())
            if self.robust and self.robust.opposed and (found := self._select(model)):
                self.robust.attack(found.masks)

    def _select(self, model: Model, most: int | None = None) -> Selection | None:
        mended = self.robust.mended if self.robust else None
        return smallest_selection(model, self.mask, self.target, mended, most)

    def select(
        self, model: Model, tell: Callable[[Selection], None] = lambda selection: None
    ) -> Selection | None:
        """The smallest selection of all stages, without the nodes it can do without.

        `tell` is called with every selection on the way.
        """
        if self.selected is None and (best := self.smallest(model, tell)):
            self.selected = self._eliminated(model, best, tell)
        return self.selected

    def smallest(
        self, model: Model, tell: Callable[[Selection], None] = lambda selection: None
    ) -> Selection | None:
        """The smallest selection of all stages; the mask is where it was made.

        The last stage comes first: its selection is mostly the smallest, and then of each earlier
        one a single selection, as large, shows that none of it is smaller.
        """
        ranking = self.mask.tau
        for earlier in reversed(self.rankings):
            with torch.no_grad():
                self.mask.tau.copy_(earlier)
            found = self._select(model, self.best.nodes if self.best else None)
            if found:
                self.best, ranking = found, earlier
                tell(found)
        with torch.no_grad():
            self.mask.tau.copy_(ranking)
        return self.best

    def _eliminated(
        self, model: Model, best: Selection, tell: Callable[[Selection], None]
    ) -> Selection:
        """A selection without the nodes it can do without.

        One that is to hold under the worst subset is attacked again. Where that breaks it, nodes
        are eliminated anew from the smallest on the way that it does not break; what broke it is a
        constraint from then on.
        """
        if not self.robust:
            if model.is_foreign:
                fresh = partial(_loss_rises_anew, model, _in_turn(self.sets.train, RANKED_OPEN))
                return eliminate_nodes(
                    model, best, self.target, fresh, tell, TRIES_OPEN, coarse=True
                )
            few = self.sets.validation.first(RANKED)
            rises = partial(_loss_rises, model, few)
            return eliminate_nodes(model, best, self.target, rises, tell)
        whole = self._held(model) if self.robust.opposed else best
        for _ in range(ELIMINATIONS):
            way = self._way_down(model, whole, tell)
            if not (self.robust.opposed and self.robust.attack(way[-1].masks, STARTS)):
                return way[-1]
            whole = self._standing(way) or self._held(model)
        return whole

    def _way_down(
        self, model: Model, whole: Selection, tell: Callable[[Selection], None]
    ) -> list[Selection]:
        """A robust selection, and the smaller ones that elimination finds on its way down."""
        way = [whole]

        def keep(selection: Selection) -> None:
            way.append(selection)
            tell(selection)

        eliminate_nodes(model, whole, self.target, partial(self._robust_rises, model), keep)
        return way

    def _standing(self, way: Sequence[Selection]) -> Selection | None:
        """The smallest selection on the way that an attack does not break.

        Found by bisection, as if more nodes held under more.
        """
        assert self.robust
        found = None
        low, high = 0, len(way)  # before `low` all hold, from `high` on none does
        while low < high:
            middle = (low + high) // 2
            holds = self.robust.reaches(way[middle].masks)
            if holds and not self.robust.attack(way[middle].masks, STARTS):
                found, low = way[middle], middle + 1
            else:
                high = middle
        return found

    def _held(self, model: Model) -> Selection:
        """A selection that an attack does not break, or the last of some."""
        assert self.robust
        assert self.best
        for _ in range(ATTACKS):
            self.best = self._select(model) or self.best
            if not self.robust.attack(self.best.masks, STARTS):
                break
        return self.best

    def _robust_rises(self, model: Model, masks: Masks) -> dict[str, Tensor]:
        """What a selection's losses under all constraints would rise by without each node."""
        assert self.inputs
        on = torch.cat(list(masks.values()))
        mask = NodeMask(self.mask.widths, model.means, on.float() - 0.5, self.mask.temperature)
        few = self.sets.train.first(RANKED)
        for asked in self.constraints:
            calibration = self._calibration(asked)
            random = torch.Generator().manual_seed(self.wanted.config.seed)
            inputs = [self.inputs]
            gradients(model.network, [mask], [few], [0.0], [calibration], asked, random, inputs)
            if calibration:
                calibration.optimizer.zero_grad()
        self.inputs.adversary.optimizer.zero_grad()
        assert mask.tau.grad is not None
        return mask.by_site(-mask.tau.grad)


def _loss_rises(model: Model, prompts: Prompts, masks: Masks) -> dict[str, Tensor]:
    """What the task loss under mean ablation would rise by without each node."""
    return node_rises(model.network, masks, model.means, prompts)


def _in_turn(prompts: Prompts, count: int) -> Iterator[Prompts]:
    """Some pairs after the other, from the first on again when all have been."""
    start, every = 0, len(prompts)
    while True:
        yield prompts.take([(start + i) % every for i in range(min(count, every))])
        start += count


def _loss_rises_anew(model: Model, turns: Iterator[Prompts], masks: Masks) -> dict[str, Tensor]:
    """What the task loss would rise by without each node, on pairs of its own each time."""
    return _loss_rises(model, next(turns), masks)


def step_together(model: Model, searches: Sequence[Search]) -> str:
    """One step of every search, as one batch; what there is to say of it."""
    reached = []
    for asked in dict.fromkeys(search.asked for search in searches):
        alike = [search for search in searches if search.asked == asked]
        batches = [search.draw() for search in alike]
        penalties = [search.penalty for search in alike]
        masks, calibrations = [s.mask for s in alike], [s.calibration for s in alike]
        random, inputs = alike[0].generator, [s.inputs for s in alike if s.inputs]
        given = calibrations, asked, random, inputs, alike[0].maps
        found = gradients(model.network, masks, batches, penalties, *given)
        for search, loss in zip(alike, found, strict=True):
            if search.pressure:
                search.pressure.follow(loss, search.step / search.wanted.config.steps)
        reached += found
    for search in searches:
        search.learn(model)
    on = ", ".join(str(int((s.mask.tau > 0).sum())) for s in searches)
    return f"loss {', '.join(f'{loss:.3f}' for loss in reached)}, {on} nodes on"


def check_there_is_a_circuit(
    model: Model, name: str, config: PruneConfig, prompts: Prompts
) -> None:
    """Refuse a task that all nodes together do not do, and one that takes no node at all.

    Raises:
        DataError: saying which.
    """
    full = float(ablated_loss(model, prompts, None).mean())
    if full > config.chosen_at:
        raise DataError(
            f"the full model's loss on {name} is {full:.3f} nats on validation prompts, "
            f"above the target {config.chosen_at:g}: the model has not learned this task "
            "well enough; raise --target-loss or take another task or model"
        )
    nothing = masks_of(model.network, dict.fromkeys(site_widths(model.network.config), NO_NODE))
    alone = loss_of(ablated_logits(model, prompts, nothing), prompts, config.calibrate)
    if alone <= config.chosen_at:
        left = what_is_left(model)
        raise DataError(f"no circuit: {left} alone gives {alone:.3f}; {_instead(model)}")


def _instead(model: Model) -> str:
    """What to do where no node is needed."""
    if model.source.startswith(SPLICED):
        return "sites without an autoencoder run freely, so train autoencoders at more of them"
    return "use pairs with the same last token"


def _start(model: Model, wanted: Wanted) -> NodeMask:
    config, widths = wanted.config, site_widths(model.network.config)
    generator = torch.Generator().manual_seed(config.seed)
    noise = torch.randn(sum(widths.values()), generator=generator)
    init = config.init_bias + config.init_noise * noise
    forbidden = None
    if wanted.forbidden is not None:
        forbidden = torch.cat(list(masks_of(model.network, wanted.forbidden).values()))
    return NodeMask(widths, model.means, init, config.temperature, forbidden)
