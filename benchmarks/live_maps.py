"""What it saves to work out live channels alone in a model of transformers where few run freely.

    nice -n 10 python -m benchmarks.live_maps --model hf:models/smollm2

Five cases: prompts of a task with all other nodes ablated, or a half of all nodes; a step of mask
training, 12 pairs; what is claimed at every token of text; and in that, the log odds of two answers
against all other tokens. Each turn runs both ways one after the other, in changing order, in one
process on one thread; printed are medians and ranges of their processor times.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from unittest.mock import patch

import torch
import tyro

from benchmarks.packed_prompts import said
from lacewing.ablation import live_maps
from lacewing.ablation.claims import claims, log_odds
from lacewing.ablation.learning_maps import LearningMaps
from lacewing.ablation.node_mask import NodeMask
from lacewing.ablation.run import ablated_logits
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import prompt_sets
from lacewing.kernels.memory import keep_pages
from lacewing.model.huggingface.network import HuggingFaceNetwork
from lacewing.model.sites import site_widths
from lacewing.model.store import Model, load
from lacewing.pruning.mask_learning import gradients
from lacewing.tasks.batch import Prompts
from lacewing.tasks.registry import get

ANSWERS = [5, 77]
"""Any two tokens."""


@dataclass(frozen=True)
class Asked:
    """What to measure."""

    model: str
    """Such as hf:models/smollm2."""
    task: str = "subject_verb"
    pairs: int = 64
    windows: int = 16
    """Windows of 128 random tokens each."""
    kept: float = 0.01
    """Share of the nodes that are on, drawn at random with seed 0."""
    turns: int = 5
    """Runs of each way."""


def turns(count: int, ways: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Processor seconds of each way."""
    found: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(count):
        for way in list(ways)[:: 1 if turn % 2 else -1]:
            start = time.process_time()
            ways[way]()
            found[way].append(time.process_time() - start)
    return found


def by_hooks(run: Callable[[], object]) -> dict[str, Callable[[], object]]:
    """A run without maps of live channels, and with them."""

    def hooked() -> None:
        with patch.object(live_maps, "_fits", lambda network, masks: False):
            run()

    return {"hooks": hooked, "live maps": run}


def step_of(model: Model, on: torch.Tensor, batch: Prompts) -> dict[str, Callable[[], object]]:
    """Gradients of a mask, by whole maps and by columns and rows of what is on."""
    network = model.network
    assert isinstance(network, HuggingFaceNetwork)
    known = LearningMaps(network, model.means)

    def run(maps: LearningMaps | None) -> None:
        mask = NodeMask(site_widths(network.config), model.means, on.float() - 0.5, 1.0)
        with torch.enable_grad():
            gradients(network, [mask], [batch], [1e-4], maps=maps)

    return {"whole maps": lambda: run(None), "what is on": lambda: run(known)}


def plain(logits: torch.Tensor) -> torch.Tensor:
    """Log odds of the answers as torch has them."""
    chosen = torch.zeros(logits.shape[1], dtype=torch.bool)
    chosen[ANSWERS] = True
    return logits[:, chosen].logsumexp(1) - logits[:, ~chosen].logsumexp(1)


@torch.no_grad()
def main(asked: Asked) -> None:
    """Measure all cases."""
    keep_pages()
    torch.set_num_threads(1)
    model, generator = load(asked.model), torch.Generator().manual_seed(0)
    network = model.network
    assert isinstance(network, HuggingFaceNetwork)
    widths = site_widths(network.config)
    masks, half = (
        {key: torch.rand(width, generator=generator) < share for key, width in widths.items()}
        for share in (asked.kept, 0.5)
    )
    config = PruneConfig(prompts=6_000, train_pairs=64, validation_pairs=asked.pairs, test_pairs=2)
    sets = prompt_sets(model, get(asked.task), config)
    prompts = sets.validation
    text = torch.randint(network.config.vocab_size, (asked.windows, 128), generator=generator)
    text[:, 0] = prompts.tokens[0, 0]
    read = lambda: ablated_logits(model, prompts, masks)  # noqa: E731
    other = lambda: ablated_logits(model, prompts, half)  # noqa: E731
    claim = lambda: claims(network, text, ANSWERS, masks, ablation_values=model.means)  # noqa: E731
    some = f"{len(prompts)} pairs of {asked.task}"
    for name, run in ((some, read), (f"{some}, half", other), ("claims on text", claim)):
        print(said(name, turns(asked.turns, by_hooks(run))), flush=True)
    on = torch.cat(list(masks.values()))
    learn = step_of(model, on, sets.train.first(12))
    print(said("a step of mask training", turns(asked.turns, learn)), flush=True)
    logits = network(text[:4]).flatten(0, 1)
    ways = {"torch": lambda: plain(logits), "in pieces": lambda: log_odds(logits, ANSWERS)}
    print(said(f"log odds at {len(logits)} tokens", turns(asked.turns, ways)))


if __name__ == "__main__":
    main(tyro.cli(Asked))
