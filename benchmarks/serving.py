"""What a monitor adds to an answer: completions written with it and without, in turns.

    python -m benchmarks.serving --circuit DIR [--circuit DIR ...] --reference DIR

Processor time of this process, without the server around it: each turn writes the same tokens, and
then has the monitor read them as `lacewing watch --serve` does, looks and all.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from lacewing.circuit.circuit import Circuit
from lacewing.model.store import load
from lacewing.watch.monitor import Monitor
from lacewing.watch.reference import Reference
from lacewing.watch.serving.service import Service
from lacewing.watch.serving.writing import Wish, Writing

TEXT = Path(__file__)
"""Prompts are pieces of this file."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--circuit", type=Path, action="append", required=True)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--prompt", type=int, default=40, help="tokens")
    parser.add_argument("--tokens", type=int, default=16, help="new ones")
    parser.add_argument("--turns", type=int, default=60)
    given = parser.parse_args()
    torch.set_num_threads(1)
    circuits = [Circuit.load(folder) for folder in given.circuit]
    model = load(circuits[0].model_source)
    usual = Reference.load(given.reference, model, circuits)
    service = Service(Monitor(model, circuits, usual, quiet=True))
    ids = model.tokenizer.encode(TEXT.read_text(encoding="utf-8"))
    ratios, spent = list[float](), np.zeros(2)
    for turn in range(given.turns + 3):
        begin = turn * 7 % (len(ids) - given.prompt)
        wish = Wish(tokens=given.tokens, seed=turn)
        start = time.process_time()
        writing = _written(service, ids[begin : begin + given.prompt], wish)
        middle = time.process_time()
        service.read(writing)
        end = time.process_time()
        if turn >= 3:  # the first ones compile
            ratios.append((end - start) / (middle - start))
            spent += (middle - start, end - middle)
    low, mid, high = np.percentile(ratios, [10, 50, 90])
    write, read = 1000 * spent / given.turns
    print(
        f"{mid:.2f} times writing alone [{low:.2f}, {high:.2f}: 10 and 90 % of {given.turns} "
        f"turns]: {write:.1f} ms to write {given.tokens} tokens after {given.prompt}, {read:.1f} "
        f"ms to read them (mean, looks in it); {len(circuits)} circuits, one thread"
    )


def _written(service: Service, prompt: list[int], wish: Wish) -> Writing:
    writing = service.begin(prompt, wish)
    while writing.ends is None:
        writing.step()
    return writing


if __name__ == "__main__":
    main()
