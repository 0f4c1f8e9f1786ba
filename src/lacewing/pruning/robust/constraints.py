"""What a robust cut has to hold under: one number per condition, at most its limit.

Every condition is (masks) -> value. They are those of the suite (`faith`), on prompts and text that
no circuit is judged on, each with a limit that leaves some room to the suite's mark, because cuts
are chosen on few prompts and judged on others. Losses are after a calibration that is best for that
very ablation, if the circuit is to be calibrated at all.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lacewing.ablation.attention import Head, kept_heads, patterns, read_by
from lacewing.ablation.calibration import fit, loss_of
from lacewing.ablation.claims import ROUNDING, claims, log_odds
from lacewing.ablation.compiled import QKV
from lacewing.ablation.masks import Masks, filling, nodes_of
from lacewing.ablation.modes import Way, ablated
from lacewing.ablation.run import ablated_logits
from lacewing.ablation.worst_subset import worst_subset
from lacewing.circuit.calibration import calibrated
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets
from lacewing.model.hooks import edit, record
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.pruning.reachability import connected
from lacewing.pruning.robust.foreign_text import ForeignText
from lacewing.pruning.robust.losses import Demands
from lacewing.tasks.batch import Prompts

MARK = 0.25
"""Nats a cut may have at most under other ablations than the mean: below half of chance (0.347)
with some room."""
CLAIMED = 0.03
"""Share of foreign positions that it may claim."""
MOVED = 0.22
"""Share of a kept head's attention that may lie elsewhere."""
PAIRS = 128
"""Pairs that the others than mean ablation are measured on."""
OTHER_WAYS: tuple[Way, ...] = ("zero", "frozen", "resample")

Condition = Callable[[Masks], float]


@dataclass(frozen=True)
class Ablated:
    """The loss under another ablation than the mean, over `MARK`."""

    model: Model
    prompts: Prompts
    way: Way
    calibrate: bool

    def __call__(self, masks: Masks) -> float:
        """Of a cut."""
        logits = ablated(self.model, self.prompts, masks, self.way, 0, self.model.network)
        return loss_of(logits, self.prompts, self.calibrate) / MARK


@dataclass(frozen=True)
class InPart:
    """The loss while a part of the rest runs, over `MARK`: a random half, or the adversary's."""

    model: Model
    prompts: Prompts
    spare: Callable[[Masks], Masks]
    """What runs, given the circuit."""
    calibrate: bool

    def __call__(self, masks: Masks) -> float:
        """Of a cut."""
        logits = ablated_logits(self.model, self.prompts, self.spare(masks))
        return loss_of(logits, self.prompts, self.calibrate) / MARK


class Attentive:
    """How much of a kept head's attention lies elsewhere than in the full model, over `MOVED`.

    The head that differs most counts.
    """

    def __init__(self, model: Model, prompts: Prompts) -> None:
        config = model.network.config
        self.model, self.prompts = model, prompts
        heads = [(i, n) for i in range(config.n_layer) for n in range(config.n_head)]
        self.full = self._patterns(heads)

    def __call__(self, masks: Masks) -> float:
        """Of a cut."""
        return max(self.moved(masks).values(), default=0.0) / MOVED

    def moved(self, masks: Masks) -> dict[Head, float]:
        """Of every kept head, the share of its attention that lies elsewhere."""
        nodes = nodes_of(masks)
        heads = kept_heads(nodes, self.model.network.config.d_head)
        with edit(self.model.network, filling(masks, self.model.means)):
            found = self._patterns(heads)
        return {h: float((self.full[h] - found[h]).abs().sum(1).mean()) / 2 for h in heads}

    def without_strays(self, masks: Masks) -> Masks:
        """A cut without the heads that look elsewhere: with them it could not hold."""
        size, masks = self.model.network.config.d_head, dict(masks)
        for (layer, place), share in self.moved(masks).items():
            for site in QKV if share > MOVED else ():
                kept = masks[f"{layer}.{site}"].clone()
                kept[place * size : (place + 1) * size] = False
                masks[f"{layer}.{site}"] = kept
        return connected(self.model.network, masks)

    @torch.no_grad()
    def _patterns(self, heads: Sequence[Head]) -> dict[Head, Tensor]:
        prompts, network = self.prompts, self.model.network
        with record(network, read_by(heads)) as seen:
            network(prompts.tokens, at=prompts.last)
        return patterns(network, seen, prompts.last, heads)


@dataclass(frozen=True)
class Claims:
    """The share of foreign positions claimed as strongly as the middle prompt, over `CLAIMED`."""

    model: Model
    prompts: Prompts
    text: ForeignText
    calibrate: bool

    def __call__(self, masks: Masks) -> float:
        """Of a cut."""
        model, answers = self.model, self.text.answers
        logits = ablated_logits(model, self.prompts, masks)
        calibration = fit(logits, self.prompts) if self.calibrate else None
        own = log_odds(calibrated(logits, calibration), answers).median()
        odds = claims(
            model.network, self.text.tokens, answers, masks, calibration, dict(model.means)
        )
        claimed = odds[self.text.foreign] >= own - ROUNDING
        return float(claimed.float().mean()) / CLAIMED if len(claimed) else 0.0


class Strain:
    """The loss of a cut under mean ablation, or what it would be if that were its worst."""

    def __init__(
        self, model: Model, sets: PromptSets, demands: Demands, config: PruneConfig
    ) -> None:
        """What the cuts of one search have to stand.

        Args:
            model: The model.
            sets: Its validation prompts decide.
            demands: The adversary, whose present subset counts, and text outside the task.
            config: The target, and whether logits are calibrated.
        """
        few = sets.validation.take(range(min(PAIRS, len(sets.validation))))
        self.model, self.sets, self.demands, self.config = model, sets, demands, config
        self.few, self.attacks = few, 0
        ask = {kind: getattr(self, f"_{kind}") for kind in config.stress if kind not in OTHER_WAYS}
        others = [way for way in OTHER_WAYS if way in config.stress]
        self.conditions: list[Condition] = [
            *(Ablated(model, few, way, config.calibrate) for way in others),
            *(ask[kind]() for kind in ("attention", "worst", "subset", "natural") if kind in ask),
        ]

    @property
    def opposed(self) -> bool:
        """Whether cuts have an adversary, who attacks them too."""
        return "worst" in self.config.stress

    @property
    def mended(self) -> Callable[[Masks], Masks] | None:
        """What a cut's masks go through before it is measured."""
        found = [c for c in self.conditions if isinstance(c, Attentive)]
        return found[0].without_strays if found else None

    def _attention(self) -> Condition:
        return Attentive(self.model, self.few)

    def _worst(self) -> Condition:
        return self._in_part(self.demands.adversary.spare)

    def _subset(self) -> Condition:
        return self._in_part(functools.partial(_joined, _half(self.model, self.config.seed)))

    def _natural(self) -> Condition:
        assert self.demands.text
        text = self.demands.text.to_choose_on
        return Claims(self.model, self.few, text, self.config.calibrate)

    def _in_part(self, spare: Callable[[Masks], Masks]) -> Condition:
        return InPart(self.model, self.few, spare, self.config.calibrate)

    def attack(self, masks: Masks, starts: int = 1) -> bool:
        """Search for the worst subset outside a cut, and face it from now on; whether it breaks.

        The adversary goes on from there. The search is that of the suite, from other starts.
        """
        nodes = nodes_of(masks)
        self.attacks += 1
        seed = self.config.seed + self.attacks
        known = self.sets.train, self.sets.validation
        running = worst_subset(self.model, nodes, *known, seed, starts=starts)
        self.demands.adversary.start_at(running)
        faced = self._in_part(functools.partial(_joined, running))
        self.conditions.insert(0, faced)
        return faced(masks) > 1

    def __call__(self, masks: Masks) -> float:
        """At most the target if and only if mean ablation reaches it and every condition holds.

        The first condition that fails ends the measurement, and is asked first the next time: cuts
        that are tried one after the other mostly fail alike.
        """
        target = self.config.target_loss
        logits = ablated_logits(self.model, self.sets.validation, masks)
        worst = loss_of(logits, self.sets.validation, self.config.calibrate)
        for condition in [] if worst > target else list(self.conditions):
            value = condition(masks) * target
            worst = max(worst, value)
            if value > target:
                self.conditions.remove(condition)
                self.conditions.insert(0, condition)
                break
        return worst


def _half(model: Model, seed: int) -> Masks:
    """A random half of all nodes."""
    generator = np.random.default_rng(seed)
    return {
        key: torch.from_numpy(generator.random(width) < 0.5)
        for key, width in site_widths(model.network.config).items()
    }


def _joined(running: Masks, kept: Masks) -> Masks:
    return {key: mask | running[key] for key, mask in kept.items()}
