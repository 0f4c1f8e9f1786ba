"""Searching for circuits: masks learned along a path of rising penalties, several at a time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lacewing.ablation.limit import loss_within
from lacewing.ablation.masks import Masks, masks_of
from lacewing.ablation.node_mask import Mask, NodeMask
from lacewing.ablation.run import ablated_loss, logits_in_pieces
from lacewing.ablation.worst_subset import STARTS
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.edges import Nodes
from lacewing.circuit.prompts import PromptSets, prompt_sets
from lacewing.errors import DataError
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.model.transformer import Transformer
from lacewing.pruning.learned_calibration import Head
from lacewing.pruning.node_elimination import RANKED, thin
from lacewing.pruning.robust.adversary import Adversary
from lacewing.pruning.robust.constraints import Strain
from lacewing.pruning.robust.foreign_text import ForeignText
from lacewing.pruning.robust.losses import PLAIN, Demands, Kind, Turn, losses, turns
from lacewing.pruning.selection import Cut, bisect, mean
from lacewing.tasks.batch import Prompts
from lacewing.tasks.task import Task

ATTACKS, THINNINGS = 4, 2
"""How often a robust cut that an attack breaks is made again, and how often it is thinned again."""


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


class Search:
    """One mask on its way: where it stands on its path, and the smallest cut so far."""

    def __init__(self, model: Model, number: int, wanted: Wanted, sets: PromptSets) -> None:
        config = wanted.config
        self.number, self.wanted, self.sets = number, wanted, sets
        self.began, self.step = time.monotonic(), 0
        self.mask = _start(model, wanted)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.optimizer = mask_optimizer(self.mask, config)
        vocab = model.network.config.vocab_size
        self.kinds = turns(config.stress) if config.robust else (PLAIN,)
        self.heads = {kind: Head(vocab) for kind in self.kinds} if config.calibrate else {}
        self.strain = self._strain(model) if config.robust else None
        self.demands = self.strain.demands if self.strain else None
        self.measure = self.strain or self._measure(model)
        points = np.linspace(config.steps / 2, config.steps, config.stages)
        self.stages = {round(point) for point in points}
        self.rankings: list[Tensor] = []
        """tau at the stages that were passed."""
        self.best: Cut | None = None

    @classmethod
    def begin(cls, model: Model, number: int, wanted: Wanted) -> "Search | DataError":
        """Start a search, if the full model does the task."""
        config, name = wanted.config, wanted.task.name
        try:
            sets = wanted.sets or prompt_sets(model, wanted.task, config)
        except DataError as error:
            return error
        full = 0.0 if wanted.anyway else mean(ablated_loss(model, sets.validation, None))
        if full > config.target_loss:
            return DataError(
                f"the full model's loss on {name} is {full:.3f} nats on validation prompts, "
                f"above the target {config.target_loss:g}: the model has not learned this task "
                "well enough; raise --target-loss or take another task or model"
            )
        try:
            return cls(model, number, wanted, sets)
        except DataError as error:  # no text outside the task
            return error

    @property
    def ended(self) -> bool:
        """Whether the path has been walked to its end."""
        return self.step >= self.wanted.config.steps

    def draw(self) -> Prompts:
        """The prompts of the next step."""
        return drawn(self.sets.train, self.wanted.config.batch, self.generator)

    @property
    def kind(self) -> Kind:
        """What the mask has to stand in the next step."""
        return self.kinds[self.step % len(self.kinds)]

    @property
    def head(self) -> Head | None:
        """The calibration of the next step."""
        return self._head(self.kind)

    def _head(self, kind: Kind) -> Head | None:
        """Of a kind; what is claimed of text goes by that of the mean."""
        mean = "attention" if "attention" in self.kinds else PLAIN
        return self.heads.get(mean if kind == "natural" else kind)

    def _measure(self, model: Model) -> Callable[[Masks], float]:
        """The loss of a cut on validation prompts: what decides."""
        config, prompts = self.wanted.config, self.sets.validation

        def measure(masks: Masks) -> float:
            pieces = logits_in_pieces(model, prompts, masks)
            return loss_within(config.target_loss, pieces, prompts, config.calibrate)

        return measure

    def _strain(self, model: Model) -> Strain:
        seed = self.wanted.config.seed
        asked = "natural" in self.wanted.config.stress
        text = ForeignText.of(model, self.sets) if asked else None
        return Strain(model, self.sets, Demands(Adversary(model, seed), text), self.wanted.config)

    def learn(self, model: Model) -> None:
        """Move the mask along its gradient; at a stage, keep where it stands."""
        config = self.wanted.config
        follow(self.mask, self.optimizer, config, self.step / config.steps)
        if self.head:
            self.head.follow()
        if self.demands:
            self.demands.adversary.follow()
        self.step += 1
        if self.step in self.stages:
            self.rankings.append(self.mask.tau.detach().clone())
            if self.strain and self.strain.opposed and (found := self._cut(model)):
                self.strain.attack(found.masks)

    def _cut(self, model: Model, most: int | None = None) -> Cut | None:
        mended = self.strain.mended if self.strain else None
        target = self.wanted.config.target_loss
        return bisect(model, self.mask, target, self.measure, mended, most)

    def cut(self, model: Model, tell: Callable[[Cut], None] = lambda cut: None) -> Cut | None:
        """The smallest cut of all stages, without the nodes it can do without.

        `tell` is called with every cut on the way.
        """
        best = self.smallest(model, tell)
        return best and self._thinned(model, best, tell)

    def smallest(self, model: Model, tell: Callable[[Cut], None] = lambda cut: None) -> Cut | None:
        """The smallest cut of all stages; the mask is where it was made.

        The last stage comes first: its cut is mostly the smallest, and then of each earlier one a
        single cut, as large, shows that none of it is smaller.
        """
        ranking = self.mask.tau
        for earlier in reversed(self.rankings):
            with torch.no_grad():
                self.mask.tau.copy_(earlier)
            found = self._cut(model, self.best.nodes if self.best else None)
            if found:
                self.best, ranking = found, earlier
                tell(found)
        with torch.no_grad():
            self.mask.tau.copy_(ranking)
        return self.best

    def _thinned(self, model: Model, best: Cut, tell: Callable[[Cut], None]) -> Cut:
        """A cut without the nodes it can do without.

        One that is to stand the worst is attacked again. Where that breaks it, it is thinned anew
        from the smallest on the way that it does not break; what broke it is faced from then on.
        """
        if not self.strain:
            prompts, target = self.sets.validation, self.wanted.config.target_loss
            return thin(model, best, prompts, target, self.measure, tell=tell)
        whole = self._held(model) if self.strain.opposed else best
        for _ in range(THINNINGS):
            way = self._way_down(model, whole, tell)
            if not (self.strain.opposed and self.strain.attack(way[-1].masks, STARTS)):
                return way[-1]
            whole = self._standing(way) or self._held(model)
        return whole

    def _way_down(self, model: Model, whole: Cut, tell: Callable[[Cut], None]) -> list[Cut]:
        """A robust cut, and the smaller ones that thinning finds on its way down."""
        prompts, target, way = self.sets.validation, self.wanted.config.target_loss, [whole]

        def keep(cut: Cut) -> None:
            way.append(cut)
            tell(cut)

        thin(model, whole, prompts, target, self.measure, partial(self._rises, model), keep)
        return way

    def _standing(self, way: Sequence[Cut]) -> Cut | None:
        """The smallest cut on the way that an attack does not break, if more nodes stand more."""
        assert self.strain
        found = None
        low, high = 0, len(way)  # before `low` all stand, from `high` on none does
        while low < high:
            middle = (low + high) // 2
            stands = self.strain(way[middle].masks) <= self.wanted.config.target_loss
            if stands and not self.strain.attack(way[middle].masks, STARTS):
                found, low = way[middle], middle + 1
            else:
                high = middle
        return found

    def _held(self, model: Model) -> Cut:
        """A cut that an attack does not break, or the last of some."""
        assert self.strain
        assert self.best
        for _ in range(ATTACKS):
            self.best = self._cut(model) or self.best
            if not self.strain.attack(self.best.masks, STARTS):
                break
        return self.best

    def _rises(self, model: Model, masks: Masks) -> dict[str, Tensor]:
        """What a cut's losses under all kinds of stress would rise by without each node."""
        assert self.demands
        on = torch.cat(list(masks.values()))
        mask = NodeMask(self.mask.widths, model.means, on.float() - 0.5, self.mask.temperature)
        few = self.sets.train.take(range(min(RANKED, len(self.sets.train))))
        for kind in self.kinds:
            head = self._head(kind)
            random = torch.Generator().manual_seed(self.wanted.config.seed)
            gradients(model.network, [mask], [few], [0.0], [head], kind, random, [self.demands])
            if head:
                head.optimizer.zero_grad()
        self.demands.adversary.optimizer.zero_grad()
        assert mask.tau.grad is not None
        return mask.by_site(-mask.tau.grad)


def step_together(model: Model, searches: Sequence[Search]) -> str:
    """One step of every search, as one batch; what there is to say of it."""
    reached = []
    for kind in dict.fromkeys(search.kind for search in searches):
        alike = [search for search in searches if search.kind == kind]
        batches = [search.draw() for search in alike]
        penalties = [penalty_at(search.wanted.config, search.step) for search in alike]
        masks, heads = [s.mask for s in alike], [s.head for s in alike]
        random, demands = alike[0].generator, [s.demands for s in alike if s.demands]
        reached += gradients(model.network, masks, batches, penalties, heads, kind, random, demands)
    for search in searches:
        search.learn(model)
    on = ", ".join(str(int((s.mask.tau > 0).sum())) for s in searches)
    return f"loss {', '.join(f'{loss:.3f}' for loss in reached)}, {on} nodes on"


def penalty_at(config: PruneConfig, step: int) -> float:
    """The cost of a kept node at a step: geometric from `penalty_from` to `penalty_to`."""
    way = step / max(1, config.steps - 1)
    return float(config.penalty_from * (config.penalty_to / config.penalty_from) ** way)


def _start(model: Model, wanted: Wanted) -> NodeMask:
    config, widths = wanted.config, site_widths(model.network.config)
    generator = torch.Generator().manual_seed(config.seed)
    noise = torch.randn(sum(widths.values()), generator=generator)
    init = config.init_bias + config.init_noise * noise
    forbidden = None
    if wanted.forbidden is not None:
        forbidden = torch.cat(list(masks_of(model.network, wanted.forbidden).values()))
    return NodeMask(widths, model.means, init, config.temperature, forbidden)


def drawn(prompts: Prompts, batch: int, generator: torch.Generator) -> Prompts:
    """Some pairs by chance, as one step sees them."""
    count = len(prompts)
    return prompts.take(torch.randint(count, (min(batch, count),), generator=generator).tolist())


def gradients(
    network: Transformer,
    masks: Sequence[NodeMask],
    batches: Sequence[Prompts],
    penalties: Sequence[float],
    heads: Sequence[Head | None] = (),
    kind: Kind = "mean",
    generator: torch.Generator | None = None,
    demands: Sequence[Demands] = (),
) -> list[float]:
    """Gradients of masks from a batch of prompts each; the task losses, in nats.

    Args:
        network: The model.
        masks: One per circuit.
        batches: The prompts of each.
        penalties: What a node of each costs.
        heads: Calibrations that are learned with the masks, where they are wanted.
        kind: What the masks have to stand (see `stress`).
        generator: Draws what a kind leaves to chance.
        demands: What the kinds that are no plain ablations ask with.
    """
    random = generator or torch.default_generator
    heads = heads or [None] * len(masks)
    task_losses = losses(kind, Turn(network, masks, batches, heads, demands, random))
    sizes = [penalty * mask.count() for penalty, mask in zip(penalties, masks, strict=True)]
    torch.stack(task_losses + sizes).sum().backward()  # type: ignore[no-untyped-call]
    return [float(loss.detach()) for loss in task_losses]


def mask_optimizer(mask: Mask, config: PruneConfig) -> torch.optim.Optimizer:
    """What moves a mask's tau."""
    return torch.optim.AdamW(
        [mask.tau],
        lr=config.learning_rate,
        betas=(0.9, config.beta2),
        weight_decay=config.weight_decay,
    )


def follow(mask: Mask, optimizer: torch.optim.Optimizer, config: PruneConfig, way: float) -> None:
    """One optimizer step of a mask, its gradient scaled down to an RMS of at most `clip`.

    The learning rate decays along the way, a share from 0 to 1, to a tenth.
    """
    assert mask.tau.grad is not None
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * (1 - 0.9 * way)
    rms = mask.tau.grad.square().mean().sqrt()
    mask.tau.grad.mul_(config.clip / rms.clamp(min=config.clip))
    optimizer.step()
    optimizer.zero_grad()
    mask.clamp_()
