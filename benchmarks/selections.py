"""`python -m benchmarks.selections`: selecting from a learned mask, against the published way.

A real mask is learned first (`builtin:taught-sparse`, or --model, and a task). Then three ways
take turns:

published  at every stage, bisection over all nodes; each selection is run by the masked model, on
           all prompts
bisection  the same with compiled circuits
ours       the last stage first, from its count of nodes; earlier ones only below what is found; a
           run stops as soon as the target can no longer be reached

Then one pass over the rows of four thresholds is held against four passes, one threshold each.
"""

import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor

from lacewing.ablation.calibration import calibrated_loss
from lacewing.ablation.masks import Masks, replacing
from lacewing.ablation.node_mask import NodeMask, edits
from lacewing.ablation.run import ablated_logits
from lacewing.circuit.config import PruneConfig
from lacewing.errors import DataError
from lacewing.kernels.memory import keep_pages
from lacewing.model import store
from lacewing.model.hooks import edit
from lacewing.model.layers import sparse_products
from lacewing.model.store import Model
from lacewing.pruning.node_search import Search, Wanted, step_together
from lacewing.pruning.reachability import reachable
from lacewing.pruning.selection import Selection, Target
from lacewing.tasks import registry
from lacewing.tasks.batch import Prompts

AT_ONCE = 4
"""Thresholds in one pass."""


@dataclass(frozen=True)
class Selections:
    """What to measure."""

    model: str = "builtin:taught-sparse"
    """A model."""
    task: str = "bracket_counting"
    """A task it has learned."""
    times: int = 5
    """Turns of every way."""
    json: bool = False
    """End with one line of JSON."""


class Counted:
    """A target that counts how often it is asked."""

    def __init__(self, reaches: Callable[[Masks], bool]) -> None:
        self.asked_of, self.selections = reaches, 0

    def reaches(self, masks: Masks) -> bool:
        """Whether the nodes that masks keep reach it."""
        self.selections += 1
        return self.asked_of(masks)


def learned(model: Model, task: str, config: PruneConfig) -> Search:
    """A search that has walked its path and has not selected yet."""
    search = Search.begin(model, 0, Wanted(registry.get(task), config))
    if isinstance(search, DataError):
        raise search
    while not search.ended:
        step_together(model, [search])
    return search


def plain_bisection(model: Model, search: Search, target: Target) -> Selection | None:
    """The smallest selection of all stages, each by bisection from nothing to everything."""
    best = None
    for ranking in search.rankings:
        mask = NodeMask(search.mask.widths, model.means, ranking, 1.0)
        low, high = 0, len(ranking)
        while high - low > 1:
            middle = (low + high) // 2
            masks = reachable(model.network, mask.top(middle))
            if target.reaches(masks):
                high = middle
                if best is None or middle < best.nodes:
                    best = Selection(masks, middle)
            else:
                low = middle
    return best


def our_selection(model: Model, search: Search, target: Target) -> Selection | None:
    """What a search does, before nodes are eliminated."""
    search.target, search.best = target, None
    return search.smallest(model)


def masked(model: Model, prompts: Prompts, masks: Masks) -> Tensor:
    """Logits of the masked full model."""
    with torch.no_grad(), edit(model.network, replacing(masks, model.means)):
        return model.network(prompts.tokens, at=prompts.last)


def at_once(model: Model, search: Search) -> tuple[Callable[[], object], Callable[[], object]]:
    """Four thresholds: one pass over all their rows, and one pass each."""
    ranking, prompts = search.rankings[-1], search.sets.validation
    on = int((ranking > 0).sum())
    order = ranking.sort(descending=True, stable=True).values
    masks = [
        NodeMask(
            search.mask.widths,
            model.means,
            ranking - float(order[on * (i + 1) // 4 - 1]) + 1e-6,
            1.0,
        )
        for i in range(AT_ONCE)
    ]
    rows = len(prompts.last)
    whose = torch.arange(AT_ONCE).repeat_interleave(rows)
    tokens, last = prompts.tokens.repeat(AT_ONCE, 1), prompts.last.repeat(AT_ONCE)

    @torch.no_grad()
    def together() -> None:
        with edit(model.network, edits(masks, whose)):
            model.network(tokens, at=last)

    @torch.no_grad()
    def alone() -> None:
        for mask in masks:
            with edit(model.network, edits([mask], None)):
                model.network(prompts.tokens, at=prompts.last)

    return together, alone


def seconds(run: Callable[[], object]) -> float:
    """Of one run."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main(bench: Selections) -> None:
    """Learn, then let the ways take turns."""
    keep_pages()
    model = store.load(bench.model)
    with sparse_products(model.network):
        search = learned(model, bench.task, PruneConfig())
        prompts = search.sets.validation
        most = search.wanted.config.target_loss
        ways = {
            "published": lambda m: calibrated_loss(masked(model, prompts, m), prompts) <= most,
            "bisection": lambda m: (
                calibrated_loss(ablated_logits(model, prompts, m), prompts) <= most
            ),
            "ours": search.target.reaches,
        }
        took: dict[str, list[float]] = {name: [] for name in ways}
        said = {}
        for _ in range(bench.times):
            for name, reaches in ways.items():
                counted = Counted(reaches)
                began = time.perf_counter()
                found = (our_selection if name == "ours" else plain_bisection)(
                    model, search, counted
                )
                took[name].append(time.perf_counter() - began)
                said[name] = {
                    "selections": counted.selections,
                    "nodes": found.nodes if found else math.inf,
                }
        together, alone = at_once(model, search)
        pairs = [(seconds(together), seconds(alone)) for _ in range(bench.times)]
    for name, facts in said.items():
        ratio = statistics.median(a / b for a, b in zip(took["published"], took[name], strict=True))
        facts |= {"ms": 1e3 * statistics.median(took[name]), "ratio": ratio}
        sizes = f"{facts['selections']:3} selections, {facts['nodes']} nodes"
        print(f"{name:10} {facts['ms']:8.0f} ms {ratio:5.1f}x  {sizes}")
    passes = statistics.median(a / b for a, b in pairs)
    print(f"{AT_ONCE} thresholds in one pass take {passes:.2f} of the time of {AT_ONCE} passes")
    if bench.json:
        print(json.dumps({"selections": said, "one_pass_of_four": passes}))


if __name__ == "__main__":
    main(tyro.cli(Selections))
