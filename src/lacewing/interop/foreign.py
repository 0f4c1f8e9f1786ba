"""A circuit found by another tool, as a circuit of lacewing that `verify` takes.

circuit = foreign_circuit(Path("ioi.json"), lacewing.load("hf:models/gpt2"), "indirect_object")
print(lacewing.verify(model, circuit))
"""

from pathlib import Path

import numpy as np

from lacewing.ablation.calibration import fit
from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_logits, ablated_loss
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.parts import nodes_of_parts
from lacewing.circuit.prompts import prompt_sets
from lacewing.interop.formats import read_parts
from lacewing.model.families import FAMILIES
from lacewing.model.store import Model
from lacewing.tasks.registry import get


def foreign_circuit(
    file: Path,
    model: Model,
    task: str,
    config: PruneConfig | None = None,
    *,
    corpus: str | None = None,
) -> Circuit:
    """Read a circuit file of another tool, and measure it as `prune` measures its own.

    Args:
        file: See `formats`.
        model: The model it was found in.
        task: What it is said to do: a task's name, or a JSONL file of pairs.
        config: Target loss, seed and numbers of prompts; nothing is searched.
        corpus: Where prompts come from; by default the model's corpus.

    Raises:
        ArtifactError: the file is of no known format.
        MismatchError: it names parts that the model does not have.
        DataError: the task has no prompts for this model.
    """
    config = config or PruneConfig()
    parts, _ = read_parts(file, model.network.config)
    nodes = nodes_of_parts(parts, model.network.config)
    asked = get(task)
    sets = prompt_sets(model, asked, config, corpus)
    masks = masks_of(model.network, nodes)
    calibration = None
    if config.calibrate:
        calibration = fit(ablated_logits(model, sets.validation, masks), sets.validation)

    full = ablated_loss(model, sets.test, None).mean()
    alone = ablated_loss(model, sets.test, masks, calibration=calibration).mean()

    none = np.zeros((0, 2), dtype=np.int32)
    layers = range(model.network.config.n_layer)
    return Circuit(
        nodes=nodes,
        # Every edge begins or ends at a read or a write, of which such a circuit says nothing.
        edges={f"{layer}.{family}": none for layer in layers for family in FAMILIES},
        parts=parts,
        model_id=model.id,
        model_source=model.source,
        tokenizer_id=model.tokenizer.id,
        task=asked.name,
        answers=tuple(sorted(set(sets.test.answer.tolist()))),
        ablation="mean",
        config=config,
        losses={"full": float(full), "circuit": float(alone)},
        calibration=calibration,
        pairs=sets.test.pairs,
    )
