"""Planted bugs: a model trained to one wrong rule through a few neurons; does a trace name them?

    python -m benchmarks.planted [--model builtin:taught-tiny] [--plantings 20] [--output FILE]

A planting takes a task the model has learned, one side of it, and three neurons of one MLP, drawn
among those that are on at the last token of at least half of that side's prompts: through others
nothing can be taught, since no gradient passes a neuron that is off, and what the last MLP does at
earlier tokens reaches no answer. Only what these read and write is trained, until the model gives
the other side's answer there while it keeps the other side and text as they were. Test prompts that
are wrong now are traced, wrong answer against right. A hit: a changed neuron is among the trace's
first five nodes (tokens taken together). Neurons: the same among its first five neurons alone.
Chance: five of the neurons that were drawn from, at random. A planting that does not turn most test
prompts of its side is printed and not counted.

With --output each planting is kept as a line of JSON as soon as it is done, and the same command
goes on after those that are there.
"""

import argparse
import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

import lacewing
from lacewing.data.corpus import Corpus
from lacewing.model.layers import find_nonzeros, forget_nonzeros, sparse_products
from lacewing.model.store import Model
from lacewing.model.transformer import Block, Transformer
from lacewing.statistics import wilson
from lacewing.tasks.batch import Prompts, prompts
from lacewing.tasks.registry import get
from lacewing.trace.elsewhere import material, task_losses
from lacewing.trace.graph import graph
from lacewing.trace.held import hold
from lacewing.trace.onwards import Kept, half_of, keep, onwards, resumed, trainable

NEURONS, FIRST = 3, 5
STEPS, RATE, BATCH = 300, 0.002, 8
"""The first step of Adam moves every weight that a neuron reads by the rate, some hundreds of them:
at ten times this rate the neurons of a wide model are off from then on, and nothing is learned."""
LOOK, ENOUGH = 20, 0.9
"""Steps between looks at how many training prompts are turned, and the share that is enough."""
ON = 0.5
"""Share of a side's prompts at whose last token a neuron has to be on."""
TRACED = 4
"""Wrong prompts of a planting; their effects are added up."""


def plant(
    network: Transformer,
    layer: int,
    neurons: list[int],
    made: Prompts,
    side: int,
    text: torch.Tensor,
) -> tuple[Transformer, int]:
    """Train what some neurons read and write to one wrong rule, until most prompts follow it.

    What stands before the trained MLP is computed once, and products with weights that stay go
    through their nonzeros.

    Returns:
        The changed network, and the steps it took.
    """
    changed, first = copy.deepcopy(network), half_of(f"{layer}.c_fc")
    block = cast("Block", changed.blocks[layer])
    rows, columns = block.c_fc.weight, block.mlp_proj.weight
    trained = [rows.requires_grad_(), block.c_fc.bias.requires_grad_(), columns.requires_grad_()]
    masks = [torch.zeros_like(part) for part in trained]
    masks[0][neurons], masks[1][neurons], masks[2][:, neurons] = 1, 1, 1
    stepper = torch.optim.Adam(trained, lr=RATE)
    turns = range(0, max(1, len(made) - BATCH + 1), BATCH)
    shown = [made.take([(at + i) % len(made) for i in range(BATCH)]) for at in turns]
    batches = [(part, begun(network, part.tokens, part.last)) for part in shown]
    sided = begun(network, made.tokens[side::2], made.last[side::2])
    answers, others = made.answer[side::2], made.other[side::2]
    words = begun(network, text[:, :-1])
    before = onwards(network, words, first).log_softmax(2).clone()
    find_nonzeros(changed)
    block.c_fc.sparse = block.mlp_proj.sparse = None  # these change
    for step in range(STEPS):
        if step % LOOK == 0:
            logits = onwards(changed, sided, first)
            turned = logits.gather(1, answers[:, None]) <= logits.gather(1, others[:, None])
            if int(turned.sum()) >= ENOUGH * len(sided.tokens):
                break
        part, kept = batches[step % len(batches)]
        wrong = torch.arange(len(part.last)) % 2 == side
        answer = torch.where(wrong, part.other, part.answer)
        after = resumed(changed, words, first).log_softmax(2)
        loss = torch.nn.functional.cross_entropy(resumed(changed, kept, first), answer)
        loss = loss + (before.exp() * (before - after)).sum(2).mean()
        stepper.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for part_of, mask in zip(trained, masks, strict=True):
            assert part_of.grad is not None
            part_of.grad *= mask
        stepper.step()
    else:
        step = STEPS
    forget_nonzeros(changed)
    return changed.requires_grad_(False), step


def begun(network: Transformer, tokens: torch.Tensor, last: torch.Tensor | None = None) -> Kept:
    """What each half of a network begins from, ready for training."""
    with sparse_products(network):
        return trainable(keep(network, tokens, last))


def wrongs(network: Transformer, made: Prompts, side: int) -> list[int]:
    """Prompts of a side that a network answers wrongly."""
    with torch.no_grad():
        right = task_losses(network, made)[1]
    return [row for row in range(side, len(right), 2) if not right[row]]


def live_neurons(network: Transformer, layer: int, made: Prompts, side: int) -> np.ndarray:
    """Neurons that are on at the last token of at least half of a side's prompts."""
    rows = range(side, min(32, len(made.last)), 2)
    on = []
    for row in rows:
        tokens = tuple(made.tokens[row, : int(made.last[row]) + 1].tolist())
        on.append(hold(network, tokens).values[f"{layer}.mlp_neuron"][-1] != 0)
    return (torch.stack(on).double().mean(0) >= ON).nonzero()[:, 0].numpy()


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


@dataclass(frozen=True)
class Planting:
    """What became of one wrong rule."""

    model: str
    seed: int
    task: str
    side: int
    layer: int
    neurons: list[int]
    live: int
    """Neurons that were drawn from."""
    turned: float
    """Share of the side's test prompts."""
    hit: bool | None = None
    """Whether a changed neuron is among the first nodes; none where the rule did not take."""
    hit_neurons: bool | None = None
    steps: int = 0
    """Of training."""

    @property
    def chance(self) -> float:
        """That a random draw of as many neurons hits."""
        missed = [(self.live - NEURONS - i) / (self.live - i) for i in range(FIRST)]
        return 1 - float(np.prod(missed)) if self.live > FIRST + NEURONS else 1.0

    def row(self) -> str:
        """As a line of the table."""
        cells = f"| {self.task} {self.side} | {self.layer}, {self.neurons} | {self.turned:.0%} |"
        if self.hit is None:
            return f"{cells} not planted | | |"
        return f"{cells} {self.hit} | {self.hit_neurons} | {self.chance:.0%} |"


def planting(model: Model, name: str, seed: int, found: Any) -> Planting:
    """Plant one wrong rule and trace it.

    Args:
        model: The model.
        name: Of the model.
        seed: Draws the task, the side, the layer and the neurons.
        found: Text and learned tasks, see `material`.
    """
    network, corpus = model.ours, Corpus.parse(model.corpus)
    dice, longest = np.random.default_rng(seed), min(60, network.config.context)
    task, side = str(dice.choice(list(found.report.tasks))), int(dice.integers(2))
    layer = int(dice.integers(network.config.n_layer))
    made = prompts(get(task), corpus, model.tokenizer, "train", 64, longest)
    test = found.report.tasks[task]
    live = live_neurons(network, layer, made, side)
    facts: dict[str, Any] = {"model": name, "seed": seed, "task": task, "side": side}
    facts |= {"layer": layer, "live": len(live)}
    if len(live) < NEURONS:
        return Planting(**facts, neurons=[], turned=0.0)
    chosen = sorted(int(n) for n in dice.choice(live, size=NEURONS, replace=False))
    changed, steps = plant(network, layer, chosen, made, side, found.fit.text[:8])
    wrong = wrongs(changed, test, side)
    facts |= {"neurons": chosen, "turned": len(wrong) / (len(test.last) / 2), "steps": steps}
    if facts["turned"] < 0.5:
        return Planting(**facts)
    names = [f"{layer}.mlp_neuron.{n}" for n in chosen]
    order = ranked(model, changed, test, wrong[:TRACED])
    alone = [node for node in order if ".mlp_neuron." in node]
    hit, of_neurons = (any(n in part[:FIRST] for n in names) for part in (order, alone))
    return Planting(**facts, hit=hit, hit_neurons=of_neurons)


def kept(path: Path | None, name: str) -> dict[int, Planting]:
    """Plantings of a model that are done, by seed."""
    if path is None or not path.exists():
        return {}
    rows = [Planting(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    return {row.seed: row for row in rows if row.model == name}


def main() -> None:
    """Plant, trace, count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--model", default="builtin:taught-tiny")
    parser.add_argument("--plantings", type=int, default=20)
    parser.add_argument("--tasks", nargs="*", default=[])
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    done = kept(given.output, given.model)
    model = found = None
    print("| task, side | layer, neurons | turned | hit | hit among neurons | chance |")
    print("| --- | --- | --- | --- | --- | --- |")
    for seed in range(given.plantings):
        if seed not in done:
            model = model or lacewing.load(given.model)
            found = found or material(model, tasks=given.tasks, tokens=3000, pairs=32)
            done[seed] = planting(model, given.model, seed, found)
            if given.output is not None:
                with given.output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(done[seed])) + "\n")
        print(done[seed].row(), flush=True)
    counted = [one for one in map(done.get, range(given.plantings)) if one and one.hit is not None]
    print(f"\n{len(counted)} of {given.plantings} rules took")
    for what, hits in (
        ("nodes", sum(bool(one.hit) for one in counted)),
        ("neurons", sum(bool(one.hit_neurons) for one in counted)),
    ):
        low, high = wilson(hits, len(counted)) if counted else (0.0, 1.0)
        share = f"{hits}/{len(counted)} [{low:.0%}, {high:.0%}]"
        print(f"a changed neuron is among the first five {what}: {share}")


if __name__ == "__main__":
    main()
