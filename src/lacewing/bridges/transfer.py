"""Whether a circuit's decoded nodes carry the task in the dense model.

The nodes that a circuit reads become directions of what the dense model's sublayers read, and of
its last residual stream. Then, in the dense model:

    sufficient    everything but those directions at its mean: is the task still done?
    necessary     those directions at their mean, everything else as it is: is it lost?

Position channels, which dense models have of their own, are left alone. Beside them stand as many
random directions at the same sites, and the decoded directions of as many other nodes, which are
what the bridge says of any node.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lacewing import artifacts
from lacewing.bridges.directions import basis, direction
from lacewing.bridges.folder import Coupling
from lacewing.bridges.maps import Sizes, site_key
from lacewing.circuit.edges import Nodes
from lacewing.errors import DataError
from lacewing.model.hooks import edit, record
from lacewing.model.protocol import SiteHook
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.sae.figures import Figure
from lacewing.statistics import bootstrap, pair_means
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import HALF_CHANCE, LEARNED, two_answer_loss

DRAWS = 10
Bases = Mapping[str, Tensor]
"""By site, an orthonormal basis of the directions there, [channel direction]."""


@dataclass(frozen=True)
class Test:
    """One of the two tests."""

    __pydantic_config__ = artifacts.EXACT

    loss: Figure
    """Task loss of the dense model, nats."""
    random: Figure
    """With random directions, mean over the draws."""
    others: Figure
    """With decoded directions of other nodes, mean over the draws."""
    margin_random: Figure
    """How much worse random directions do: the loss they leave more, or take away less."""
    margin_others: Figure
    verdict: bool
    """The whole interval on the right side of the threshold, and of both margins."""


@dataclass(frozen=True)
class Transfer:
    """A circuit's nodes in the dense model."""

    __pydantic_config__ = artifacts.EXACT

    task: str
    nodes: int
    """That cross a bridge."""
    left_out: int
    """Kept nodes of the circuit where no bridge stands."""
    directions: dict[str, int]
    """How many dimensions they span at every site."""
    full: Figure
    """Task loss of the dense model as it is."""
    sufficient: Test
    necessary: Test
    thresholds: tuple[float, float]
    """Nats: sufficient below the first, necessary above the second."""
    pairs: int
    draws: int
    seed: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def crossing(sizes: Sizes, nodes: Nodes) -> list[str]:
    """The kept nodes of a circuit that have a direction in the dense model.

    Raises:
        DataError: none has.
    """
    keys = [site_key(site, sizes.n_layer) for site in range(sizes.count)]
    found = [
        f"{key}.{channel}"
        for key in keys
        for channel in nodes[key].tolist()
        if channel < sizes.d_sparse
    ]
    if not found:
        raise DataError(f"the circuit keeps no node where a bridge stands ({', '.join(keys)})")
    return found


@torch.inference_mode()
def transfer(
    coupling: Coupling,
    nodes: Nodes,
    task: str,
    prompts: Prompts,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    quiet: bool = False,
) -> Transfer:
    """Test the nodes of a circuit of the sparse model in the dense one.

    Args:
        coupling: Both models and their bridges.
        nodes: Kept nodes by site.
        task: The task's name.
        prompts: Test pairs.
        draws: Random sets of each kind, at least one.
        seed: Of those and of the intervals.
        quiet: Report no progress.

    Raises:
        DataError: no node crosses a bridge.
    """
    names = crossing(coupling.facts.sizes, nodes)
    own = _bases(coupling, names)
    others = _Others(coupling, names, prompts)
    dense = coupling.dense
    tests = {}
    with progress(f"transfer {task}", 2 * (1 + 2 * draws), "passes", not quiet) as bar:
        for place, alone in enumerate((True, False)):
            mine = _losses(dense, prompts, own, alone=alone)
            random, other = [], []
            for draw in range(draws):
                dice = np.random.default_rng([seed, draw])
                random.append(_losses(dense, prompts, _random(own, dice), alone=alone))
                other.append(_losses(dense, prompts, others.drawn(dice), alone=alone))
                bar.update(place * (1 + 2 * draws) + 1 + 2 * (draw + 1))
            tests[alone] = _test(mine, np.stack(random), np.stack(other), seed, alone=alone)
        full = _losses(dense, prompts, {}, alone=False)
    return Transfer(
        task=task,
        nodes=len(names),
        left_out=sum(map(len, nodes.values())) - len(names),
        directions={key: columns.shape[1] for key, columns in own.items()},
        full=_figure(full, seed),
        sufficient=tests[True],
        necessary=tests[False],
        thresholds=(LEARNED, HALF_CHANCE),
        pairs=len(prompts),
        draws=draws,
        seed=seed,
    )


def _test(
    mine: np.ndarray, random: np.ndarray, other: np.ndarray, seed: int, *, alone: bool
) -> Test:
    loss = _figure(mine, seed)
    sign = 1 if alone else -1
    margins = [_figure(sign * (draws.mean(0) - mine), seed) for draws in (random, other)]
    right = loss.interval[1] <= LEARNED if alone else loss.interval[0] >= HALF_CHANCE
    return Test(
        loss=loss,
        random=_figure(random.mean(0), seed),
        others=_figure(other.mean(0), seed),
        margin_random=margins[0],
        margin_others=margins[1],
        verdict=bool(right and all(margin.interval[0] > 0 for margin in margins)),
    )


def _bases(coupling: Coupling, names: Sequence[str]) -> dict[str, Tensor]:
    """The directions of some nodes, by site; every site that has a bridge is there."""
    sizes, width = coupling.facts.sizes, coupling.facts.dense.width
    rows: dict[str, list[Tensor]] = {
        site_key(site, sizes.n_layer): [] for site in range(sizes.count)
    }
    for name in names:
        found = direction(coupling, name)
        rows[found.key].append(found.row)
    return {key: basis(some) if some else torch.zeros(width, 0) for key, some in rows.items()}


def _random(own: Bases, dice: np.random.Generator) -> dict[str, Tensor]:
    """As many random directions at every site."""
    return {
        key: torch.from_numpy(np.linalg.qr(dice.normal(size=columns.shape))[0]).float()
        for key, columns in own.items()
    }


class _Others:
    """Other nodes of the sparse model, which say something on these prompts."""

    def __init__(self, coupling: Coupling, names: Sequence[str], prompts: Prompts) -> None:
        self.coupling, width = coupling, coupling.facts.sparse.width
        network, taken = coupling.sparse.network, set(names)
        self.counts: dict[str, int] = {}
        for name in names:
            key = name.rpartition(".")[0]
            self.counts[key] = self.counts.get(key, 0) + 1
        self.alive: dict[str, list[str]] = {}
        with record(network, list(self.counts)) as seen:
            network(prompts.tokens)
        for key in self.counts:
            used = (seen[key][..., :width] != 0).flatten(0, 1).any(0).nonzero().flatten()
            free = [f"{key}.{channel}" for channel in used.tolist()]
            self.alive[key] = [name for name in free if name not in taken]

    def drawn(self, dice: np.random.Generator) -> dict[str, Tensor]:
        """Directions of as many of them at every site, or of all where there are fewer."""
        names: list[str] = []
        for key, count in self.counts.items():
            free = self.alive[key]
            names += (
                dice.choice(free, min(count, len(free)), replace=False).tolist() if free else []
            )
        return _bases(self.coupling, names)


def _losses(dense: Model, prompts: Prompts, bases: Bases, *, alone: bool) -> np.ndarray:
    """The task loss by pair, with the directions alone or without them."""
    edits = {
        key: _projected(columns, dense.means[key], alone=alone)
        for key, columns in bases.items()
        if alone or columns.shape[1]
    }
    with edit(dense.network, edits):
        logits = dense.network(prompts.tokens, at=prompts.last).float()
    return pair_means(two_answer_loss(logits, prompts))


def _projected(columns: Tensor, mean: Tensor, *, alone: bool) -> SiteHook:
    """An edit that leaves of a site some directions alone, or everything else."""
    width = len(columns)
    middle = mean[:width]

    def hook(value: Tensor) -> Tensor:
        off = value[..., :width] - middle
        part = (off @ columns) @ columns.T
        kept = middle + part if alone else value[..., :width] - part
        return torch.cat([kept, value[..., width:]], dim=-1)

    return hook


def _figure(values: np.ndarray, seed: int) -> Figure:
    return Figure(float(values.mean()), bootstrap(values, seed=seed))
