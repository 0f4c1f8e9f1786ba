"""One step of mask training, and one run of a finished circuit, at the reference shape."""

from collections.abc import Callable

import torch

from benchmarks import naive
from benchmarks.steps import reference
from lacewing.circuits.ablate import masks_of
from lacewing.circuits.config import PruneConfig
from lacewing.circuits.edges import Nodes
from lacewing.circuits.live import LiveCircuit
from lacewing.circuits.masks import NodeMask
from lacewing.circuits.prune import mask_step
from lacewing.model.hooks import edit
from lacewing.model.sites import site_widths
from lacewing.model.transformer import Transformer
from lacewing.tasks.batch import Prompts
from lacewing.tasks.pair import Pair
from lacewing.tasks.scoring import two_answer_loss
from lacewing.training.config import TrainConfig
from lacewing.training.density import project_

Run = Callable[[], object]
PAIRS = 8
"""Pairs a step, 16 sequences of 256 tokens: the reference's 4,096 tokens."""


def model(config: TrainConfig, device: str = "cpu") -> tuple[Transformer, dict[str, torch.Tensor]]:
    """Random weights at the final density, and random means."""
    torch.manual_seed(0)
    network = Transformer(config.model(config.vocab_size)).eval().to(device)
    project_(network, config, config.steps)
    widths = site_widths(network.config)
    return network, {key: 0.1 * torch.randn(width).to(device) for key, width in widths.items()}


def prompts(config: TrainConfig, pairs: int = PAIRS, device: str = "cpu") -> Prompts:
    """Random tokens, all sequences of full length."""
    generator = torch.Generator().manual_seed(1)
    rows, vocab = 2 * pairs, config.vocab_size
    ids = torch.randint(vocab, (rows, config.context), generator=generator)
    answer = torch.randint(vocab, (rows,), generator=generator).to(device)
    return Prompts(
        tokens=ids.to(device),
        last=torch.full((rows,), config.context - 1, device=device),
        answer=answer,
        other=(answer + 1) % vocab,
        pairs=(Pair("", "", "", "", ""),) * pairs,
    )


def _mask(means: dict[str, torch.Tensor]) -> NodeMask:
    widths = {key: len(mean) for key, mean in means.items()}
    init = torch.full((sum(widths.values()),), 0.1, device=next(iter(means.values())).device)
    return NodeMask(widths, means, init, 1.0)


def ours(config: TrainConfig | None = None, pairs: int = PAIRS, device: str = "cpu") -> Run:
    """A step of `lacewing prune`."""
    config = config or reference()
    (network, means), settings = model(config, device), PruneConfig()
    batch = prompts(config, pairs, device)
    network.requires_grad_(False)
    mask = _mask(means)
    optimizer = torch.optim.AdamW([mask.tau], lr=1e-3)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16):
            mask_step(network, mask, optimizer, batch, 1e-4, settings)

    return step


def published(config: TrainConfig | None = None, pairs: int = PAIRS, device: str = "cpu") -> Run:
    """Masks by plain autograd through every site, all logits, gradients of all weights."""
    config = config or reference()
    (network, means), batch = model(config, device), prompts(config, pairs, device)
    tau = {k: torch.full_like(m, 0.1).requires_grad_() for k, m in means.items()}
    optimizer = torch.optim.AdamW(list(tau.values()), lr=1e-3)

    def gate(key: str) -> Callable[[torch.Tensor], torch.Tensor]:
        def hook(x: torch.Tensor) -> torch.Tensor:
            on = _step(tau[key])
            return x * on + (1 - on) * means[key]

        return hook

    def step() -> None:
        hooks = {key: gate(key) for key in means}
        with edit(network, hooks), naive.kernels(), torch.autocast(device, torch.bfloat16):
            logits = network(batch.tokens)
        last = logits[torch.arange(len(batch.last)), batch.last].float()
        count = sum(_step(t).sum() for t in tau.values())
        (two_answer_loss(last, batch).mean() + 1e-4 * count).backward()
        optimizer.step()
        optimizer.zero_grad()
        network.zero_grad()

    return step


def _step(tau: torch.Tensor) -> torch.Tensor:
    """The step function, with a sigmoid's slope for the backward pass."""
    soft = torch.sigmoid(tau)
    return (tau > 0).float() + soft - soft.detach()


def circuit(nodes: int = 100) -> tuple[Run, Run]:
    """The masked full model, and the same circuit compiled: as many nodes at every site."""
    config = reference()
    (network, means), batch = model(config), prompts(config)
    network.requires_grad_(False)
    masks = masks_of(network, _spread(means, nodes))
    live = LiveCircuit(network, masks, means)

    def fill(key: str) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda x: torch.where(masks[key], x, means[key])

    def masked() -> torch.Tensor:
        with torch.no_grad(), edit(network, {key: fill(key) for key in masks}), naive.kernels():
            logits: torch.Tensor = network(batch.tokens)
        return logits[torch.arange(len(batch.last)), batch.last]

    return masked, lambda: live(batch.tokens, at=batch.last)


def _spread(means: dict[str, torch.Tensor], nodes: int) -> Nodes:
    generator = torch.Generator().manual_seed(2)
    each = -(-nodes // len(means))
    return {
        key: torch.randperm(len(mean), generator=generator)[:each].sort().values.int().numpy()
        for key, mean in means.items()
    }
