"""Training for proof: what a step may do to the sites, so that circuits withstand it later.

    ablated_nodes    at random sites, a share of the nodes is at its running mean
    ablated_halves   at every site, a random half of what is idle is at its running mean, or has
                     another sequence's values, as `complement.random` draws them
    idle_price       a price on the part of the residual stream that is the same whatever is read

A circuit is what runs while the rest is ablated. In a model that was never trained so, parts of the
rest work against each other, and an adversary finds them (`complement.worst`). What is drawn
follows from the seed and the step alone, and the running means lie in the checkpoint: a run that is
interrupted ends with the same weights.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lacewing import artifacts
from lacewing.errors import ArtifactError
from lacewing.model.hooks import edit
from lacewing.model.protocol import Network
from lacewing.model.sites import FINAL_SITE, site_widths
from lacewing.training.config import TrainConfig

MEMORY = 100
"""Steps that a running mean looks back on."""
SITES = 0.5
"""Share of the sites at which nodes are ablated in a step, where a share of nodes is."""
BUSY = 0.125
"""Share of a site's nodes, those farthest from their means in a sequence, that stand for the
circuit there: a random half of the others is ablated."""
STREAM = ("attn_out", "mlp_out")
"""Sites whose constant part costs, beside the final one."""
COUNT = "count"
"""Among the running means in a checkpoint: how many steps they have seen."""


class _Step(NamedTuple):
    """What one step was drawn to do."""

    draw: torch.Generator
    """Draws the rest, site by site."""
    sites: set[str]
    """Where nodes are ablated."""
    halves: bool
    """Whether a half of what is idle is."""
    resample: bool
    """Whether that half has another sequence's values, not its means."""


class Disturbance:
    """What the steps of one run do to its sites, and the running means they do it with."""

    def __init__(self, network: Network, config: TrainConfig) -> None:
        """Of a network that is trained with a configuration."""
        self.network, self.config = network, config
        self.seen = 0
        self.means: dict[str, Float[Tensor, " channel"]] = {}
        self._batch: dict[str, Float[Tensor, " channel"]] = {}
        self._shares: list[Float[Tensor, ""]] = []

    @contextmanager
    def during(self, step: int, piece: int = 0) -> Iterator[None]:
        """Disturb the passes inside the block as this step is to be.

        Args:
            step: Steps finished.
            piece: Which of the pieces that the step's batch is cut into.
        """
        if not self.config.disturbed:
            yield
            return
        draw = torch.Generator().manual_seed((self.config.seed * 1_000_003 + step) * 64 + piece)
        halves = float(torch.rand(1, generator=draw)) < self.config.ablated_halves
        keys = list(site_widths(self.network.config))
        chosen = torch.rand(len(keys), generator=draw) < SITES
        some = {key for key, on in zip(keys, chosen.tolist(), strict=True) if on}
        drawn_now = _Step(draw, some, halves, step % 2 == 1)
        self._shares, self._batch = [], {}
        sites = {key: partial(self._site, key, drawn_now) for key in keys}
        with edit(self.network, sites):
            yield
        self._remember(piece)

    def price(self) -> Float[Tensor, ""] | float:
        """What the last pass costs beside its loss, in nats; its gradient is the pass's."""
        if not self._shares:
            return 0.0
        return self.config.idle_price * torch.stack(self._shares).mean()

    def state(self) -> dict[str, Tensor]:
        """The running means, as a checkpoint keeps them; nothing where none are needed."""
        if not self.seen:
            return {}
        return {**self.means, COUNT: torch.tensor([float(self.seen)])}

    def restore(self, state: Mapping[str, Tensor], folder: Path) -> None:
        """Go on with the means that a checkpoint kept; with none, where it has none.

        Raises:
            ArtifactError: they are of another model, or damaged.
        """
        if state:
            widths = {key: (width,) for key, width in site_widths(self.network.config).items()}
            shapes: dict[str, tuple[int, ...]] = {**widths, COUNT: (1,)}
            artifacts.check_tensors(state, folder, shapes, (torch.float32,))
            if not 1 <= float(state[COUNT]) < 2**53:
                raise ArtifactError(f"{folder}: means of {float(state[COUNT])} steps: damaged")
            device = self.network.embedding().device
            self.seen = int(state[COUNT])
            self.means = {k: t.to(device, copy=True) for k, t in state.items() if k != COUNT}

    def _site(self, key: str, step: _Step, value: Tensor) -> Tensor:
        """A site's value as it is to be; the hook of one site in one step."""
        mean = value.detach().float().mean((0, 1))
        self._batch[key] = mean
        known = self.means.get(key, mean)
        if self.config.idle_price and (key == FINAL_SITE or key.endswith(STREAM)):
            self._shares.append(constant_share(value))
        stand_in = known.to(value.dtype)
        if key in step.sites and self.config.ablated_nodes:
            off = drawn(value.shape[0], value.shape[2], self.config.ablated_nodes, step.draw)
            value = torch.where(off[:, None].to(value.device), stand_in, value)
        if step.halves:
            off = idle_half(value.detach().float() - known, step.draw)[:, None]
            instead = value.roll(1, 0).detach() if step.resample else stand_in.expand_as(value)
            value = torch.where(off, instead, value)
        return value

    def _remember(self, piece: int) -> None:
        """Let the running means move towards those of the pass."""
        self.seen += piece == 0
        weight = 1 / min(self.seen, MEMORY)
        for key, mean in self._batch.items():
            old = self.means.get(key)
            self.means[key] = mean if old is None else old.lerp(mean, weight)


def drawn(
    sequences: int, channels: int, share: float, draw: torch.Generator
) -> Bool[Tensor, "sequence channel"]:
    """Channels that are off, sequence by sequence, each with a probability of its own."""
    return torch.rand(sequences, channels, generator=draw) < share


def idle_half(
    deviation: Float[Tensor, "sequence token channel"], draw: torch.Generator
) -> Bool[Tensor, "sequence channel"]:
    """A random half, sequence by sequence, of the channels that are not far from their means.

    Args:
        deviation: Values less the means.
        draw: Draws the halves.

    Example:
        >>> values = torch.zeros(1, 3, 16)
        >>> values[0, 1, 4:6] = 2.0
        >>> off = idle_half(values, torch.Generator().manual_seed(0))
        >>> int(off.sum()), off[0, 4:6].any().item()
        (7, False)
    """
    moved = deviation.square().mean(1)
    sequences, channels = moved.shape
    busy = moved.topk(max(1, round(BUSY * channels)), dim=1).indices
    order = torch.rand(sequences, channels, generator=draw).to(moved.device)
    order = order.scatter(1, busy, 2.0)
    half = (channels - busy.shape[1]) // 2
    off = torch.zeros_like(order, dtype=torch.bool)
    return off.scatter(1, order.argsort(1)[:, :half], True)


def constant_share(value: Float[Tensor, "sequence token channel"]) -> Float[Tensor, ""]:
    """The share of the mean squared norm that is the same at every token, in [0, 1].

    Example:
        >>> round(float(constant_share(torch.ones(2, 3, 4))), 6)
        1.0
        >>> float(constant_share(torch.tensor([[[1.0], [-1.0]]])))
        0.0
    """
    values = value.float()
    constant = values.mean((0, 1)).square().sum()
    return constant / values.square().mean((0, 1)).sum().clamp_min(1e-9)
