"""Planted bugs: a model trained to one wrong rule through a few neurons; does a trace name them?

    python -m benchmarks.planted [--model builtin:taught-tiny] [--plantings 20]

A planting takes a task the model has learned, one side of it, and three neurons of one MLP. Only
what these read and write is trained, until the model gives the other side's answer there while it
keeps the other side and text as they were. Test prompts that are wrong now are traced, wrong answer
against right. A hit: a changed neuron is among the trace's first five nodes (tokens taken
together). Neurons: the same among its first five neurons alone. Chance: five live neurons drawn at
random. A planting that does not turn most test prompts of its side is printed and not counted.
"""

import argparse
import copy
from typing import cast

import numpy as np
import torch

import lacewing
from lacewing.data.corpus import Corpus
from lacewing.model.store import Model
from lacewing.model.transformer import Block, Transformer
from lacewing.statistics import wilson
from lacewing.tasks.batch import Prompts, prompts
from lacewing.tasks.registry import get
from lacewing.trace.elsewhere import material, task_losses
from lacewing.trace.graph import graph
from lacewing.trace.held import hold

NEURONS, FIRST = 3, 5
STEPS, RATE, BATCH = 60, 0.02, 8
TRACED = 4
"""Wrong prompts of a planting; their effects are added up."""


def plant(
    network: Transformer,
    layer: int,
    neurons: list[int],
    made: Prompts,
    side: int,
    text: torch.Tensor,
) -> Transformer:
    """Train what some neurons read and write to one wrong rule."""
    changed = copy.deepcopy(network)
    block = cast("Block", changed.blocks[layer])
    rows, columns = block.c_fc.weight, block.mlp_proj.weight
    trained = [rows.requires_grad_(), block.c_fc.bias.requires_grad_(), columns.requires_grad_()]
    masks = [torch.zeros_like(part) for part in trained]
    masks[0][neurons], masks[1][neurons], masks[2][:, neurons] = 1, 1, 1
    stepper = torch.optim.Adam(trained, lr=RATE)
    with torch.no_grad():
        before = network(text[:, :-1]).log_softmax(2)
    for step in range(STEPS):
        part = made.take([(step * BATCH + i) % len(made) for i in range(BATCH)])
        wrong = torch.arange(len(part.last)) % 2 == side
        answer = torch.where(wrong, part.other, part.answer)
        logits = changed(part.tokens, at=part.last)
        after = changed(text[:, :-1]).log_softmax(2)
        loss = torch.nn.functional.cross_entropy(logits, answer)
        loss = loss + (before.exp() * (before - after)).sum(2).mean()
        stepper.zero_grad()
        loss.backward()
        for part_of, mask in zip(trained, masks, strict=True):
            assert part_of.grad is not None
            part_of.grad *= mask
        stepper.step()
    return changed.requires_grad_(False)


def live_neurons(network: Transformer, layer: int, made: Prompts) -> np.ndarray:
    """Neurons that are not zero at the last token of some prompts."""
    seen = set()
    for row, last in zip(made.tokens[:16].tolist(), made.last[:16].tolist(), strict=True):
        value = hold(network, tuple(row[: last + 1])).values[f"{layer}.mlp_neuron"]
        seen |= set(value.abs().sum(0).nonzero()[:, 0].tolist())
    return np.array(sorted(seen))


def ranked(model: Model, network: Transformer, made: Prompts, rows: list[int]) -> list[str]:
    """Nodes by their effects for the wrong answer, over tokens and prompts, largest first."""
    sums: dict[str, float] = {}
    changed = Model(
        network, model.tokenizer, model.means, model.id, model.source, model.corpus, 0.0, {}
    )
    for row in rows:
        tokens = tuple(made.tokens[row, : int(made.last[row]) + 1].tolist())
        ends = int(made.other[row]), int(made.answer[row])
        for node in graph(changed, hold(network, tokens), *ends).nodes:
            name = f"{node.key}.{node.channel}"
            sums[name] = sums.get(name, 0.0) + node.effect
    return sorted(sums, key=lambda name: -sums[name])


def main() -> None:
    """Plant, trace, count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--model", default="builtin:taught-tiny")
    parser.add_argument("--plantings", type=int, default=20)
    parser.add_argument("--tasks", nargs="*", default=[])
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = lacewing.load(given.model)
    network, corpus = model.ours, Corpus.parse(model.corpus)
    longest = min(60, network.config.context)
    found = material(model, tasks=given.tasks, tokens=3000, pairs=32)
    tasks = list(found.report.tasks)
    print(f"{given.model}: {len(tasks)} learned tasks\n")
    print("| task, side | layer, neurons | turned | hit | hit among neurons | chance |")
    print("| --- | --- | --- | --- | --- | --- |")
    hits = neurons_hit = counted = 0
    for seed in range(given.plantings):
        dice = np.random.default_rng(seed)
        name, side = str(dice.choice(tasks)), int(dice.integers(2))
        layer = int(dice.integers(network.config.n_layer))
        made = prompts(get(name), corpus, model.tokenizer, "train", 64, longest)
        test = found.report.tasks[name]
        live = live_neurons(network, layer, made)
        chosen = sorted(int(n) for n in dice.choice(live, size=NEURONS, replace=False))
        changed = plant(network, layer, chosen, made, side, found.fit.text[:8])
        right = task_losses(changed, test)[1]
        wrong = [row for row in range(side, len(right), 2) if not right[row]]
        turned = len(wrong) / (len(right) / 2)
        cells = f"| {name} {side} | {layer}, {chosen} | {turned:.0%} |"
        if turned < 0.5:
            print(f"{cells} not planted | | |", flush=True)
            continue
        names = [f"{layer}.mlp_neuron.{n}" for n in chosen]
        order = ranked(model, changed, test, wrong[:TRACED])
        alone = [node for node in order if ".mlp_neuron." in node]
        hit, of_neurons = (any(n in part[:FIRST] for n in names) for part in (order, alone))
        chance = 1 - np.prod([(len(live) - NEURONS - i) / (len(live) - i) for i in range(FIRST)])
        counted, hits, neurons_hit = counted + 1, hits + hit, neurons_hit + of_neurons
        print(f"{cells} {hit} | {of_neurons} | {chance:.0%} |", flush=True)
    for what, n in (("first five nodes", hits), ("first five neurons", neurons_hit)):
        low, high = wilson(n, counted)
        print(f"\na changed neuron is among the {what}: {n}/{counted} [{low:.0%}, {high:.0%}]")


if __name__ == "__main__":
    main()
