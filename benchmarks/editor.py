"""`python -m benchmarks.editor [TASK]`: the loss of a circuit, what every search asks for.

A circuit is cut out first. Then its loss on the validation prompts is measured in three ways, which
take turns:

masked     the full model, with everything outside the circuit overwritten (the naive way)
compiled   what varies alone, at every token of every prompt
trial      at each different beginning once, at ends of prompts only after the last attention that
           varies, with what the first block reads kept, and the answers' logits alone

The limit is the time to read once the weights and kept values that a trial multiplies, at the bytes
a second that this machine moves when it copies. A trial is far from it: most of its time goes to
starting some hundred operations on small tensors, and to putting keys and values back into
sequences.
"""

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import tyro

from benchmarks.__main__ import copying
from benchmarks.selections import masked, seconds
from lacewing.ablation.calibration import calibrated_loss
from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.editor import CircuitEditor
from lacewing.ablation.masks import masks_of
from lacewing.ablation.prefixes import in_pieces
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import prompt_sets
from lacewing.kernels.memory import keep_pages
from lacewing.model import store
from lacewing.model.layers import sparse_products
from lacewing.pruning.prune import prune
from lacewing.tasks import registry


@dataclass(frozen=True)
class Trials:
    """What to measure."""

    task: tyro.conf.Positional[str] = "single_double_quote"
    """A task the model has learned."""
    model: str = "builtin:taught-sparse"
    """A model."""
    times: int = 7
    """Turns of every way."""
    json: bool = False
    """End with one line of JSON."""
    config: tyro.conf.OmitArgPrefixes[PruneConfig] = field(default_factory=PruneConfig)
    """The search."""


def main(bench: Trials) -> None:
    """Prune, then let the ways take turns."""
    keep_pages()
    model, task = store.load(bench.model), registry.get(bench.task)
    prompts = prompt_sets(model, task, bench.config).validation
    circuit = prune(model, task, bench.config)
    masks = masks_of(model.network, circuit.nodes)
    editor = CircuitEditor(model.network, circuit, model.means)

    def compiled() -> float:
        live = CompiledCircuit(model.network, masks, model.means)
        pieces = [prompts.take(rows) for rows in in_pieces(len(prompts))]
        return calibrated_loss(torch.cat([live(p.tokens, p.last) for p in pieces]), prompts)

    ways: dict[str, Callable[[], float]] = {
        "masked": lambda: calibrated_loss(masked(model, prompts, masks), prompts),
        "compiled": compiled,
        "trial": lambda: editor.loss(prompts),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    with sparse_products(model.network):
        losses = {name: way() for name, way in ways.items()}  # and warm
        for _ in range(bench.times):
            for name, way in ways.items():
                took[name].append(seconds(way))
    if max(losses.values()) - min(losses.values()) > 1e-4:
        raise AssertionError(f"losses differ: {losses}")
    prefixes = editor.prefixes(prompts)
    kept = sum(p.read.nbytes for p in prefixes if p.read is not None)
    limit = (kept + 4 * (circuit.n_edges + circuit.n_nodes)) / copying()
    said = {
        name: {
            "ms": 1e3 * statistics.median(times),
            "ratio": statistics.median(a / b for a, b in zip(took["masked"], times, strict=True)),
        }
        for name, times in took.items()
    }
    count = sum(len(p.tokens) for p in prefixes)
    print(f"{circuit.n_nodes} nodes, {circuit.n_edges} edges, {len(prompts)} pairs; ", end="")
    print(f"{count:,} places of {prompts.tokens.numel():,} tokens")
    for name, facts in said.items():
        print(f"{name:9} {facts['ms']:7.1f} ms {facts['ratio']:5.1f}x")
    share = 1e3 * limit / said["trial"]["ms"]
    print(f"the limit, {1e3 * limit:.3f} ms, is {100 * share:.1f} % of a trial")
    if bench.json:
        print(json.dumps(said | {"limit_ms": 1e3 * limit}))


if __name__ == "__main__":
    main(tyro.cli(Trials))
