"""Traces of answers: how many nodes carry them, in a sparse and in a dense model; and how long.

    python -m benchmarks.trace [--sparse MODEL] [--dense MODEL] [--prompts 8]

For every task that both models have learned, the clean members of test pairs are traced, each with
its own answers, at 90 % of the logit difference. The models read the same prompts. Off is how far
the model itself, with all other nodes at their means, is from the difference, as a share of it.
Seconds are the processor's: what other work on the machine takes is not in them.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch

import lacewing
from lacewing.data.corpus import Corpus
from lacewing.errors import ConfigError
from lacewing.model.store import Model
from lacewing.statistics import geometric_mean, interval
from lacewing.tasks.batch import prompts
from lacewing.tasks.registry import get, names
from lacewing.tasks.scoring import evaluate
from lacewing.trace.trace import Trace, trace

RESAMPLES = 2000


def traces(model: Model, task: str, count: int) -> tuple[list[Trace], float]:
    """Traces of some prompts of a task, and processor seconds for each."""
    made = prompts(get(task), Corpus.parse(model.corpus), model.tokenizer, "test", 64, 60)
    if not evaluate(model, made).learned:
        raise ConfigError(f"{task} is not learned")
    began = time.process_time()
    found = [
        trace(model, pair.clean, pair.clean_answer, pair.corrupted_answer)
        for pair in made.pairs[:count]
    ]
    return found, (time.process_time() - began) / len(found)


def row(task: str, sides: Sequence[tuple[list[Trace], float]]) -> tuple[str, float]:
    """A line of the table, and the ratio of nodes."""
    cells, means = [], []
    for found, seconds in sides:
        means.append(geometric_mean(np.array([max(1, len(t.graph.nodes)) for t in found])))
        off = np.median([abs(t.graph.measured / t.graph.difference - 1) for t in found])
        cells += [f"{means[-1]:.0f}", f"{off:.0%}", f"{seconds:.2f}"]
    return f"| {task} | {' | '.join(cells)} |", means[1] / means[0]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--sparse", default="builtin:sparse")
    parser.add_argument("--dense", default="builtin:dense")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--tasks", nargs="*", default=list(names()))
    given = parser.parse_args()
    torch.set_num_threads(1)
    models = [lacewing.load(source) for source in (given.sparse, given.dense)]
    for model in models:
        trace(model, "x = ")  # compiled loops
    print("| task | sparse: nodes | off | s | dense: nodes | off | s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    ratios = []
    for task in given.tasks:
        try:
            sides = [traces(model, task, given.prompts) for model in models]
        except lacewing.errors.LacewingError as reason:
            print(f"<!-- {task}: {reason} -->", flush=True)
            continue
        line, ratio = row(task, sides)
        ratios.append(ratio)
        print(line, flush=True)
    logs = np.log(ratios)
    draws = np.random.default_rng(0).integers(len(logs), size=(RESAMPLES, len(logs)))
    low, high = interval(np.exp(logs[draws].mean(1)))
    print(
        f"\ndense / sparse nodes: {np.exp(logs.mean()):.1f} times [{low:.1f}, {high:.1f}] "
        f"(95 %, over {len(logs)} tasks, {given.prompts} prompts each)"
    )


if __name__ == "__main__":
    main()
