"""What a robust selection has to hold under: each constraint measures a value, and has a limit.

They are those of the suite (`verification`), on prompts and text that no circuit is judged on, each
with a limit that leaves some room to the suite's threshold, because selections are made on few
prompts and judged on others. Losses are after a calibration that is best for that very ablation, if
the circuit is to be calibrated at all.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from lacewing.ablation.attention import kept_heads, patterns, read_by
from lacewing.ablation.calibration import fit, loss_of
from lacewing.ablation.claims import ROUNDING, claims, log_odds
from lacewing.ablation.masks import Masks, nodes_of, replacing
from lacewing.ablation.modes import AblationMode, ablated
from lacewing.ablation.prefix_run import Batch
from lacewing.ablation.run import ablated_logits
from lacewing.ablation.worst_subset import worst_subset
from lacewing.circuit.calibration import calibrated
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets
from lacewing.model.hooks import ablate, record
from lacewing.model.protocol import Head, key_head
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.model.weights import QKV
from lacewing.pruning.reachability import reachable
from lacewing.pruning.robust.foreign_text import ForeignText
from lacewing.pruning.robust.losses import RobustInputs
from lacewing.tasks.batch import Prompts

LOSS = 0.25
"""Nats a selection may have at most under other ablations than the mean: below half of chance
(0.347) with some room."""
CLAIMED = 0.03
"""Share of foreign positions that it may claim."""
MOVED = 0.22
"""Share of a kept head's attention that may lie elsewhere."""
PAIRS = 128
"""Pairs that the others than mean ablation are measured on."""
OTHER_MODES: tuple[AblationMode, ...] = ("zero", "frozen", "resample")


@runtime_checkable
class Constraint(Protocol):
    """A number that is measured of a selection, and its largest value that holds."""

    @property
    def limit(self) -> float:
        """The largest value that holds, in the unit of the value."""

    def value(self, masks: Masks) -> float:
        """Measure a selection."""


def holds(constraint: Constraint, masks: Masks) -> bool:
    """Whether a selection is within a constraint's limit."""
    return constraint.value(masks) <= constraint.limit


@dataclass(frozen=True)
class OtherAblation:
    """The loss under another ablation than the mean, in nats."""

    model: Model
    prompts: Prompts
    mode: AblationMode
    calibrate: bool
    limit: float = LOSS

    def value(self, masks: Masks) -> float:
        """The loss of a selection."""
        logits = ablated(self.model, self.prompts, masks, self.mode, 0, self.model.network)
        return loss_of(logits, self.prompts, self.calibrate)


@dataclass(frozen=True)
class RestInPart:
    """The loss while a part of the rest runs, in nats: a random half, or the adversary's choice."""

    model: Model
    prompts: Prompts
    spare: Callable[[Masks], Masks]
    """What runs, given the circuit."""
    calibrate: bool
    limit: float = LOSS

    def value(self, masks: Masks) -> float:
        """The loss of a selection."""
        logits = ablated_logits(self.model, self.prompts, self.spare(masks))
        return loss_of(logits, self.prompts, self.calibrate)


class AttentionMoved:
    """The share of a kept head's attention that lies elsewhere than in the full model.

    The head that differs most counts.
    """

    limit = MOVED

    def __init__(self, model: Model, prompts: Prompts) -> None:
        config = model.network.config
        self.model, self.prompts = model, prompts
        self.batch = Batch.of(model.network, [prompts])
        heads = [(i, n) for i in range(config.n_layer) for n in range(config.n_head)]
        self.full = self._patterns(heads)

    def value(self, masks: Masks) -> float:
        """The share of the kept head that differs most."""
        return max(self.moved(masks).values(), default=0.0)

    def moved(self, masks: Masks) -> dict[Head, float]:
        """Of every kept head, the share of its attention that lies elsewhere."""
        nodes = nodes_of(masks)
        heads = kept_heads(nodes, self.model.network.config)
        with ablate(self.model.network, replacing(masks, self.model.means)):
            found = self._patterns(heads)
        return {h: float((self.full[h] - found[h]).abs().sum(1).mean()) / 2 for h in heads}

    def without_strays(self, masks: Masks) -> Masks:
        """A selection without the heads that look elsewhere: with them it could not hold."""
        config, masks = self.model.network.config, dict(masks)
        size = config.d_head
        for (layer, place), share in self.moved(masks).items():
            for site in QKV if share > MOVED else ():
                kept = masks[f"{layer}.{site}"].clone()
                at = place if site == "attn_q" else key_head(config, place)
                kept[at * size : (at + 1) * size] = False
                masks[f"{layer}.{site}"] = kept
        return reachable(self.model.network, masks)

    @torch.no_grad()
    def _patterns(self, heads: Sequence[Head]) -> dict[Head, Tensor]:
        network = self.model.network
        with record(network, read_by(heads)) as seen:
            self.batch.logits()
        rows = {key: self.batch.by_sequence(value) for key, value in seen.items()}
        return patterns(network, rows, self.prompts.last, heads)


@dataclass(frozen=True)
class ForeignClaims:
    """The share of foreign positions claimed as strongly as the middle prompt."""

    model: Model
    prompts: Prompts
    text: ForeignText
    calibrate: bool
    limit: float = CLAIMED

    def value(self, masks: Masks) -> float:
        """The share that a selection claims."""
        model, answers = self.model, self.text.answers
        logits = ablated_logits(model, self.prompts, masks)
        calibration = fit(logits, self.prompts) if self.calibrate else None
        own = log_odds(calibrated(logits, calibration), answers).median()
        odds = claims(model.network, self.text.tokens, answers, masks, calibration, model.means)
        claimed = odds[self.text.foreign] >= own - ROUNDING
        return float(claimed.float().mean()) if len(claimed) else 0.0


class RobustTarget:
    """The target loss under mean ablation, and every constraint of a robust search."""

    def __init__(
        self, model: Model, sets: PromptSets, inputs: RobustInputs, config: PruneConfig
    ) -> None:
        """What the selections of one search have to reach.

        Args:
            model: The model.
            sets: Its validation prompts decide.
            inputs: The adversary, whose present subset counts, and text outside the task.
            config: The target loss, the constraints, and whether logits are calibrated.
        """
        few = sets.validation.first(PAIRS)
        self.model, self.sets, self.inputs, self.config = model, sets, inputs, config
        self.few = few
        self.subsets: list[Masks] = []
        """What ran when the circuit was attacked, once for each attack."""
        asked = config.constraints
        made = {name: getattr(self, f"_{name}") for name in asked if name not in OTHER_MODES}
        others = [mode for mode in OTHER_MODES if mode in asked]
        self.constraints: list[Constraint] = [
            *(OtherAblation(model, few, mode, config.calibrate) for mode in others),
            *(made[name]() for name in ("attention", "worst", "subset", "natural") if name in made),
        ]

    @property
    def opposed(self) -> bool:
        """Whether selections have an adversary, who attacks them too."""
        return "worst" in self.config.constraints

    @property
    def mended(self) -> Callable[[Masks], Masks] | None:
        """What the masks of a selection go through before it is measured."""
        found = [c for c in self.constraints if isinstance(c, AttentionMoved)]
        return found[0].without_strays if found else None

    def _attention(self) -> Constraint:
        return AttentionMoved(self.model, self.few)

    def _worst(self) -> Constraint:
        return self._rest_in_part(self.inputs.adversary.spare)

    def _subset(self) -> Constraint:
        return self._rest_in_part(functools.partial(_joined, _half(self.model, self.config.seed)))

    def _natural(self) -> Constraint:
        assert self.inputs.text
        text = self.inputs.text.to_choose_on
        return ForeignClaims(self.model, self.few, text, self.config.calibrate)

    def _rest_in_part(self, spare: Callable[[Masks], Masks]) -> Constraint:
        return RestInPart(self.model, self.few, spare, self.config.calibrate)

    def attack(self, masks: Masks, starts: int = 1) -> bool:
        """Search for the worst subset outside a selection; whether it breaks the selection.

        From now on that subset is a constraint, and the adversary goes on from there. The search
        is that of the suite, from other starts.
        """
        nodes = nodes_of(masks)
        seed = self.config.seed + len(self.subsets) + 1
        known = self.sets.train, self.sets.validation
        running = worst_subset(self.model, nodes, *known, seed, starts=starts)
        self.inputs.adversary.start_at(running)
        return not holds(self.also(running), masks)

    def also(self, running: Masks) -> Constraint:
        """From now on a selection has to hold while these nodes run; the new constraint."""
        self.subsets.append(running)
        found = self._rest_in_part(functools.partial(_joined, running))
        self.constraints.insert(0, found)
        return found

    def reaches(self, masks: Masks) -> bool:
        """Whether mean ablation reaches the target loss and every constraint holds.

        The first constraint that fails ends the measurement, and is asked first the next time:
        selections that are tried one after the other mostly fail alike.
        """
        logits = ablated_logits(self.model, self.sets.validation, masks)
        loss = loss_of(logits, self.sets.validation, self.config.calibrate)
        if loss > self.config.chosen_at:
            return False
        for constraint in list(self.constraints):
            if not holds(constraint, masks):
                self.constraints.remove(constraint)
                self.constraints.insert(0, constraint)
                return False
        return True


def _half(model: Model, seed: int) -> Masks:
    """A random half of all nodes."""
    generator = np.random.default_rng(seed)
    return {
        key: torch.from_numpy(generator.random(width) < 0.5)
        for key, width in site_widths(model.network.config).items()
    }


def _joined(running: Masks, kept: Masks) -> Masks:
    return {key: mask | running[key] for key, mask in kept.items()}
