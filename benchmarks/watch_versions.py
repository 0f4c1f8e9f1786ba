"""What `lacewing watch --before --after` says of copies of a model, as a table.

    python -m benchmarks.watch_versions [--steps 40] [--circuit DIR ...]
    python -m benchmarks.watch_versions --model hf:FOLDER --circuit DIR --output COPIES [--steps 20]

    int8     every matrix in eight bits, a scale a row: what quantisers do first
    tuned    Adam steps on C headers beside the installed packages; of ours the zeros are kept
    wiped    one value of each circuit's heads or neurons taken out: the answer key (ours alone)

A mechanism is asked twice, is it still enough and is it still needed, as by the command; nothing is
pruned anew. A copy of a model of others is saved with transformers and loaded from its folder.
"""

import argparse
import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import lacewing
from benchmarks.watch_changes import changed, drifting, row_steps, tokens_of
from benchmarks.watch_text import other_text
from lacewing.circuit.circuit import Circuit
from lacewing.kernels.memory import keep_pages
from lacewing.model.store import Model
from lacewing.model.weights import writer
from lacewing.watch.compare import Mechanism, compare_versions

SHIPPED = ("single_double_quote", "var_if", "while_return_true")
WIPED = ("attn_v", "mlp_neuron")
"""Sites of which a circuit's first node is taken out."""
LONGEST = 256
"""Tokens of a window to fine-tune on, at most."""
OPEN_RATE, OPEN_BATCH = 2e-5, 4
"""Of fine-tuning a model of others: learning rate, windows in a step."""


def rounded(model: Model) -> Model:
    """A copy with eight bits a weight."""
    network: Any = copy.deepcopy(model.network)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 2:
                step = row_steps(weight, 8)
                weight.copy_((weight / step).round() * step)
    return changed(model, network, "int8")


def some_c(model: Model) -> torch.Tensor:
    """Windows of C, [sequence token]."""
    context = min(model.network.config.context, LONGEST)
    ids = [t for row in tokens_of(model, other_text("c"), 100_000) for t in row]
    rows = len(ids) // (context + 1)
    return torch.tensor(ids[: rows * (context + 1)]).view(rows, -1)[:, :context]


def tuned(model: Model, steps: int, seed: int) -> Model:
    """A copy that has read some C."""
    planted = drifting(model, some_c(model), seed)
    assert planted.step is not None
    for number in range(steps):
        planted.step(number)
    return changed(model, planted.model.ours, f"tuned, {steps} steps")


def tuned_open(model: Model, steps: int, seed: int, output: Path) -> Model:
    """The same of a model of others, saved as transformers does, in a folder."""
    folder = output / f"tuned-{steps}-{seed}"
    if not folder.exists():
        torch.manual_seed(seed)
        network: Any = copy.deepcopy(model.network)
        inner, windows = network.inner.requires_grad_(True), some_c(model)
        stepper = torch.optim.AdamW(inner.parameters(), lr=OPEN_RATE, weight_decay=0.0)
        for _ in range(steps):
            batch = windows[torch.randint(len(windows), (OPEN_BATCH,))]
            stepper.zero_grad()
            inner(input_ids=batch, labels=batch, use_cache=False).loss.backward()
            stepper.step()
        inner.save_pretrained(folder)
        for file in Path(model.source.removeprefix("hf:")).glob("*token*"):
            shutil.copy(file, folder)
    return lacewing.load(f"hf:{folder}")


def wiped(model: Model, circuits: list[Circuit]) -> Model:
    """A copy without one node of every circuit."""
    network = copy.deepcopy(model.ours)
    with torch.no_grad():
        for circuit in circuits:
            keys = [k for k in circuit.nodes if k.partition(".")[2] in WIPED]
            key = next(key for key in keys if len(circuit.nodes[key]))
            weight, bias = writer(network, key)
            weight[circuit.nodes[key][0]], bias[circuit.nodes[key][0]] = 0, 0
    return changed(model, network, "wiped")


def copies(model: Model, circuits: list[Circuit], given: argparse.Namespace) -> Iterator[Model]:
    """Every copy in turn: no two are held at a time."""
    yield rounded(model)
    for steps in given.steps:
        if given.model.startswith("hf:"):
            yield tuned_open(model, steps, given.seed, given.output)
        else:
            yield tuned(model, steps, given.seed)
    if not given.model.startswith("hf:"):
        yield wiped(model, circuits)


def row(name: str, found: Mechanism) -> str:
    """One mechanism in one copy."""
    sides = (found.before, found.after)
    cells = [
        f"{a:.3f}, {b:.3f}"
        for a, b in zip(
            *([s.full, s.sufficient.loss, s.necessary.loss] for s in sides), strict=True
        )
    ]
    return f"| {name} | {found.task} | {found.state} | {' | '.join(cells)} |"


def main() -> None:
    """Make the copies one after the other, and ask."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--model", default="builtin:sparse")
    parser.add_argument("--circuit", action="append", help="by default those that ship")
    parser.add_argument("--steps", type=int, nargs="+", default=[40])
    parser.add_argument("--output", type=Path, help="where copies of a model of others are kept")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    keep_pages()
    torch.set_num_threads(1)
    model = lacewing.load(given.model)
    places = given.circuit or [f"{given.model}/{task}" for task in SHIPPED]
    circuits = [Circuit.load(place) for place in places]
    print("| copy | task | mechanism | model, nats | circuit alone | model without it |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for after in copies(model, circuits, given):
        found = compare_versions(model, after, circuits, anew=False, seed=given.seed, quiet=True)
        for mechanism in found.mechanisms:
            print(row(after.source, mechanism), flush=True)
            print(f"<!-- {mechanism.reason} -->", flush=True)
        print(f"<!-- {found.changed} of {found.tensors} tensors differ -->", flush=True)


if __name__ == "__main__":
    main()
