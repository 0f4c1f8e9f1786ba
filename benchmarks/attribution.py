"""Predicted against measured effects of random nodes, in any model.

    python -m benchmarks.attribution --model hf:FOLDER [--nodes 200] [--prompt TEXT ...]

Three prompts where none is given: code, facts, a sentence about two people. Each node is set to its
mean over text at every token, alone; what that takes away is measured once and compared with what
each set of rules predicts (see lacewing/trace/attributed.py; none is plain attribution patching,
all are those of RelP). The answer is the likeliest token, its rival the second. Seconds are the
processor's.
"""

import argparse
import time

import torch

import lacewing
from lacewing.trace.attributed import RULES, Rule, attribute, check
from lacewing.trace.trace import prompt_ids

SETS: tuple[tuple[Rule, ...], ...] = (
    (),
    ("norms",),
    ("attention",),
    ("norms", "activations"),
    ("norms", "activations", "products"),
    RULES,
)
PROMPTS = (
    "def read(path, encoding='utf-8'):\n    with open(path, encoding=encoding) as file:\n"
    "        for line in file:\n            if not line.startswith('#'):\n                yield",
    "The capital of France is Paris, and the capital of Italy is Rome. The capital of Spain is "
    "Madrid, and the capital of Germany is",
    "When Mary and John went to the store, John gave a bottle of milk to",
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--model", default="builtin:taught-sparse")
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--prompt", nargs="*", default=PROMPTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = lacewing.load(given.model)
    print("| held | correlation | error |")
    print("| --- | --- | --- |")
    for prompt in given.prompt:
        tokens = prompt_ids(model, prompt)
        with torch.inference_mode():
            ends = model.network(torch.tensor([tokens]))[0, -1].topk(2).indices.tolist()
        began = time.process_time()
        attribute(model, tokens, *ends)
        middle = time.process_time()
        for one in check(model, tokens, *ends, given.nodes, sets=SETS):
            low, high = one.interval
            print(
                f"| {', '.join(one.rules) or 'nothing (plain)'} | {one.correlation:.3f} "
                f"[{low:.3f}, {high:.3f}] | {one.error:.2f} |",
                flush=True,
            )
        words = ", ".join(repr(model.tokenizer.token(id)) for id in ends)
        print(
            f"{len(tokens)} tokens, {words}, {given.nodes} nodes; attribution "
            f"{middle - began:.1f} s, check {time.process_time() - middle:.0f} s\n",
            flush=True,
        )


if __name__ == "__main__":
    main()
