"""Ablation values: what stands for an ablated node."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.circuit.circuit import Ablation
from lacewing.model.store import Model

AblationValues = Mapping[str, Float[Tensor, " channel"]]
"""Per site key, the constant that stands for each node when it is ablated."""


def ablation_values_of(model: Model, ablation: Ablation) -> AblationValues:
    """Constants for ablated nodes: zero for `zero`, else the mean over the pretraining text.

    Under `resample` the values of other prompts stand for ablated nodes. Where those cannot, as for
    the source of an edge that was cut, the mean does.
    """
    if ablation == "zero":
        return {key: torch.zeros_like(mean) for key, mean in model.means.items()}
    return model.means
