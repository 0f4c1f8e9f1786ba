"""The micro model and its prompts, and a random model with every feature switched on."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import micro

from lacewing.circuits.prompts import PromptSets
from lacewing.model.config import ModelConfig
from lacewing.model.store import Model, model_id
from lacewing.model.transformer import Transformer
from lacewing.training.evaluate import site_means


@pytest.fixture(scope="session")
def model() -> Model:
    return micro.micro()


@pytest.fixture(scope="session")
def sets(model: Model) -> PromptSets:
    return micro.prompt_sets(model)


@pytest.fixture(scope="session")
def busy() -> Model:
    """Random sparse weights; two layers, AbsTopK, sinks, positions, bigram table."""
    letters = micro.tokenizer()
    config = ModelConfig(
        n_layer=2,
        d_model=8,
        d_head=4,
        d_mlp=12,
        vocab_size=letters.vocab_size,
        context=16,
        abs_topk=0.5,
        sinks=True,
        d_position=3,
    )
    torch.manual_seed(3)
    network = Transformer(config)
    network.eval().requires_grad_(False)
    for name, weight in network.named_parameters():
        weight.copy_(torch.randn_like(weight) * (torch.rand_like(weight) < 0.6))
        if name.startswith("ln"):
            weight.fill_(1)
    text = torch.randint(letters.vocab_size, (64, 17))
    return Model(
        network=network,
        tokenizer=letters,
        means={key: mean.clone() for key, mean in site_means(network, text).items()},
        id=model_id(network),
        source="busy",
        corpus="standard_library",
        validation_loss=1.0,
        training={},
    )
