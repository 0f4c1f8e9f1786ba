"""A calibration that is learned beside a mask."""

import torch
from torch import Tensor

RATE = 0.03
"""Step size."""


class LearnedCalibration:
    """A scale and a bias of the logits, learned beside a mask that will be calibrated.

    Without it the mask would keep nodes only to make margins large enough. Forgotten at the end:
    a selection gets the calibration that is best for itself.
    """

    def __init__(self, vocab_size: int) -> None:
        self.log_scale = torch.zeros((), requires_grad=True)
        self.bias = torch.zeros(vocab_size, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.log_scale, self.bias], lr=RATE)

    def __call__(self, logits: Tensor) -> Tensor:
        """The logits, scaled and shifted."""
        return logits * self.log_scale.exp() + self.bias

    def as_it_is(self, logits: Tensor) -> Tensor:
        """The same, but nothing is learned of it."""
        return logits * self.log_scale.detach().exp() + self.bias.detach()

    def follow(self) -> None:
        """One step along the gradient."""
        self.optimizer.step()
        self.optimizer.zero_grad()
