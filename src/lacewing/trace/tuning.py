"""Plain fine-tuning on the same prompt, to compare a repair with: stopped at equal success."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from lacewing.model.transformer import Transformer
from lacewing.trace.elsewhere import Ends, padded

Enough = Callable[[Transformer], bool]
"""Whether a network is mended."""
Optimizer = Literal["adam", "sgd"]
RATES: dict[Optimizer, tuple[float, ...]] = {"adam": (1e-2, 1e-3, 1e-4), "sgd": (1.0, 0.1, 0.01)}
"""Learning rates that are tried; the least damaging one stands for fine-tuning."""
STEPS = 60
HALVINGS = 12


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned network."""

    network: Transformer
    optimizer: str
    rate: float
    steps: int
    reached: bool
    """Whether it was enough."""


def tuned(
    network: Transformer,
    prompts: Sequence[Ends],
    enough: Enough,
    optimizer: Optimizer,
    rate: float,
) -> Tuned:
    """Train on prompts until that is enough, and no further.

    All weights that are not zero are trained, by the cross-entropy of the answers. Where the last
    step went too far, the change is scaled back until it is just enough.
    """
    tokens, last, right, _ = padded(prompts)
    trained = copy.deepcopy(network)
    kept = {name: p.detach().clone() for name, p in trained.named_parameters()}
    masks = {name: p != 0 for name, p in kept.items()}
    parameters = [p.requires_grad_() for p in trained.parameters()]
    made = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
    stepper: torch.optim.Optimizer = made(parameters, lr=rate)
    step = 0
    while not enough(trained) and step < STEPS:
        loss = torch.nn.functional.cross_entropy(trained(tokens, at=last), right)
        stepper.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for name, p in trained.named_parameters():
            if p.grad is not None:
                p.grad *= masks[name]
        stepper.step()
        step += 1
    trained.requires_grad_(False)
    reached = enough(trained)
    if reached:
        _just(trained, kept, enough)
    return Tuned(trained, optimizer, rate, step, reached)


@torch.no_grad()
def _just(
    trained: Transformer,
    kept: dict[str, torch.Tensor],
    enough: Enough,
) -> None:
    """Scale the whole change back until it is just enough."""
    change = {name: p.detach() - kept[name] for name, p in trained.named_parameters()}
    low, high = 0.0, 1.0

    def set_to(share: float) -> None:
        for name, p in trained.named_parameters():
            p.copy_(kept[name] + share * change[name])

    for _ in range(HALVINGS):
        middle = (low + high) / 2
        set_to(middle)
        low, high = (low, middle) if enough(trained) else (middle, high)
    set_to(high)
