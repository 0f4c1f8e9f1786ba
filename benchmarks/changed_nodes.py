"""`python -m benchmarks.changed_nodes`: one node of a circuit changed, compiled and by hooks.

Every node of some circuits is set to random values at half of the tokens of 32 pairs, as the causal
tests of `lacewing explain` do; the compiled circuit and the whole model with hooks take turns. The
table has the median of the ratios with its 10 to 90 % range, and by how much the logits differ at
most. Processor time.
"""

import time

import numpy as np
import torch
import tyro

from lacewing.circuit.circuit import Circuit
from lacewing.data.corpus import Corpus
from lacewing.explain import calls
from lacewing.explain.change import Change
from lacewing.explain.library import Library
from lacewing.explain.stage import Stage
from lacewing.explain.text import read_text
from lacewing.model.store import load

SHIPPED = tuple(
    f"builtin:sparse/{task}"
    for task in ("single_double_quote", "while_return_true", "var_if", "if_equals")
)


def row(place: str, seed: int) -> str:
    """One circuit."""
    circuit = Circuit.load(place)
    model = load(circuit.model_source)
    corpus = Corpus.parse("code:standard_library")
    text = read_text(corpus, model.tokenizer, calls.context(model), 60_000)
    stage = Stage.of(model, circuit, Library(text), 32, seed)
    dice, ratios, apart = torch.Generator().manual_seed(seed), [], 0.0
    with calls.quickly(model, stage.model):
        stage.logits(), stage.logits(base=stage.base)  # what both make once
        for node in circuit.node_names():
            where = stage.there & (torch.rand(stage.there.shape, generator=dice) < 0.5)
            change = [Change(node, torch.randn(where.shape, generator=dice) * 3, where)]
            start = time.process_time()
            compiled = stage.logits(change)
            middle = time.process_time()
            hooked = stage.logits(change, base=stage.base)
            ratios.append((time.process_time() - middle) / (middle - start))
            apart = max(apart, float((compiled - hooked).abs().max()))
    low, mid, high = np.percentile(ratios, [10, 50, 90])
    return f"| {place} | {len(ratios)} | {mid:.1f} [{low:.1f}, {high:.1f}] | {apart:.1e} |"


def main(circuits: tuple[str, ...] = SHIPPED, seed: int = 0) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print("| circuit | nodes | times as fast | logits apart, nats |\n| --- | --- | --- | --- |")
    for place in circuits:
        print(row(place, seed), flush=True)


if __name__ == "__main__":
    tyro.cli(main)
