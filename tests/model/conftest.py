"""A network small enough to look through, with weights large enough that everything matters."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lacewing.model.config import ModelConfig
from lacewing.model.transformer import Transformer

SIZES: dict[str, Any] = {
    "n_layer": 2,
    "d_model": 16,
    "d_head": 4,
    "d_mlp": 64,
    "vocab_size": 40,
    "context": 12,
}


@pytest.fixture
def make() -> Callable[..., Transformer]:
    """Build a network in float64 with changes to its configuration."""

    def build(**changes: Any) -> Transformer:
        torch.manual_seed(0)
        network = Transformer(ModelConfig(**(SIZES | changes))).double()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        return network.requires_grad_(False)

    return build


@pytest.fixture
def network(make: Callable[..., Transformer]) -> Transformer:
    """A network with AbsTopK at all eight sites."""
    return make()


@pytest.fixture
def tokens() -> torch.Tensor:
    """Three sequences of ten tokens."""
    return torch.randint(40, (3, 10), generator=torch.Generator().manual_seed(1))
