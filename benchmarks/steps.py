"""Whole training steps at the reference shape: naive sparse, plain dense, ours."""

from collections.abc import Callable

import torch
from torch.nn import functional as F

from benchmarks import naive
from lacewing.model.sites import BLOCK_SITES
from lacewing.model.transformer import Transformer
from lacewing.training.config import TrainConfig
from lacewing.training.density import project_
from lacewing.training.fused import finish_step
from lacewing.training.optimizer import adam

Step = Callable[[], object]


def reference(density: float = 1 / 64, width: int = 512, layers: int = 4) -> TrainConfig:
    """The shape every figure of docs/speed.md is given for."""
    return TrainConfig(
        expansion=width / 256,
        density=density,
        n_layer=layers,
        d_head=16,
        context=256,
        batch=16,
        d_position=0,
        abs_topk_sites=BLOCK_SITES,
        tokens=4096 * 10_000,
        floor=4 if density * width >= 4 else 1,
    )


def _network(
    config: TrainConfig, device: str
) -> tuple[Transformer, torch.optim.Adam, torch.Tensor]:
    torch.manual_seed(0)
    network = Transformer(config.model(config.vocab_size)).to(device)
    tokens = torch.randint(config.vocab_size, (config.batch, config.context + 1)).to(device)
    project_(network, config, config.steps)
    return network, adam(network, config), tokens


def _loss(network: Transformer, tokens: torch.Tensor) -> torch.Tensor:
    with torch.autocast(tokens.device.type, torch.bfloat16):
        logits = network(tokens[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())


def ours(config: TrainConfig, device: str = "cpu") -> Step:
    """One step as `lacewing train` does it, late in the run, where the density is the final one."""
    network, optimizer, tokens = _network(config, device)
    late = config.steps // 2

    def step() -> None:
        _loss(network, tokens).backward()
        finish_step(network, optimizer, config, late)

    return step


def published(config: TrainConfig, device: str = "cpu") -> Step:
    """The same step with the published operations."""
    network, optimizer, tokens = _network(config, device)
    late = config.steps // 2

    def step() -> None:
        with naive.kernels():
            _loss(network, tokens).backward()
        naive.finish_step(network, optimizer, config, late)

    return step


def dense(config: TrainConfig, device: str = "cpu") -> Step:
    """A plain dense model of the same shape: F.linear, flash attention, fused AdamW."""
    model = config.model(config.vocab_size)
    torch.manual_seed(0)
    network = Transformer(type(model)(**(vars(model) | {"abs_topk": None, "sinks": False}))).to(
        device
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    tokens = torch.randint(config.vocab_size, (config.batch, config.context + 1)).to(device)

    def step() -> None:
        with naive.kernels(naive.flash_attention):
            _loss(network, tokens).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    return step
