"""Damage off target, and the control of another task's circuit.

A circuit that is necessary for its task may be necessary for everything. Two questions:

    off_target   how much worse does the model become on natural text without the circuit?
    other_task   is the task hurt more without its own circuit than without another task's?

*How Much Do Circuits Tell Us?* (2026) found another task's circuit to do as much damage, often. The
other circuits are those of the same model that lie beside this one in the same folder.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lacewing import artifacts
from lacewing.ablation.calibration import refitted_loss
from lacewing.ablation.masks import Masks, masks_of, replacing
from lacewing.ablation.modes import without
from lacewing.ablation.values import ablation_values_of
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes
from lacewing.errors import LacewingError
from lacewing.model.hooks import ablate
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.statistics import bootstrap, pair_means
from lacewing.verification.evidence import Evidence
from lacewing.verification.finding import Finding, LeftOut, judge
from lacewing.verification.kept import Kept
from lacewing.verification.random_circuits import ROUNDING, random_nodes

DAMAGE = 0.1
"""Nats per token of natural text: ten percent of a bit per letter or so, and far less than a task
loses that goes from an answer to a guess."""
WINDOWS, TOGETHER = 32, 4
"""Windows of natural text measured on, and run at once."""
CONTROLS = 4
"""Random circuits removed for comparison."""
OTHERS = 3
"""Circuits of other tasks compared with, at most."""


def run(model: Model, circuit: Circuit, prompts: Evidence, quiet: bool) -> list[Finding | LeftOut]:
    """What else the model loses without the circuit, and what the task loses without another."""
    with progress(f"off target {circuit.task}", 2, "tests", not quiet) as bar:
        first = _off_target(model, circuit, prompts)
        bar.update(1, "other tasks")
        return [first, _other_task(model, circuit, prompts)]


def _off_target(model: Model, circuit: Circuit, evidence: Evidence) -> Finding:
    text = evidence.text[:WINDOWS]
    full = _text_losses(model, text, None, circuit)

    def rise(nodes: Nodes) -> np.ndarray:
        masks = masks_of(model.network, nodes, complement=True)
        return _text_losses(model, text, masks, circuit) - full

    own = rise(circuit.nodes)
    random = [rise(n) for n in random_nodes(model, circuit, evidence.seed, CONTROLS)]
    low, high = bootstrap(own, seed=evidence.seed)
    return judge(
        "off_target",
        float(own.mean()),
        DAMAGE,
        at_most=True,
        unit="nats per token",
        n=len(text),
        low=low,
        high=high,
        control=float(np.mean([each.mean() for each in random])),
        control_name=f"mean of {CONTROLS} random circuits",
        meaning=(
            "rise of the loss on natural text without the circuit's nodes; the full model has "
            f"{full.mean():.3f}"
        ),
    )


@torch.no_grad()
def _text_losses(model: Model, text: Tensor, masks: Masks | None, circuit: Circuit) -> np.ndarray:
    """Nats per token of every window."""
    values = ablation_values_of(model, circuit.ablation)
    edits = {} if masks is None else replacing(masks, values)
    found = []
    for rows in torch.split(text, TOGETHER):
        with ablate(model.network, edits):
            logits = model.network(rows)[:, :-1].flatten(0, 1)
        losses = F.cross_entropy(logits, rows[:, 1:].flatten(), reduction="none")
        found.append(losses.view(len(rows), -1).mean(1))
    result: np.ndarray = torch.cat(found).double().numpy()
    return result


def _other_task(model: Model, circuit: Circuit, evidence: Evidence) -> Finding | LeftOut:
    kept = evidence.kept
    others = list(_siblings(kept.folder.parent, circuit).values()) if kept else []
    if not others:
        return LeftOut("other_task", "no circuit of another task lies beside this one's folder")

    def lost(nodes: Nodes) -> np.ndarray:
        run_ = lambda on: without(model, nodes, on, "mean", evidence.seed)  # noqa: E731
        return pair_means(refitted_loss(run_, evidence.fitted_on, evidence.test))

    own = lost(circuit.nodes)
    worst, name = max(
        ((lost(other.nodes), other.task) for other in others), key=lambda found: found[0].mean()
    )
    low, high = bootstrap(own - worst, seed=evidence.seed)
    return judge(
        "other_task",
        float((own - worst).mean()),
        ROUNDING,
        at_most=False,
        unit="nats",
        n=len(own),
        low=low,
        high=high,
        control=float(worst.mean()),
        control_name=f"loss without the circuit of {name}",
        meaning=(
            f"how much more the task loses without its own circuit ({own.mean():.3f} nats) than "
            f"without that of another task, the worst of {len(others)}"
        ),
    )


def siblings_now(kept: Kept, circuit: Circuit) -> list[str]:
    """The circuits of other tasks that are there now, each by the hash of its folder."""
    found = _siblings(kept.folder.parent, circuit)
    contents = [artifacts.read_bytes(place / artifacts.MANIFEST) for place in found]
    return [hashlib.sha256(content).hexdigest()[:16] for content in contents]


def _siblings(folder: Path, circuit: Circuit) -> dict[Path, Circuit]:
    """Circuits of the same model and other tasks beside a circuit's folder."""
    found: dict[Path, Circuit] = {}
    for place in sorted(folder.parent.iterdir()):
        if place == folder or len(found) == OTHERS or not (place / "circuit.json").exists():
            continue
        try:
            other = Circuit.load(place)
        except LacewingError:
            continue
        if other.model_id == circuit.model_id and other.task != circuit.task:
            found[place] = other
    return found
