"""A correction of a circuit's logits: a scale, and a bias for each of few answer tokens."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Calibration:
    """A correction of the circuit's logits: scale x logit + bias of the token."""

    scale: float
    bias: Mapping[int, float]
    """Nats, by answer token id."""


def calibrated(logits: Tensor, calibration: Calibration | None) -> Tensor:
    """The logits after a circuit's calibration."""
    if calibration is None:
        return logits
    logits = logits * calibration.scale
    for token, bias in calibration.bias.items():
        logits[:, token] += bias
    return logits
