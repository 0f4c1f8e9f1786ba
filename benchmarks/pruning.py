"""One step of mask training, and one run of a finished circuit."""

from collections.abc import Callable

import torch
from torch.nn import functional as F

from benchmarks import naive
from benchmarks.steps import Run
from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.masks import masks_of
from lacewing.ablation.node_mask import NodeMask
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.edges import Nodes
from lacewing.kernels.precision import half_pays
from lacewing.model.hooks import edit
from lacewing.model.layers import find_nonzeros
from lacewing.model.sites import site_widths
from lacewing.model.transformer import Transformer
from lacewing.pruning.mask_learning import follow, gradients
from lacewing.tasks.batch import Prompts
from lacewing.tasks.pair import Pair
from lacewing.tasks.scoring import two_answer_loss
from lacewing.training.config import TrainConfig
from lacewing.training.density import project_


def model(config: TrainConfig, device: str = "cpu") -> tuple[Transformer, dict[str, torch.Tensor]]:
    """Random weights at the final density, and random means."""
    torch.manual_seed(0)
    network = Transformer(config.model(config.vocab_size)).eval().to(device)
    project_(network, config, config.steps)
    widths = site_widths(network.config)
    return network, {key: 0.1 * torch.randn(width).to(device) for key, width in widths.items()}


def prompts(
    config: TrainConfig, pairs: int, longest: int, seed: int, device: str = "cpu"
) -> Prompts:
    """Random tokens; lengths from a half to the whole of the longest."""
    generator = torch.Generator().manual_seed(seed)
    rows, vocab = 2 * pairs, config.vocab_size
    ids = torch.randint(vocab, (rows, longest), generator=generator)
    answer = torch.randint(vocab, (rows,), generator=generator)
    last = torch.randint(longest // 2, longest, (rows,), generator=generator)
    last[0] = longest - 1
    return Prompts(
        tokens=ids.to(device),
        last=last.to(device),
        answer=answer.to(device),
        other=((answer + 1) % vocab).to(device),
        pairs=(Pair("", "", "", "", ""),) * pairs,
    )


def search(
    config: TrainConfig, circuits: int, device: str = "cpu"
) -> tuple[Run, Run, Callable[[], None]]:
    """One step of mask training for some circuits: the published way, ours, and their agreement.

    One circuit has prompts as long as the context, so that padding costs the published way
    nothing. Several have prompts of up to 64 tokens, as `lacewing prune` takes them by default;
    the published way pads them to the context, and takes one circuit after the other.
    """
    (network, means), settings = model(config, device), PruneConfig(learning_rate=1e-3)
    network.requires_grad_(False)
    pairs, longest = config.batch // 2, config.context if circuits == 1 else 64
    batches = [prompts(config, pairs, longest, seed, device) for seed in range(circuits)]
    find_nonzeros(network)
    masks = [_mask(means) for _ in batches]
    optimizers = [torch.optim.AdamW([mask.tau], lr=1e-3) for mask in masks]
    plain: list[_Published] = []

    def ours() -> list[float]:
        losses = gradients(network, masks, batches, [1e-4] * circuits)
        for mask, optimizer in zip(masks, optimizers, strict=True):
            follow(mask, optimizer, settings, 0.0)
        return losses

    def published() -> list[float]:
        if not plain:  # not before, so that they take no memory where only ours is run
            plain.extend(_Published(config, batch, device) for batch in batches)
        return [one.step() for one in plain]

    def agree() -> None:
        for a, b in zip(ours(), published(), strict=True):
            if abs(a - b) > 0.05:  # bfloat16 all the way down
                raise AssertionError(f"losses of the first step: {a} and {b}")

    return published, ours, agree


def _mask(means: dict[str, torch.Tensor]) -> NodeMask:
    widths = {key: len(mean) for key, mean in means.items()}
    init = torch.full((sum(widths.values()),), 0.1, device=next(iter(means.values())).device)
    return NodeMask(widths, means, init, 1.0)


class _Published:
    """Masks by plain autograd through every site, all logits, gradients of all weights."""

    def __init__(self, config: TrainConfig, batch: Prompts, device: str) -> None:
        self.network, self.means = model(config, device)
        short = config.context - batch.tokens.shape[1]
        self.tokens, self.batch = F.pad(batch.tokens, (0, short)), batch
        self.tau = {k: torch.full_like(m, 0.1).requires_grad_() for k, m in self.means.items()}
        self.optimizer = torch.optim.AdamW(list(self.tau.values()), lr=1e-3)

    def step(self) -> float:
        hooks = {key: self._gate(key) for key in self.means}
        with edit(self.network, hooks), naive.kernels(), self._precision():
            logits = self.network(self.tokens)
        last = logits[torch.arange(len(self.batch.last)), self.batch.last].float()
        count = torch.stack([_step(t).sum() for t in self.tau.values()]).sum()
        loss = two_answer_loss(last, self.batch).mean()
        (loss + 1e-4 * count).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.network.zero_grad()
        return float(loss.detach())

    def _precision(self) -> torch.autocast:
        device = self.tokens.device.type
        return torch.autocast(device, torch.bfloat16, enabled=half_pays(device))

    def _gate(self, key: str) -> Callable[[torch.Tensor], torch.Tensor]:
        def hook(x: torch.Tensor) -> torch.Tensor:
            on = _step(self.tau[key])
            return x * on + (1 - on) * self.means[key]

        return hook


def _step(tau: torch.Tensor) -> torch.Tensor:
    """The step function, with a sigmoid's slope for the backward pass."""
    soft = torch.sigmoid(tau)
    return (tau > 0).float() + soft - soft.detach()


def circuit(
    config: TrainConfig, nodes: int
) -> tuple[Callable[[], torch.Tensor], Callable[[], torch.Tensor]]:
    """The masked full model, and the same circuit compiled: as many nodes at every site."""
    (network, means), batch = model(config), prompts(config, config.batch // 2, config.context, 1)
    network.requires_grad_(False)
    masks = masks_of(network, _spread(means, nodes))
    live = CompiledCircuit(network, masks, means)

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
