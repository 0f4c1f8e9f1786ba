"""`python -m benchmarks.bridges`: time and memory of a step of bridges, and all in one graph.

Every case runs alone in a process of its own: one step to warm up, then three. The time is the
processor's, the middle one; what counts of memory is the largest resident set, less that of a
process which has the models and runs none of it.
"""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from lacewing.bridges.config import BridgeConfig
from lacewing.bridges.losses import backward, divergence, nmse
from lacewing.bridges.maps import Bridges, Sizes, drawn, kept_of
from lacewing.bridges.streams import entering, onward, streams
from lacewing.kernels.cross_entropy import cross_entropy
from lacewing.kernels.memory import keep_pages
from lacewing.model.layers import find_nonzeros
from lacewing.model.store import load
from lacewing.model.transformer import Transformer

BATCH, CONTEXT, STEPS = 16, 64, 3


def models() -> tuple[Transformer, Transformer, Bridges, torch.Tensor]:
    """The pair that ships, bridges between them, and text."""
    dense, sparse = load("builtin:taught-dense").ours, load("builtin:taught-sparse").ours
    sparse.requires_grad_(True)
    find_nonzeros(sparse)
    widths = dense.config.d_model, sparse.config.d_model
    bridges = drawn(Sizes(dense.config.n_layer, *widths, kept_of(0.25, widths[1])), 0)
    text = torch.randint(dense.config.vocab_size, (BATCH, CONTEXT + 1))
    return dense, sparse, bridges, text


def in_one_graph(
    dense: Transformer, sparse: Transformer, bridges: Bridges, text: torch.Tensor
) -> None:
    """All losses in one graph, and one backward pass through all of it."""
    inputs = text[:, :-1]
    there, logits = streams(dense, inputs)
    teacher = logits.log_softmax(-1).detach()
    here, logits = streams(sparse, inputs)
    whole = cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())
    for site in range(bridges.sizes.count):
        bridge = bridges.at(site)
        read, written = bridge.encode(there[site]), bridge.decode(here[site])
        whole = whole + nmse(read, entering(sparse, site, here[site])) + nmse(written, there[site])
        whole = whole + divergence(teacher, onward(sparse, site, read, inputs))
        whole = whole + divergence(teacher, onward(dense, site, written, inputs))
    whole.backward()


def alone(dense: Transformer, sparse: Transformer, bridges: Bridges, text: torch.Tensor) -> None:
    """The sparse model's own loss."""
    logits = sparse(text[:, :-1])
    cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten()).backward()


def ours(dense: Transformer, sparse: Transformer, bridges: Bridges, text: torch.Tensor) -> None:
    """One path at a time."""
    backward(dense, sparse, bridges, text, BridgeConfig(), learns=True)


def held(dense: Transformer, sparse: Transformer, bridges: Bridges, text: torch.Tensor) -> None:
    """The same with a sparse model that does not learn."""
    sparse.requires_grad_(False)
    backward(dense, sparse, bridges, text, BridgeConfig(), learns=False)


def nothing(dense: Transformer, sparse: Transformer, bridges: Bridges, text: torch.Tensor) -> None:
    """What is there before a step."""


CASES: dict[str, Callable[..., None]] = {
    "nothing": nothing,
    "training alone": alone,
    "bridges, all in one graph": in_one_graph,
    "bridges, ours": ours,
    "bridges, ours, the sparse model held": held,
}


def run(case: str) -> None:
    """A case's steps, then its time and its peak."""
    keep_pages()
    given = models()
    spent = []
    for _ in range(1 + STEPS):
        begun = time.process_time()
        CASES[case](*given)
        spent.append(time.process_time() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(statistics.median(spent[1:]), peak)


def measured(case: str) -> tuple[float, float]:
    """Seconds of a step and peak memory in MB of a case, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bridges", case]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, peak = done.stdout.split()
    return float(seconds), float(peak)


def main() -> None:
    """A table of all cases, beside the sparse model trained alone."""
    if len(sys.argv) > 1:
        return run(sys.argv[1])
    rows = {case: measured(case) for case in CASES}
    least, (once, _) = rows.pop("nothing")[1], rows["training alone"]
    print(f"{BATCH} sequences of {CONTEXT} tokens, threads: {torch.get_num_threads()}")
    print("| case | s of the processor a step | against training alone | peak memory, MB |")
    print("| --- | --- | --- | --- |")
    for case, (seconds, peak) in rows.items():
        print(f"| {case} | {seconds:.2f} | {seconds / once:.1f} | {peak - least:,.0f} |")
    return None


if __name__ == "__main__":
    main()
