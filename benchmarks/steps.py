"""Whole training steps at the reference shape: naive sparse, plain dense, ours."""

from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from benchmarks import naive
from lacewing.kernels.cross_entropy import cross_entropy
from lacewing.kernels.precision import half_pays
from lacewing.model.config import BLOCK_SITES
from lacewing.model.transformer import Transformer
from lacewing.training.config import TrainConfig
from lacewing.training.density import project_
from lacewing.training.optimizer import adam, finish_step

Run = Callable[[], object]
Train = Callable[[], float]
"""One training step; returns its loss."""
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def reference(
    density: float = 1 / 64, width: int = 512, layers: int = 4, batch: int = 16
) -> TrainConfig:
    """The shape every figure of docs/benchmarks.md is given for."""
    return TrainConfig(
        expansion=width / 256,
        density=density,
        n_layer=layers,
        d_head=16,
        context=256,
        batch=batch,
        d_position=0,
        abs_topk_sites=BLOCK_SITES,
        tokens=256 * batch * 10_000,
        floor=4 if density * width >= 4 else int(density * width >= 1),
    )


def _network(
    config: TrainConfig, device: str = "cpu"
) -> tuple[Transformer, torch.optim.Adam, torch.Tensor]:
    torch.manual_seed(0)
    network = Transformer(config.model(config.vocab_size)).to(device)
    tokens = torch.randint(config.vocab_size, (config.batch, config.context + 1)).to(device)
    project_(network, config, config.steps)
    return network, adam(network, config), tokens


def _plain_loss(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits.float(), answers)


def _loss(network: Transformer, tokens: torch.Tensor, loss: Loss = _plain_loss) -> torch.Tensor:
    device = tokens.device.type
    with torch.autocast(device, torch.bfloat16, enabled=half_pays(device)):
        logits = network(tokens[:, :-1])
    return loss(logits.flatten(0, 1), tokens[:, 1:].flatten())


def ours(config: TrainConfig, device: str = "cpu") -> Train:
    """One step as `lacewing train` does it, late in the run, where the density is the final one."""
    network, optimizer, tokens = _network(config, device)
    late = config.steps // 2

    def step() -> float:
        loss = _loss(network, tokens, cross_entropy)
        loss.backward()
        finish_step(network, optimizer, config, late)
        return float(loss.detach())

    return step


def published(config: TrainConfig, checkpointing: bool = False, device: str = "cpu") -> Train:
    """The same step with the published operations; `checkpointing` is train.py's default."""
    network, optimizer, tokens = _network(config, device)
    late = config.steps // 2

    if checkpointing:
        for block in network.blocks:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)

    def step() -> float:
        with naive.kernels():
            loss = _loss(network, tokens)
            loss.backward()
        naive.finish_step(network, optimizer, config, late)
        return float(loss.detach())

    return step


def dense(config: TrainConfig, device: str = "cpu") -> Train:
    """A plain dense model of the same shape: F.linear, flash attention, fused AdamW."""
    model = config.model(config.vocab_size)
    torch.manual_seed(0)
    plain = type(model)(**(vars(model) | {"abs_topk": None, "sinks": False}))
    network = Transformer(plain).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    tokens = torch.randint(config.vocab_size, (config.batch, config.context + 1)).to(device)

    def step() -> float:
        with naive.kernels(naive.flash_attention):
            loss = _loss(network, tokens)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        return float(loss.detach())

    return step
