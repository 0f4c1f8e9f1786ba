"""How long a trace takes, and whether its parts add up to the logit difference.

    python -m benchmarks.trace_time [--model builtin:sparse] [--tokens 60] [--prompts 12]

Stretches of the validation split of the text that the model's means are of, as many as there are
prompts, seed 0, each of exactly so many tokens; the likeliest token against the next. What is
timed is what `lacewing trace` does once the model is loaded: the pass, the graph with its edges,
and what each node is about. The first trace of a process compiles loops; it is printed by itself.

Seconds are the processor's, of all threads (one), and of the clock beside them: their ratio says
how much of a core the machine gave. For lacewing's own models two sums stand beside the difference:
of all sources (tokens, positions, biases, bigram), and of the effects of the last site's nodes with
the bigram and the output's bias. Models of others are attributed, and have no such sum.
"""

import argparse
import os
import time
from collections.abc import Iterator

import numpy as np
import torch

import lacewing
from lacewing.data.corpus import Corpus
from lacewing.model.sites import FINAL_SITE
from lacewing.model.store import Model
from lacewing.trace.held import hold
from lacewing.trace.hints import hints
from lacewing.trace.open import open_trace
from lacewing.trace.trace import trace


def stretches(model: Model, tokens: int, count: int, seed: int = 0) -> Iterator[str]:
    """Text of exactly so many tokens out of files the model was not trained on."""
    dice = np.random.default_rng(seed)
    documents = list(Corpus.parse(model.corpus).documents("validation"))
    found = 0
    while found < count:
        text = documents[int(dice.integers(len(documents)))].text
        ids = model.tokenizer.encode(text)
        if len(ids) <= tokens:
            continue
        start = int(dice.integers(len(ids) - tokens))
        piece = model.tokenizer.decode(ids[start : start + tokens])
        if len(model.tokenizer.encode(piece)) == tokens:
            found += 1
            yield piece


def traced(model: Model, prompt: str) -> str:
    """Trace a prompt and find what its nodes are about, as `lacewing trace` does; a few words."""
    words = [model.tokenizer.token(id) for id in model.tokenizer.encode(prompt)]
    if model.is_open:
        ids = tuple(model.tokenizer.encode(prompt))
        with torch.inference_mode():
            ends = model.network(torch.tensor([ids]))[0, -1].topk(2).indices.tolist()
        attributed = open_trace(model, ids, *ends)
        hints(model, attributed.nodes, attributed.edges, words)
        return f"{len(attributed.nodes)} nodes, {attributed.difference:+.3f} nats"
    found = trace(model, prompt).graph
    hints(model, found.nodes, found.edges, words)
    return f"{len(found.nodes):,} nodes, {found.difference:+.3f} nats"


def off(model: Model, prompt: str) -> float:
    """The larger distance of the two sums from the logit difference, nats."""
    held = hold(model.ours, tuple(model.tokenizer.encode(prompt)))
    answer, rival = held.logits.topk(2).indices.tolist()
    units, sources = held.effects(answer, rival)
    last = float((units[FINAL_SITE] * held.values[FINAL_SITE]).sum())
    sums = sources.total, last + sources.bigram + sources.output
    return max(abs(total - held.difference(answer, rival)) for total in sums)


def main() -> None:
    """Time traces, one by one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--model", default="builtin:sparse")
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--prompts", type=int, default=12)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = lacewing.load(given.model)
    used, offs = [], []
    print("| trace | processor, s | clock, s | load | of |")
    print("| --- | --- | --- | --- | --- |")
    for prompt in stretches(model, given.tokens, given.prompts + 1):
        began = time.process_time(), time.perf_counter()
        said = traced(model, prompt)
        spent = time.process_time() - began[0], time.perf_counter() - began[1]
        used.append(spent)
        offs += [] if model.is_open else [off(model, prompt)]
        name = len(used) - 1 or "first"
        load = os.getloadavg()[0]
        print(f"| {name} | {spent[0]:.2f} | {spent[1]:.2f} | {load:.1f} | {said} |", flush=True)
    processor, clock = np.array(used[1:]).T
    print(f"\n{given.prompts} prompts of {given.tokens} tokens, one thread, after the first:")
    for what, seconds in (("processor", processor), ("clock", clock)):
        middle, most = np.median(seconds), seconds.max()
        print(f"{what}: median {middle:.2f} s, longest {most:.2f} s")
    if offs:
        print(f"sums are off the logit difference by at most {max(offs):.1e} nats")


if __name__ == "__main__":
    main()
