"""Does another seed find the same circuit, and what happens where the shared nodes are forbidden?

    overlap     nodes two circuits share / nodes either has (Jaccard), over all pairs
    core        the nodes of at least nine in ten of them
    redundancy  the search once more, with the core forbidden: what the model has in reserve

A seed draws the start of the mask and the order of the training prompts. Where more than seven are
asked for, seven are looked at first, and the rest are left out if these settle it. Four would not
do: where seeds fall into one of two circuits at random, four agree by chance once in eight.
Source: Hao & Goldstein, Exhausting Backup Circuits (method section 13).
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_loss
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.pruning.node_search import Wanted
from lacewing.statistics import interval
from lacewing.verification.evidence import Evidence
from lacewing.verification.finding import NOT_SEARCHED, Finding, LeftOut, judge
from lacewing.verification.kept import Kept
from lacewing.verification.searches import Found, searched

KEPT = "stability_{}"
"""Where the circuit of a seed is kept."""
NONE: Nodes = {}
"""Of a seed that finds no circuit."""
OVERLAP = 0.5
"""Two circuits of equal size that share two of three nodes."""
CORE = 0.9
"""Share of the circuits that a node of the core is in."""
RESAMPLES = 2000
LOOK = 7
"""Seeds after which the overlap may be settled."""
WIDE = 3.707
"""Student's t for 99 % with LOOK - 1 degrees: the early look may err once in a hundred."""


@dataclass(frozen=True)
class Stability:
    """What the seeds say of each other."""

    seeds: tuple[int, ...]
    """Seeds whose search found a circuit."""
    sizes: tuple[int, ...]
    """Nodes of each."""
    overlap: float
    """Mean over pairs of seeds; nan with fewer than two circuits."""
    interval: tuple[float, float]
    """95 %, by resampling seeds; 99 %, by leaving out each, where seven settled it."""
    random: float
    """The same of random circuits with as many nodes per site."""
    shared: float
    """Mean overlap of the circuit itself with those of the seeds."""
    core: tuple[str, ...]
    """Names of the nodes that nearly all have."""
    core_kept: int
    """How many of them the circuit has."""
    without_core: float
    """Loss of the full model with the core ablated, on test prompts, nats."""
    backup: int | None
    """Nodes of the smallest circuit without the core; none if no circuit reaches the target."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


def run(model: Model, circuit: Circuit, prompts: Evidence, quiet: bool) -> list[Finding | LeftOut]:
    """Prune with other seeds, and once without what they share.

    Args:
        model: The circuit's model.
        circuit: The circuit; its configuration is used again.
        prompts: Its prompts.
        quiet: Report no progress.

    Returns:
        The overlap as the one finding; core and redundancy are in its words.
    """
    if circuit.parts is not None:
        return [LeftOut("stability", NOT_SEARCHED)]
    return [finding(measure(model, circuit, prompts, quiet=quiet), circuit)]


def measure(model: Model, circuit: Circuit, prompts: Evidence, *, quiet: bool = False) -> Stability:
    """Prune with other seeds than the circuit's, and once without what they share."""
    found, ends = _enough_seeds(model, circuit, prompts, quiet)
    kept = _matrix(model, list(found.values()))
    own = _matrix(model, [circuit.nodes])
    core = kept.mean(0) >= CORE - 1e-9 if len(kept) else np.zeros(kept.shape[1], dtype=bool)
    nodes = _split(model, core)
    again = [_wanted(circuit, prompts, circuit.seed, anyway=True, forbidden=nodes)]
    backup = searched(model, again, prompts.searches, quiet=quiet) if core.any() else []
    ablated = masks_of(model.network, nodes, complement=True)
    shared = _jaccard(np.concatenate([own, kept]))[0, 1:]
    between = _jaccard(kept)
    drawn = _random(model, list(found.values()), prompts.seed)
    return Stability(
        seeds=tuple(found),
        sizes=tuple(int(row.sum()) for row in kept),
        overlap=_between(between, np.arange(len(found))),
        interval=ends,
        random=_between(_jaccard(drawn), np.arange(len(found))),
        shared=float(shared.mean()) if len(shared) else math.nan,
        core=tuple(f"{key}.{channel}" for key, some in nodes.items() for channel in some),
        core_kept=int((core & own[0]).sum()),
        without_core=float(ablated_loss(model, prompts.test, ablated).mean()),
        backup=next((one.n_nodes for one in backup if isinstance(one, Found)), None),
    )


def _enough_seeds(
    model: Model, circuit: Circuit, prompts: Evidence, quiet: bool
) -> tuple[dict[int, Nodes], tuple[float, float]]:
    """Circuits of as many seeds as settle the overlap, or of all, and its interval."""
    if prompts.seeds > LOOK:
        found = _other_seeds(model, circuit, prompts, LOOK, quiet)
        if len(found) == LOOK:
            settled = _early_interval(_jaccard(_matrix(model, list(found.values()))))
            if settled[0] >= OVERLAP or settled[1] < OVERLAP:
                return found, settled
    found = _other_seeds(model, circuit, prompts, prompts.seeds, quiet)
    between = _jaccard(_matrix(model, list(found.values())))
    return found, _interval(between, prompts.seed)


def _other_seeds(
    model: Model, circuit: Circuit, prompts: Evidence, count: int, quiet: bool
) -> dict[int, Nodes]:
    """The nodes of the circuits of other seeds; each is kept, and not searched for again."""
    numbers = [circuit.seed + 1 + i for i in range(count)]
    known = {seed: _read(prompts.kept, seed) for seed in numbers}
    missing = [seed for seed in numbers if known[seed] is None]

    def keep(place: int, one: Found) -> None:
        known[missing[place]] = one.nodes
        _write(prompts.kept, missing[place], one.nodes)

    wanted = [_wanted(circuit, prompts, seed) for seed in missing]
    found = searched(model, wanted, prompts.searches, done=keep, quiet=quiet)
    for seed, one in zip(missing, found, strict=True):
        if not isinstance(one, Found):
            _write(prompts.kept, seed, NONE)
    return {seed: nodes for seed, nodes in known.items() if nodes}


def _wanted(circuit: Circuit, prompts: Evidence, seed: int, **more: Any) -> Wanted:
    config = dataclasses.replace(circuit.config.nodes_alone(), seed=seed)
    return Wanted(prompts.task, config, prompts.sets, **more)


def _read(kept: Kept | None, seed: int) -> Nodes | None:
    """The circuit that a seed found before; no nodes if it found none, None if it was not asked."""
    part = kept.read(KEPT.format(seed)) if kept else None
    return part and {key: np.array(some, dtype=np.int32) for key, some in part["nodes"].items()}


def _write(kept: Kept | None, seed: int, nodes: Nodes) -> None:
    if kept:
        plain = {key: channels.tolist() for key, channels in nodes.items()}
        kept.write(KEPT.format(seed), {"nodes": plain})


def finding(found: Stability, circuit: Circuit) -> Finding:
    """The overlap, judged; the rest in words."""
    low, high = found.interval
    known = len(found.seeds) > 1
    if not known:
        meaning = f"only {len(found.seeds)} of the seeds found a circuit: nothing to compare"
    else:
        few, many = min(found.sizes), max(found.sizes)
        meaning = (
            f"{len(found.seeds)} seeds find circuits of {few} to {many} nodes, this one shares "
            f"{found.shared:.0%} with them; {_redundancy(found, circuit)}"
        )
    return judge(
        "stability.overlap",
        found.overlap,
        OVERLAP,
        at_most=False,
        unit="share of nodes",
        n=len(found.seeds),
        low=low if known else None,
        high=high if known else None,
        control=found.random if known else None,
        control_name="random circuits of the same sizes",
        meaning=meaning,
    )


def _redundancy(found: Stability, circuit: Circuit) -> str:
    if not found.core:
        return "no node is in nine of ten"
    backup = "no circuit" if found.backup is None else f"a circuit of {found.backup} nodes"
    return (
        f"core {len(found.core)} nodes, {found.core_kept} of them here; without it the full model "
        f"has {found.without_core:.2f} nats and {backup} reaches {circuit.config.chosen_at:g}"
    )


def _matrix(model: Model, circuits: Sequence[Nodes]) -> Bool[np.ndarray, "circuit channel"]:
    """Which of all nodes each circuit keeps."""
    total = sum(site_widths(model.network.config).values())
    rows = [torch.cat(list(masks_of(model.network, nodes).values())).numpy() for nodes in circuits]
    return np.stack(rows) if rows else np.zeros((0, total), dtype=bool)


def _split(model: Model, kept: Bool[np.ndarray, " channel"]) -> dict[str, np.ndarray]:
    """Nodes by site from a row of `_matrix`."""
    widths = site_widths(model.network.config)
    parts = np.split(kept, np.cumsum(list(widths.values()))[:-1])
    return {
        key: np.flatnonzero(part).astype(np.int32) for key, part in zip(widths, parts, strict=True)
    }


def _random(model: Model, circuits: Sequence[Nodes], seed: int) -> np.ndarray:
    """One random circuit for each, with as many nodes at every site."""
    generator = np.random.default_rng(seed)
    widths = site_widths(model.network.config)
    drawn = [
        {
            key: generator.choice(widths[key], len(kept), replace=False).astype(np.int32)
            for key, kept in nodes.items()
        }
        for nodes in circuits
    ]
    return _matrix(model, drawn)


def _jaccard(kept: Bool[np.ndarray, "circuit channel"]) -> Float[np.ndarray, "circuit circuit"]:
    """Overlap of every circuit with every other; 1 for two empty ones."""
    shared = kept.astype(np.int64) @ kept.T.astype(np.int64)
    sizes = kept.sum(1)
    either = sizes[:, None] + sizes[None] - shared
    return np.where(either == 0, 1.0, shared / np.maximum(either, 1))


def _between(overlaps: Float[np.ndarray, "circuit circuit"], rows: np.ndarray) -> float:
    """Mean overlap of the pairs among some circuits; a circuit drawn twice is no pair."""
    different = rows[:, None] != rows[None]
    return float(overlaps[np.ix_(rows, rows)][different].mean()) if different.any() else math.nan


def _early_interval(overlaps: Float[np.ndarray, "circuit circuit"]) -> tuple[float, float]:
    """99 % of the mean overlap of LOOK circuits, by leaving out each in turn (jackknife)."""
    rows = np.arange(LOOK)
    mean = _between(overlaps, rows)
    without = np.array([_between(overlaps, np.delete(rows, i)) for i in rows])
    single = LOOK * mean - (LOOK - 1) * without
    half = WIDE * float(single.std(ddof=1)) / math.sqrt(LOOK)
    return max(0.0, mean - half), min(1.0, mean + half)


def _interval(overlaps: Float[np.ndarray, "circuit circuit"], seed: int) -> tuple[float, float]:
    """95 % of the mean overlap, by resampling circuits."""
    count, generator = len(overlaps), np.random.default_rng(seed)
    if count < 2:
        return math.nan, math.nan
    drawn = generator.integers(count, size=(RESAMPLES, count))
    means = np.array([_between(overlaps, rows) for rows in drawn])
    return interval(means[~np.isnan(means)])
