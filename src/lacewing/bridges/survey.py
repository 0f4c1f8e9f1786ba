"""Every node of a circuit as a handle on the dense model.

For each node that crosses a bridge, the strength is chosen on validation pairs, where the partner's
answer is likeliest in the mean; then it is measured once on test pairs, beside random directions of
the same length at the same strength. Nothing is chosen on test pairs.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lacewing.bridges.directions import Direction, direction, random_rows
from lacewing.bridges.folder import Coupling
from lacewing.bridges.steer import adding, answers, deltas, unlike
from lacewing.model.layers import sparse_products
from lacewing.progress import progress
from lacewing.sae.figures import Figure
from lacewing.statistics import bootstrap
from lacewing.tasks.batch import Prompts

Spread = tuple[float, float, float]
"""Quartiles and median: low, middle, high."""


@dataclass(frozen=True)
class Handle:
    """One node, at the strength that was chosen for it."""

    node: str
    strength: float
    on_validation: float
    """Probability of the partner's answer there."""
    after: Figure
    """The same on test pairs."""
    random: Figure
    """Under random directions."""
    more: Figure
    """How much more the node moves the answer than they do."""


@dataclass(frozen=True)
class Survey:
    """All nodes of a circuit."""

    task: str
    handles: list[Handle]
    """The best on validation pairs first."""
    before: Spread
    """Probability of the partner's answer, over test pairs."""
    after: Spread
    """Over nodes and test pairs."""
    random: Spread
    """Over nodes, random directions and test pairs."""
    pairs: int
    validation_pairs: int
    unlike: int
    """Test pairs whose two prompts have different lengths."""
    seed: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@torch.inference_mode()
def survey(
    coupling: Coupling,
    nodes: Sequence[str],
    task: str,
    validation: Prompts,
    test: Prompts,
    strengths: Sequence[float],
    *,
    randoms: int = 10,
    seed: int = 0,
    quiet: bool = False,
) -> Survey:
    """Steer by every one of some nodes.

    Args:
        coupling: Both models and their bridges.
        nodes: As `transfer.crossing` gives them.
        task: The task's name.
        validation: Pairs that strengths are chosen on.
        test: Pairs that are reported.
        strengths: To choose from.
        randoms: Random directions for each node.
        seed: Of those and of the intervals.
        quiet: Report no progress.
    """
    before = answers(coupling.dense, test).partner
    handles, moved, control = [], [], []
    with (
        sparse_products(coupling.sparse.network),
        progress(f"steer {task}", len(nodes), "nodes", not quiet) as bar,
    ):
        for number, node in enumerate(nodes):
            found = direction(coupling, node)
            tried = _tried(coupling, found, validation, strengths)
            best = int(np.argmax(tried))
            delta = deltas(coupling, found, test)
            mine, *drawn = (
                _moved(coupling, found, row, delta, strengths[best], test)
                for row in (found.row, *random_rows(found.row, randoms, seed))
            )
            mean = np.stack(drawn).mean(0)
            moved.append(mine)
            control.append(np.stack(drawn))
            figures = (_figure(values, seed) for values in (mine, mean, mine - mean))
            handles.append(Handle(node, float(strengths[best]), tried[best], *figures))
            bar.update(number + 1)
    return Survey(
        task=task,
        handles=sorted(handles, key=lambda one: -one.on_validation),
        before=_spread(before),
        after=_spread(np.stack(moved)),
        random=_spread(np.stack(control)),
        pairs=len(test),
        validation_pairs=len(validation),
        unlike=unlike(test),
        seed=seed,
    )


def _tried(
    coupling: Coupling, found: Direction, prompts: Prompts, strengths: Sequence[float]
) -> list[float]:
    """The partner's answer in the mean, at every strength."""
    delta = deltas(coupling, found, prompts)
    return [
        float(_moved(coupling, found, found.row, delta, strength, prompts).mean())
        for strength in strengths
    ]


def _moved(
    coupling: Coupling,
    found: Direction,
    row: Tensor,
    delta: Tensor,
    strength: float,
    prompts: Prompts,
) -> np.ndarray:
    """The partner's answer by pair, with a direction added at the node's site."""
    edits = {found.key: adding(row, delta, strength, prompts)}
    return answers(coupling.dense, prompts, edits).partner


def _spread(values: np.ndarray) -> Spread:
    low, middle, high = np.percentile(values, [25, 50, 75])
    return float(low), float(middle), float(high)


def _figure(values: np.ndarray, seed: int) -> Figure:
    return Figure(float(values.mean()), bootstrap(values, seed=seed))
