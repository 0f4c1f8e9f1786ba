"""Prune a circuit until nothing can go: every node and every edge that is left is needed.

    1 rank all nodes and edges by the loss without each of them, for every edge it would save
    2 find by bisection how many of the cheapest can go together; let half of them go
    3 rank anew, until only few fit
    4 try the rest one by one, the cheapest first, again and again until none can go
    5 the certificate: the loss without each part, and its slack to the target; if a part can go
      after all, it does, and the certificate is made anew

The result is 1-minimal: without any single part the loss is above the target, on the prompts it was
chosen on. It is no proof that no smaller circuit exists.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacewing.ablation.attribution import first_order
from lacewing.ablation.calibration import fit
from lacewing.ablation.editor import Trial
from lacewing.ablation.run import ablated_loss
from lacewing.circuit import circuit as circuits
from lacewing.circuit.calibration import calibrated
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.components import Part, ends, part_name
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import ArtifactError, DataError
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.tasks.batch import Prompts, encode
from lacewing.tasks.scoring import two_answer_loss

CERTIFICATE, CERTIFICATE_PAIRS = "certificate.json", "certificate_pairs.jsonl"
"""Files beside a minimised circuit: the certificate, and the prompts it was made on."""
SCREEN = 64
"""Pairs that parts are ranked on; what goes is decided on all."""
MEASURED = 400
"""Parts up to which each is tried to rank them; more are ranked by their gradient."""
MARGIN = 0.03
"""Nats by which the few prompts may lose more than all, and the part is tried on all still."""
FEW = 8
"""Parts that go together at least, before they are tried one by one."""


@dataclass(frozen=True)
class Certificate:
    """Why nothing can go: the loss without each node and each edge."""

    target_loss: float
    """Nats."""
    loss: float
    """Of the circuit itself, on the prompts it was minimised on."""
    pairs: int
    nodes: Mapping[str, float]
    """Loss without each node, nats."""
    edges: Mapping[str, float]
    """Loss without each edge, nats."""

    @property
    def minimal(self) -> bool:
        """Whether the circuit reaches the target and would not without any one part."""
        without = [*self.nodes.values(), *self.edges.values()]
        return self.loss <= self.target_loss < min(without, default=float("inf"))

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the slack of every part."""

        def rows(parts: Mapping[str, float]) -> dict[str, dict[str, float]]:
            return {
                name: {"loss_without": loss, "slack": loss - self.target_loss}
                for name, loss in parts.items()
            }

        facts = {"target_loss": self.target_loss, "loss": self.loss, "pairs": self.pairs}
        return facts | {
            "minimal": self.minimal,
            "nodes": rows(self.nodes),
            "edges": rows(self.edges),
        }


def minimise(
    model: Model, circuit: Circuit, prompts: Prompts, *, quiet: bool = False
) -> tuple[Circuit, Certificate]:
    """Remove nodes and edges from a circuit until none can go.

    Args:
        model: The circuit's model.
        circuit: One that reaches its target loss on `prompts`.
        prompts: What decides; validation prompts, never those that losses are reported on.
        quiet: Report no progress.

    Returns:
        The smaller circuit, without losses and with the calibration it had (see `measured`), and
        the certificate.

    Raises:
        DataError: the circuit does not reach its target on these prompts.
        MismatchError: it belongs to another model.
    """
    circuit.check(model)
    trial, target = Trial(model.network, circuit, model.means), circuit.target_loss
    start = trial.loss(prompts)
    if start > target:
        raise DataError(
            f"the circuit for {circuit.task} has {start:.3f} nats on these prompts, above its "
            f"target {target:g}: nothing can be removed; prune to a lower target first"
        )
    total = _count(trial)
    with progress(f"minimise {circuit.task}", total, "parts", not quiet) as bar:

        def tell() -> None:
            bar.update(total - _count(trial), f"{_count(trial)} parts left")

        _shrink(trial, prompts, target, total, tell)
        while _remove_single(trial, proof := certify(trial, prompts, target), prompts):
            tell()
    nodes, edges = trial.arrays()
    return dataclasses.replace(circuit, nodes=nodes, edges=edges, losses={}), proof


def shrunk(model: Model, circuit: Circuit, prompts: Prompts) -> Circuit | None:
    """Remove nodes and edges, many together and, from a small circuit, one by one: no certificate.

    Args:
        model: The circuit's model.
        circuit: The circuit.
        prompts: What decides.

    Returns:
        The smaller circuit; none if the circuit itself is above its target loss.
    """
    trial, target = Trial(model.network, circuit, model.means), circuit.target_loss
    if trial.loss_within(target, prompts) > target:
        return None
    _shrink(trial, prompts, target, MEASURED)
    nodes, edges = trial.arrays()
    return dataclasses.replace(circuit, nodes=nodes, edges=edges)


def measured(model: Model, circuit: Circuit, sets: PromptSets) -> Circuit:
    """The circuit with the losses of the full model and its own, on test and validation prompts.

    A calibrated circuit is calibrated again, on the validation prompts that it was chosen on.
    """
    trial, calibration = Trial(model.network, circuit, model.means), circuit.calibration
    if calibration is not None:
        calibration = fit(trial.logits(sets.validation), sets.validation)

    def loss(prompts: Prompts) -> float:
        return float(
            two_answer_loss(calibrated(trial.logits(prompts), calibration), prompts).mean()
        )

    losses = {
        "full": float(ablated_loss(model, sets.test, None).mean()),
        "circuit": loss(sets.test),
        "validation": loss(sets.validation),
    }
    return dataclasses.replace(circuit, losses=losses, calibration=calibration)


def recertify(model: Model, circuit: Circuit, folder: Path) -> Certificate:
    """Measure a saved circuit again without each of its parts, on the prompts saved with it.

    Raises:
        ArtifactError: the folder has no certificate.
        MismatchError: the circuit belongs to another model.
    """
    circuit.check(model)
    if not (folder / CERTIFICATE).exists():
        raise ArtifactError(
            f"{folder} has no {CERTIFICATE}: it was not minimised; prune again with --minimal"
        )
    saved = circuits.load_pairs(folder, CERTIFICATE_PAIRS)
    prompts = encode(saved, model.tokenizer, model.network.config.context)
    return certify(Trial(model.network, circuit, model.means), prompts, circuit.target_loss)


def certify(trial: Trial, prompts: Prompts, target: float) -> Certificate:
    """Measure a circuit without each of its parts."""
    nodes, edges = trial.nodes_on(), trial.edges_on()
    return Certificate(
        target_loss=target,
        loss=trial.loss(prompts),
        pairs=len(prompts),
        nodes={part_name(node): trial.loss_without([node], prompts) for node in nodes},
        edges={part_name(edge): trial.loss_without([edge], prompts) for edge in edges},
    )


def _count(trial: Trial) -> int:
    return len(trial.nodes_on()) + len(trial.edges_on())


def _shrink(
    trial: Trial,
    prompts: Prompts,
    target: float,
    each: int,
    tell: Callable[[], None] = lambda: None,
) -> None:
    """Let parts go, first many together, then one by one if there are so few or fewer."""
    # Taken once, since a trial keeps the places of prompts it knows.
    few = prompts.take(range(min(SCREEN, len(prompts))))
    while _remove_many(trial, few, prompts, target):
        tell()
    while _count(trial) <= each and _remove_each(trial, few, prompts, target):
        tell()


def _remove_many(trial: Trial, few: Prompts, prompts: Prompts, target: float) -> bool:
    """Let half of what fits go, the cheapest; whether it is worth to go on like this."""
    ranked = _ranked(trial, few)
    low, high = 0, len(ranked)  # the first `low` fit; `high` do not, or are all
    while high - low > 1:
        middle = (low + high) // 2
        if trial.loss_without(ranked[:middle], prompts, target) <= target:
            low = middle
        else:
            high = middle
    if low < FEW:
        return False
    _remove(trial, ranked[: low // 2])
    return True


def _remove_each(trial: Trial, few: Prompts, prompts: Prompts, target: float) -> bool:
    """Try each part, the cheapest first; whether any went.

    One without which the few prompts lose far more than all may is not tried on all.
    """
    loss, of_few, gone = trial.loss(prompts), trial.loss(few), False
    for part in _ranked(trial, few):
        bound = of_few + target - loss + MARGIN
        if not _is_on(trial, part) or trial.loss_without([part], few, bound) > bound:
            continue
        without = trial.loss_without([part], prompts, target)
        if without <= target:
            _remove(trial, [part])
            loss, of_few, gone = without, trial.loss(few), True
    return gone


def _remove_single(trial: Trial, proof: Certificate, prompts: Prompts) -> bool:
    """One round of single removals, the cheapest first; whether any part went."""
    parts: list[Part] = [*trial.nodes_on(), *trial.edges_on()]
    losses, target = {**proof.nodes, **proof.edges}, proof.target_loss
    gone = False
    for part in sorted(parts, key=lambda part: (losses[part_name(part)], part_name(part))):
        if losses[part_name(part)] > target:
            break
        if not _is_on(trial, part):
            continue
        if not gone or trial.loss_without([part], prompts, target) <= target:
            _remove(trial, [part])
            gone = True
    return gone


def _remove(trial: Trial, parts: Iterable[Part]) -> None:
    for part in parts:
        if _is_on(trial, part):
            trial.switch(part, on=False)


def _is_on(trial: Trial, part: Part) -> bool:
    if len(part) == 2:
        return bool(trial.masks[part[0]][part[1]])
    return not trial.is_off(part) and all(trial.masks[key][c] for key, c in ends(part))


def _ranked(trial: Trial, prompts: Prompts) -> list[Part]:
    """All parts, the cheapest to remove first: loss gained for every part that would go."""
    nodes, edges = trial.nodes_on(), trial.edges_on()
    parts: list[Part] = [*nodes, *edges]
    if len(parts) <= MEASURED:
        before = trial.loss(prompts)
        cost = {part: trial.loss_without([part], prompts) - before for part in parts}
    else:
        cost = first_order(trial, prompts)
    saved = dict.fromkeys(nodes, 1)
    for edge in edges:
        for node in ends(edge):
            saved[node] += 1

    def rank(part: Part) -> tuple[float, str]:
        rise = cost[part]
        share = rise / saved[part] if len(part) == 2 and rise > 0 else rise
        return share, part_name(part)

    return sorted(parts, key=rank)
