"""The losses that a mask is learned under: one for every constraint, of one shape.

    (turn) -> the loss of every circuit of the batch, in nats

Each constraint has a calibration of its own, learned beside the mask: what all prompts' logits
share under one ablation says nothing of what is known about a prompt.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lacewing.ablation.attention import kept_heads, patterns, read_by
from lacewing.ablation.calibration import fit
from lacewing.ablation.claims import log_odds
from lacewing.ablation.masked_run import masked_logits, runs_masked
from lacewing.ablation.node_mask import NodeMask, edits, gates, steps
from lacewing.ablation.prefix_run import Batch
from lacewing.ablation.prefixes import UniquePrefixes
from lacewing.circuit.calibration import Calibration, calibrated
from lacewing.circuit.config import Constraint
from lacewing.kernels.precision import half_pays
from lacewing.model.hooks import ablate, record
from lacewing.model.protocol import Head, Network, Shape, key_head
from lacewing.model.transformer import Transformer
from lacewing.pruning.learned_calibration import LearnedCalibration
from lacewing.pruning.robust.ablations import CONSTANT, SHARING, Ablations, put_on
from lacewing.pruning.robust.adversary import Adversary, opposed
from lacewing.pruning.robust.foreign_text import ForeignText
from lacewing.tasks.batch import Prompts, joined
from lacewing.tasks.scoring import two_answer_loss

Asked = Literal["mean", Constraint]
"""What a step is learned under: mean ablation alone, or a constraint."""
PLAIN: Asked = "mean"
"""Mean ablation alone."""
MOVED, MOVED_COST = 0.15, 2.0
"""Share of a head's attention that may lie elsewhere for nothing, and nats for all that is more."""
MARGIN = 1.0
"""Nats by which claims on foreign text are pushed below those on a circuit's own prompts."""
LEAST = 0.1
"""Smallest scale while learning under `worst`: with none, nobody would learn anything."""


def rotation(constraints: Sequence[Constraint]) -> tuple[Asked, ...]:
    """What takes turns, one a step; `attention` is mean ablation too."""
    return tuple(constraints) if "attention" in constraints else (PLAIN, *constraints)


@dataclass(frozen=True)
class RobustInputs:
    """What the constraints of one robust search need beside its prompts."""

    adversary: Adversary
    text: ForeignText | None
    """For `natural` alone."""


@dataclass(frozen=True)
class Turn:
    """One step of the masks of a batch."""

    network: Network
    masks: Sequence[NodeMask]
    """One per circuit."""
    batches: Sequence[Prompts]
    """The prompts of each."""
    calibrations: Sequence[LearnedCalibration | None]
    inputs: Sequence[RobustInputs]
    """Of each; constraints that are plain ablations need none."""
    generator: torch.Generator
    """Draws what a constraint leaves to chance."""

    def batch(self, *, sharing: bool = True) -> Batch:
        """All prompts as they run; `sharing` where what they share may run once."""
        return Batch.of(self.network, self.batches, sharing=sharing)

    @property
    def counts(self) -> list[int]:
        """Sequences of each circuit."""
        return [2 * len(batch) for batch in self.batches]

    def whose(self, counts: Sequence[int]) -> Tensor:
        """Which circuit every sequence belongs to."""
        owners = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        return owners.to(self.batches[0].tokens.device)


def losses(asked: Asked, turn: Turn) -> list[Tensor]:
    """The loss of every circuit of a turn under one constraint, with gradients."""
    return LOSSES[asked](turn)


def _ablated(turn: Turn, ablation: Ablations) -> list[Tensor]:
    """Task losses with what is off ablated."""
    if ablation in CONSTANT and runs_masked(turn.network):
        return _task_losses(turn, _masked(turn.network, turn, ablation), joined(turn.batches))
    batch = turn.batch(sharing=ablation in SHARING)
    with ExitStack() as stack:
        stack.enter_context(_precision(batch.circuit.device))
        put_on(stack, batch, turn.masks, ablation, turn.generator)
        logits = batch.logits().float()
    return _task_losses(turn, logits, batch.together)


def _masked(network: Transformer, turn: Turn, ablation: Ablations) -> Tensor:
    """Logits of the quicker pass, one circuit after the other."""
    means, on = turn.masks[0].means, steps(turn.masks)
    fills = {k: torch.zeros_like(m) for k, m in means.items()} if ablation == "zero" else means
    found = []
    for number, batch in enumerate(turn.batches):
        prefixes = UniquePrefixes.of(batch.tokens, batch.last)
        own = {key: step[number] for key, step in on.items()}
        found.append(masked_logits(network, prefixes, own, fills))
    return torch.cat(found)


def _task_losses(turn: Turn, logits: Tensor, together: Prompts) -> list[Tensor]:
    if any(turn.calibrations):
        parts = zip(turn.calibrations, torch.split(logits, turn.counts), strict=True)
        logits = torch.cat([learned(part) if learned else part for learned, part in parts])
    parted = torch.split(two_answer_loss(logits, together), turn.counts)
    return [loss.mean() for loss in parted]


def _attentive(turn: Turn) -> list[Tensor]:
    """Task losses under mean ablation, and a price for kept heads that look elsewhere.

    A head can look where it should, or go: the price is also felt by what is kept of it.
    """
    network, batch = turn.network, turn.batch()
    config, on = network.config, steps(turn.masks)
    heads = [_heads(on, number, config) for number in range(len(turn.masks))]
    every = sorted({head for some in heads for head in some})
    with torch.no_grad(), record(network, read_by(every)) as full:
        batch.logits()
    with (
        _precision(batch.circuit.device),
        ablate(network, gates(turn.masks, batch.owners)),
        record(network, read_by(every)) as seen,
    ):
        logits = batch.logits().float()
    last = batch.together.last
    full = {key: batch.by_sequence(value) for key, value in full.items()}
    wanted = patterns(network, full, last, every)
    seen = {key: batch.by_sequence(value).float() for key, value in seen.items()}
    found = patterns(network, seen, last, every)
    moved = {head: (wanted[head] - found[head]).abs().sum(1) / 2 for head in every}
    costs = []
    for number, loss in enumerate(_task_losses(turn, logits, batch.together)):
        for head in heads[number]:
            excess = torch.split(moved[head], turn.counts)[number].mean() - MOVED
            loss = loss + MOVED_COST * excess.clamp(min=0) * _presence(on, number, head, config)
        costs.append(loss)
    return costs


def _heads(on: Mapping[str, Tensor], number: int, config: Shape) -> list[Head]:
    """The heads of which a mask keeps something."""
    return kept_heads(
        {key: step[number].nonzero()[:, 0].numpy() for key, step in on.items()}, config
    )


def _presence(on: Mapping[str, Tensor], number: int, head: Head, config: Shape) -> Tensor:
    """1, with the gradient of how much of a head is kept, over what is."""
    layer, place = head
    size, shared = config.d_head, key_head(config, place)
    places = {"attn_q": place, "attn_k": shared, "attn_v": shared}
    parts = [
        on[f"{layer}.{site}"][number, at * size : (at + 1) * size] for site, at in places.items()
    ]
    kept = torch.cat(parts).sum()
    return kept / kept.detach()


def _opposed(turn: Turn) -> list[Tensor]:
    """Task losses while adversaries choose which of the rest is ablated.

    The calibration is the best for each batch, as where circuits are judged: one that is learned
    would lag behind, and the adversary would live off that.
    """
    batch = turn.batch()
    hooks = opposed(turn.masks, [inputs.adversary for inputs in turn.inputs], batch.owners)
    with _precision(batch.circuit.device), ablate(turn.network, hooks):
        logits = batch.logits().float()
    found = []
    parts = torch.split(logits, turn.counts)
    for learned, part, prompts in zip(turn.calibrations, parts, turn.batches, strict=True):
        best = calibrated(part, _best(part.detach(), prompts)) if learned else part
        found.append(two_answer_loss(best, prompts).mean())
    return found


def _best(logits: Tensor, batch: Prompts) -> Calibration:
    best = fit(logits, batch)
    return Calibration(max(best.scale, LEAST), best.bias)


def _foreign(turn: Turn) -> list[Tensor]:
    """How far claims on foreign text reach up to those at the ends of the circuits' own prompts."""
    network, batch = turn.network, turn.batch()
    texts = [inputs.text.draw(turn.generator) for inputs in turn.inputs if inputs.text]
    rows = torch.cat([text.tokens for text in texts])
    counts = [len(text.tokens) for text in texts]
    with _precision(rows.device):
        with ablate(network, gates(turn.masks, batch.owners)):
            own = batch.logits().float()
        with ablate(network, edits(turn.masks, turn.whose(counts))):
            foreign = network(rows).float()
    found = []
    parts = zip(
        turn.calibrations,
        torch.split(own, turn.counts),
        torch.split(foreign, counts),
        texts,
        strict=True,
    )
    for learned, mine, other, text in parts:
        other = other[text.foreign]
        if learned:
            mine, other = learned.as_it_is(mine), learned.as_it_is(other)
        least = log_odds(mine, text.answers).mean() - MARGIN
        found.append(softplus(log_odds(other, text.answers) - least).mean())
    return found


def _precision(device: torch.device) -> torch.autocast:
    """bf16 products while tau is learned, where they pay; every reported loss is in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=half_pays(device.type))


LOSSES: Mapping[Asked, Callable[[Turn], list[Tensor]]] = {
    "mean": functools.partial(_ablated, ablation="mean"),
    "attention": _attentive,
    "subset": functools.partial(_ablated, ablation="subset"),
    "resample": functools.partial(_ablated, ablation="resample"),
    "zero": functools.partial(_ablated, ablation="zero"),
    "frozen": functools.partial(_ablated, ablation="frozen"),
    "worst": _opposed,
    "natural": _foreign,
}
