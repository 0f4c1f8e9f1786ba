"""Plain fine-tuning on the same prompts, to compare a repair with: stopped at equal success."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lacewing.model.layers import find_nonzeros, forget_nonzeros
from lacewing.model.transformer import Transformer, pick
from lacewing.trace.aim import Aim

Optimizer = Literal["adam", "sgd"]
Way = tuple[Optimizer, float]
"""An optimizer and its learning rate."""
WAYS: tuple[Way, ...] = (
    ("adam", 1e-2),
    ("adam", 1e-3),
    ("adam", 1e-4),
    ("sgd", 1.0),
    ("sgd", 0.1),
    ("sgd", 0.01),
)
"""All that are tried; the least damaging one stands for fine-tuning."""
STEPS = 60
HALVINGS = 8


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned network."""

    network: Transformer
    way: Way
    steps: int
    reached: bool
    """Whether it was enough."""


class _Learner:
    """A copy of a network that learns, its nonzero weights alone.

    Of the bigram table only the rows of the prompts' last tokens are held: no other row gets a
    gradient.
    """

    def __init__(self, network: Transformer, aim: Aim) -> None:
        assert aim.kept.last is not None
        self.tokens, self.last = aim.kept.tokens, aim.kept.last
        table, network.bigram = network.bigram, None
        try:
            self.network = copy.deepcopy(network)
        finally:
            network.bigram = table
        self.table = table
        current = pick(self.tokens, self.last)[:, 0]
        self.current, self.row = torch.unique(current, return_inverse=True)
        self.weights: dict[str, torch.nn.Parameter] = dict(self.network.named_parameters())
        if table is not None:
            self.weights["bigram"] = torch.nn.Parameter(table.detach()[self.current].clone())
        self.before = {name: p.detach().clone() for name, p in self.weights.items()}
        self.masks = {name: p != 0 for name, p in self.before.items()}
        for part in self.weights.values():
            part.requires_grad_()

    def logits(self) -> Tensor:
        """At the last tokens."""
        find_nonzeros(self.network)
        found: Tensor = self.network(self.tokens, at=self.last)
        return found if self.table is None else found + self.weights["bigram"][self.row]

    def masked(self) -> None:
        """Gradients of weights that are zero go."""
        for name, part in self.weights.items():
            if part.grad is not None:
                part.grad *= self.masks[name]

    @torch.no_grad()
    def set_to(self, share: float, change: Mapping[str, Tensor]) -> None:
        """The old weights, and a share of a change."""
        for name, part in self.weights.items():
            part.copy_(self.before[name] + share * change[name])

    def ended(self) -> Transformer:
        """The network, whole again."""
        forget_nonzeros(self.network)
        self.network.requires_grad_(False)
        if self.table is not None:
            whole = self.table.detach().clone()
            whole[self.current] = self.weights["bigram"].detach()
            self.network.bigram = torch.nn.Parameter(whole, requires_grad=False)
        return self.network


def tuned(network: Transformer, every: Aim, way: Way, alone: bool) -> Tuned:
    """Train on prompts until that is enough, and no further.

    All weights that are not zero are trained, by the cross-entropy of the answers. Where the last
    step went too far, the change is scaled back until it is just enough.

    Args:
        network: The model; it stays as it is.
        every: The prompts.
        way: Optimizer and learning rate.
        alone: Whether it is enough that the first prompt is mended.
    """
    learner = _Learner(network, every)
    made = torch.optim.Adam if way[0] == "adam" else torch.optim.SGD
    stepper: torch.optim.Optimizer = made(learner.weights.values(), lr=way[1])

    def enough(logits: Tensor) -> bool:
        found = every.of(logits.detach())
        return every.reached(found[:1] if alone else found)

    step = 0
    while not (reached := enough(logits := learner.logits())) and step < STEPS:
        stepper.zero_grad()
        torch.nn.functional.cross_entropy(logits, every.right).backward()  # type: ignore[no-untyped-call]
        learner.masked()
        stepper.step()
        step += 1
    if reached:
        change = {name: p.detach() - learner.before[name] for name, p in learner.weights.items()}
        low, high = 0.0, 1.0
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            learner.set_to(middle, change)
            with torch.no_grad():
                low, high = (low, middle) if enough(learner.logits()) else (middle, high)
        learner.set_to(high, change)
    return Tuned(learner.ended(), way, step, reached)
