"""The probe: a fixed set of a circuit's own test prompts, asked again and again.

Each prompt runs in the whole model, in the circuit alone (is it still enough?) and in the model
without the circuit (is it still needed?): drift can hide from the first two. The prompts never
change, so another answer is another model's; that is what tells a changed model from changed text.
Where every weight is the reference's own it is rounding: on another processor AbsTopK keeps one
channel or its neighbour, and a single answer jumps. How far the task losses moved says whether
the mechanism did.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_logits
from lacewing.circuit.circuit import Circuit
from lacewing.model.layers import sparse_products
from lacewing.model.store import Model
from lacewing.statistics import bootstrap, pair_means
from lacewing.tasks.batch import Prompts, encode
from lacewing.watch.measure import Prepared

PAIRS = 24
"""Test pairs of a circuit that are asked, at most."""
SAME = 2e-3
"""Nats that a logit difference may be off for rounding, where some weight is another."""
MOVED = 0.05
"""Nats that the mean task loss of one way has to move, by its whole interval."""
LOST = 100.0
"""Nats by which an answer that is no number counts as wrong."""
WAYS = ("whole", "alone", "without")
"""The ways a prompt is run."""


@dataclass(frozen=True)
class Probed:
    """What a probe found, beside the reference's."""

    task: str
    pairs: int
    changed: bool
    """Whether weights are others and an answer is another than the reference's, beyond rounding."""
    largest: float
    """How far the logit difference moved that moved most, nats."""
    before: dict[str, float]
    """Mean task loss of every way in the reference, nats."""
    after: dict[str, float]
    """The same now."""
    intervals: dict[str, tuple[float, float]]
    """95 % bootstrap interval of the change, over pairs."""

    @property
    def moved(self) -> tuple[str, ...]:
        """The ways whose loss moved by more than MOVED, by their whole intervals."""
        return tuple(
            way for way, (low, high) in self.intervals.items() if low > MOVED or high < -MOVED
        )

    @property
    def far(self) -> tuple[bool, float]:
        """Whether a loss moved, and how far; where none did, how far answers: to rank circuits."""
        by_loss = max(abs(end) for interval in self.intervals.values() for end in interval)
        return bool(self.moved), by_loss if self.moved else self.largest

    @property
    def told(self) -> str:
        """What moved, in words."""
        words = {"whole": "the whole model's", "alone": "the circuit's alone"}
        words["without"] = "that without the circuit"
        return "; ".join(
            f"{words[way]} went from {self.before[way]:.3f} to {self.after[way]:.3f} nats"
            for way in self.moved
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"moved": list(self.moved)}


def probe_prompts(model: Model, circuit: Circuit) -> Prompts:
    """The prompts that are asked: the first of the circuit's test pairs."""
    return encode(circuit.pairs[:PAIRS], model.tokenizer, model.network.config.context)


@torch.no_grad()
def ask(model: Model, one: Prepared, prompts: Prompts) -> Float[Tensor, "3 sequence"]:
    """Logit of the right answer minus that of the wrong one, in each of WAYS."""
    ablation = one.circuit.ablation
    masks = masks_of(model.network, one.circuit.nodes, complement=True)
    with sparse_products(model.network):
        whole = ablated_logits(model, prompts, None)
        without = ablated_logits(model, prompts, masks, ablation)
    found = []
    for logits in (whole, one.alone(prompts.tokens, prompts.last), without):
        right, wrong = (logits.gather(1, t[:, None])[:, 0] for t in (prompts.answer, prompts.other))
        found.append(right - wrong)
    return torch.stack(found)


def compared(
    task: str,
    before: Float[Tensor, "3 sequence"],
    after: Float[Tensor, "3 sequence"],
    same: bool = False,
) -> Probed:
    """What has become of the answers to a probe; `same` where no weight is another one."""
    after = after.nan_to_num(nan=-LOST, posinf=-LOST, neginf=-LOST)
    losses = [torch.nn.functional.softplus(-values) for values in (before, after)]
    changes = {
        way: bootstrap(pair_means(now) - pair_means(was))
        for way, was, now in zip(WAYS, *losses, strict=True)
    }
    largest = float((after - before).abs().max())
    before_loss, after_loss = (
        dict(zip(WAYS, loss.mean(1).tolist(), strict=True)) for loss in losses
    )
    return Probed(
        task=task,
        pairs=before.shape[1] // 2,
        changed=not same and largest > SAME,
        largest=largest,
        before=before_loss,
        after=after_loss,
        intervals=changes,
    )


def any_changed(found: Sequence[Probed]) -> bool:
    """Whether the model is another one than the reference's, as far as probes can say."""
    return bool(np.any([one.changed for one in found]))
