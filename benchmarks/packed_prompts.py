"""What packed rows save on a model of transformers: a step of mask training, and a selection.

    nice -n 10 python -m benchmarks.packed_prompts --model hf:models/smollm2

Each turn runs the padded way and the packed way one after the other, in changing order, in one
process on one thread; what is printed is the median of their processor times and its range, so
that what else the machine does hardly counts.
"""

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from unittest.mock import patch

import torch
import tyro

from lacewing.ablation.node_mask import NodeMask
from lacewing.ablation.packed import packed
from lacewing.ablation.run import ablated_logits
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import prompt_sets
from lacewing.model.huggingface.network import HuggingFaceNetwork
from lacewing.model.sites import site_widths
from lacewing.model.store import Model, load
from lacewing.pruning.mask_learning import drawn, gradients
from lacewing.tasks.registry import get

TASKS = ("indirect_object", "subject_verb", "single_double_quote")
PAIRS = 12
"""Of a step."""


@dataclass(frozen=True)
class Asked:
    """What to measure."""

    model: str
    """Such as hf:models/smollm2."""
    tasks: tuple[str, ...] = TASKS
    """Tasks."""
    turns: int = 5
    """Runs of each way."""
    pairs: int = 64
    """Validation pairs that a selection is measured on."""
    kept: float = 0.5
    """Share of the nodes that are on, drawn at random with seed 0."""


def padded() -> AbstractContextManager[object]:
    """While it is entered, every prompt runs whole."""
    return patch.object(HuggingFaceNetwork, "packs", lambda network, width: False)


def turns(count: int, run: Callable[[], None]) -> dict[str, list[float]]:
    """Processor seconds of both ways."""
    found: dict[str, list[float]] = {"padded": [], "packed": []}
    for turn in range(count):
        for way in ("padded", "packed")[:: 1 if turn % 2 else -1]:
            with padded() if way == "padded" else torch.enable_grad():
                start = time.process_time()
                run()
                found[way].append(time.process_time() - start)
    return found


def said(name: str, found: dict[str, list[float]]) -> str:
    """One line: medians, ranges, ratio."""
    cells = [
        f"{way} {statistics.median(values):.2f} s [{min(values):.2f}, {max(values):.2f}]"
        for way, values in found.items()
    ]
    ratios = [b / a for a, b in zip(*found.values(), strict=True)]
    ratio = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
    return f"{name:36}  {'   '.join(cells)}   ratio {ratio}"


def measure(asked: Asked, model: Model, task: str) -> None:
    """A step and a selection of one task."""
    config = PruneConfig(prompts=6_000, train_pairs=192, validation_pairs=asked.pairs, test_pairs=2)
    sets = prompt_sets(model, get(task), config)
    widths = site_widths(model.network.config)
    generator = torch.Generator().manual_seed(0)
    tau = torch.rand(sum(widths.values()), generator=generator) - (1 - asked.kept)
    mask = NodeMask(widths, model.means, tau, 1.0)
    batch = drawn(sets.train, PAIRS, generator)
    places = packed(batch).numel

    def step() -> None:
        gradients(model.network, [mask], [batch], [0.0])

    print(f"{task}: {batch.tokens.numel():,} tokens padded, {places:,} packed")
    print(said(f"  step of {PAIRS} pairs", turns(asked.turns, step)), flush=True)
    masks = mask.on()

    def select() -> None:
        ablated_logits(model, sets.validation, masks)

    name = f"  selection, all {len(sets.validation)} pairs"
    print(said(name, turns(asked.turns, select)), flush=True)


def main(asked: Asked) -> None:
    """Measure every task."""
    torch.set_num_threads(1)
    model = load(asked.model)
    for task in asked.tasks:
        measure(asked, model, task)


if __name__ == "__main__":
    main(tyro.cli(Asked))
