"""`python -m benchmarks.worst_subset`: how far the search for the worst subset hangs on its seed.

The test loss of the full model while the worst subset outside a saved circuit is ablated, as one
search finds it and as the suite's four do, for several seeds.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from lacewing.ablation.calibration import calibrated_loss
from lacewing.ablation.run import ablated_logits
from lacewing.ablation.worst_subset import STARTS, worst_subset
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import prompt_sets
from lacewing.kernels.memory import keep_pages
from lacewing.model import store
from lacewing.tasks.registry import get


@dataclass(frozen=True)
class Worst:
    """What to measure."""

    circuit: Path
    """Folder of a circuit."""
    seeds: int = 5
    """Seeds of the search, from 0 on."""


def main(worst: Worst) -> None:
    """Print a row a seed."""
    keep_pages()
    circuit = Circuit.load(worst.circuit)
    model = store.load(circuit.model_source)
    circuit.check(model)
    sets = prompt_sets(model, get(circuit.task), PruneConfig.of(circuit.settings))
    print(f"| seed of the search | one search | {STARTS} searches |")
    print("| --- | --- | --- |")
    for seed in range(worst.seeds):
        losses = []
        for starts in (1, STARTS):
            known = sets.train, sets.validation
            masks = worst_subset(model, circuit.nodes, *known, seed, starts=starts)
            losses.append(calibrated_loss(ablated_logits(model, sets.test, masks), sets.test))
        print(f"| {seed} | {losses[0]:.3f} | {losses[1]:.3f} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Worst))
