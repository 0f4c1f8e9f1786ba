"""What stands for an ablated node."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.circuit.circuit import Ablation
from lacewing.model.store import Model


def fills_of(model: Model, ablation: Ablation) -> Mapping[str, Float[Tensor, " channel"]]:
    """Constants for ablated nodes where values of other prompts will not do: zero, or the mean."""
    if ablation == "zero":
        return {key: torch.zeros_like(mean) for key, mean in model.means.items()}
    return model.means
