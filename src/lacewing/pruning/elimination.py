"""Prune a circuit until nothing can go: every node and every edge that is left is needed.

    1 rank all nodes and edges by the loss without each of them, for every edge it would save
    2 find by bisection how many of the cheapest can go together; let half of them go
    3 rank anew, until only few fit
    4 try the rest one by one, the cheapest first, again and again until none can go
    5 the certificate: the loss without each component, and its slack to the target; if one can go
      after all, it does, and the certificate is made anew

The result is 1-minimal: without any single component the loss is above the target, on the prompts
it was chosen on. It is no proof that no smaller circuit exists.
"""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lacewing.ablation.attribution import first_order
from lacewing.ablation.calibration import fit
from lacewing.ablation.editor import CircuitEditor
from lacewing.ablation.run import ablated_loss
from lacewing.circuit.calibration import calibrated
from lacewing.circuit.certificate import Certificate
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.components import Component, component_name, ends
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import ArtifactError, DataError
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.pruning.kept_parts import keep_editor, resume_editor
from lacewing.pruning.state import State
from lacewing.tasks.batch import Prompts, encode
from lacewing.tasks.scoring import two_answer_loss

SCREEN = 64
"""Pairs that components are ranked on; what goes is decided on all."""
MEASURED = 400
"""Parts up to which each is tried to rank them; more are ranked by their gradient."""
MARGIN = 0.03
"""Nats by which the few prompts may lose more than all, and a component is tried on all still."""
FEW = 8
"""Parts that go together at least, before they are tried one by one."""
MANY, EACH, DONE = "many", "each", "done"
"""How far an elimination is."""


def minimise(
    model: Model,
    circuit: Circuit,
    prompts: Prompts,
    *,
    state: State | None = None,
    quiet: bool = False,
) -> Circuit:
    """Remove nodes and edges from a circuit until none can go.

    Args:
        model: The circuit's model.
        circuit: One that reaches its target loss on `prompts`.
        prompts: What decides; validation prompts, never those that losses are reported on.
        state: Where it goes on after an interruption.
        quiet: Report no progress.

    Returns:
        The smaller circuit with its certificate, without losses and with the calibration it had
        (see `measured`).

    Raises:
        DataError: the circuit does not reach its target on these prompts.
        MismatchError: it belongs to another model.
    """
    circuit.check(model)
    editor, target = CircuitEditor(model.ours, circuit, model.means), circuit.config.chosen_at
    start = editor.loss(prompts)
    if start > target:
        raise DataError(
            f"the circuit for {circuit.task} has {start:.3f} nats on these prompts, above its "
            f"target {target:g}: nothing can be removed; prune to a lower target first"
        )
    total = _count(editor)
    way = _Way(editor, state or State(), "minimal")
    with progress(f"minimise {circuit.task}", total, "components", not quiet) as bar:

        def tell() -> None:
            bar.update(total - _count(editor), f"{_count(editor)} left")

        tell()
        _eliminate(way, prompts, total, tell)
        while _remove_single(editor, proof := certify(editor, prompts), prompts):
            way.stands(DONE)
            tell()
    nodes, edges = editor.arrays()
    return dataclasses.replace(circuit, nodes=nodes, edges=edges, losses={}, certificate=proof)


def eliminated(
    model: Model,
    circuit: Circuit,
    prompts: Prompts,
    state: State | None = None,
    name: str = "eliminated",
) -> Circuit | None:
    """Remove nodes and edges, many together and, from a small circuit, one by one: no certificate.

    Args:
        model: The circuit's model.
        circuit: The circuit.
        prompts: What decides.
        state: Where it goes on after an interruption.
        name: Its name there.

    Returns:
        The smaller circuit; none if the circuit itself is above its target loss.
    """
    editor = CircuitEditor(model.ours, circuit, model.means)
    if editor.within_target(prompts) is None:
        return None
    _eliminate(_Way(editor, state or State(), name), prompts, MEASURED)
    nodes, edges = editor.arrays()
    return dataclasses.replace(circuit, nodes=nodes, edges=edges, certificate=None)


def measured(model: Model, circuit: Circuit, sets: PromptSets) -> Circuit:
    """The circuit with the losses of the full model and its own, on test and validation prompts.

    A calibrated circuit is calibrated again, on the validation prompts that it was chosen on.
    """
    editor, calibration = CircuitEditor(model.ours, circuit, model.means), circuit.calibration
    if calibration is not None:
        calibration = fit(editor.logits(sets.validation), sets.validation)

    def loss(prompts: Prompts) -> float:
        return float(
            two_answer_loss(calibrated(editor.logits(prompts), calibration), prompts).mean()
        )

    losses = {
        "full": float(ablated_loss(model, sets.test, None).mean()),
        "circuit": loss(sets.test),
        "validation": loss(sets.validation),
    }
    return dataclasses.replace(circuit, losses=losses, calibration=calibration)


def recertify(model: Model, circuit: Circuit) -> Certificate:
    """Measure a minimal circuit again without each of its components, on its certificate's pairs.

    Raises:
        ArtifactError: the circuit has no certificate.
        MismatchError: it belongs to another model.
    """
    circuit.check(model)
    if circuit.certificate is None:
        raise ArtifactError(
            f"the circuit for {circuit.task} has no certificate: it was not minimised; prune again "
            "with --minimal"
        )
    pairs = circuit.certificate.pairs
    prompts = encode(pairs, model.tokenizer, model.network.config.context)
    return certify(CircuitEditor(model.ours, circuit, model.means), prompts)


def certify(editor: CircuitEditor, prompts: Prompts) -> Certificate:
    """Measure a circuit without each of its components."""
    nodes, edges = editor.nodes_on(), editor.edges_on()
    return Certificate(
        target_loss=editor.circuit.config.chosen_at,
        loss=editor.loss(prompts),
        pairs=prompts.pairs,
        nodes={component_name(node): editor.loss(prompts, [node]) for node in nodes},
        edges={component_name(edge): editor.loss(prompts, [edge]) for edge in edges},
    )


def _count(editor: CircuitEditor) -> int:
    return len(editor.nodes_on()) + len(editor.edges_on())


@dataclass
class _Way:
    """How far an editor's elimination is; it goes on where it was interrupted."""

    editor: CircuitEditor
    state: State
    name: str
    phase: str = MANY

    def __post_init__(self) -> None:
        self.phase = resume_editor(self.state, self.name, self.editor) or MANY

    def stands(self, phase: str) -> None:
        """Say how far it is; kept at times."""
        self.phase = phase
        if self.state.due:
            keep_editor(self.state, self.name, self.editor, phase)


def _eliminate(
    way: _Way, prompts: Prompts, each: int, tell: Callable[[], None] = lambda: None
) -> None:
    """Let components go, first many together, then one by one if there are so few or fewer."""
    editor = way.editor
    # Taken once, since an editor keeps the prefixes of prompts it knows.
    few = prompts.first(SCREEN)
    while way.phase == MANY:
        way.stands(MANY if _remove_many(editor, few, prompts) else EACH)
        tell()
    while way.phase == EACH:
        goes_on = _count(editor) <= each and _remove_each(editor, few, prompts)
        way.stands(EACH if goes_on else DONE)
        tell()


def _remove_many(editor: CircuitEditor, few: Prompts, prompts: Prompts) -> bool:
    """Let half of what fits go, the cheapest; whether it is worth to go on like this."""
    ranked = _ranked(editor, few)
    low, high = 0, len(ranked)  # the first `low` fit; `high` do not, or are all
    while high - low > 1:
        middle = (low + high) // 2
        if editor.within_target(prompts, ranked[:middle]) is not None:
            low = middle
        else:
            high = middle
    if low < FEW:
        return False
    _remove(editor, ranked[: low // 2])
    return True


def _remove_each(editor: CircuitEditor, few: Prompts, prompts: Prompts) -> bool:
    """Try each component, the cheapest first; whether any went.

    One without which the few prompts lose far more than all may is not tried on all.
    """
    loss, of_few, gone = editor.loss(prompts), editor.loss(few), False
    for component in _ranked(editor, few):
        bound = of_few + editor.circuit.config.chosen_at - loss + MARGIN
        if not _is_on(editor, component) or editor.loss_within(bound, few, [component]) is None:
            continue
        without = editor.within_target(prompts, [component])
        if without is not None:
            _remove(editor, [component])
            loss, of_few, gone = without, editor.loss(few), True
    return gone


def _remove_single(editor: CircuitEditor, proof: Certificate, prompts: Prompts) -> bool:
    """One round of single removals, the cheapest first; whether any component went."""
    components: list[Component] = [*editor.nodes_on(), *editor.edges_on()]
    losses, target = {**proof.nodes, **proof.edges}, proof.target_loss
    gone = False
    for component in sorted(
        components,
        key=lambda component: (losses[component_name(component)], component_name(component)),
    ):
        if losses[component_name(component)] > target:
            break
        if not _is_on(editor, component):
            continue
        if not gone or editor.within_target(prompts, [component]) is not None:
            _remove(editor, [component])
            gone = True
    return gone


def _remove(editor: CircuitEditor, components: Iterable[Component]) -> None:
    for component in components:
        if _is_on(editor, component):
            editor.switch(component, on=False)


def _is_on(editor: CircuitEditor, component: Component) -> bool:
    if len(component) == 2:
        return bool(editor.masks[component[0]][component[1]])
    return not editor.is_off(component) and all(editor.masks[key][c] for key, c in ends(component))


def _ranked(editor: CircuitEditor, prompts: Prompts) -> list[Component]:
    """All components, the cheapest to remove first: loss gained for each that would go."""
    nodes, edges = editor.nodes_on(), editor.edges_on()
    components: list[Component] = [*nodes, *edges]
    if len(components) <= MEASURED:
        before = editor.loss(prompts)
        cost = {component: editor.loss(prompts, [component]) - before for component in components}
    else:
        cost = first_order(editor, prompts)
    saved = dict.fromkeys(nodes, 1)
    for edge in edges:
        for node in ends(edge):
            saved[node] += 1

    def rank(component: Component) -> tuple[float, str]:
        rise = cost[component]
        share = rise / saved[component] if len(component) == 2 and rise > 0 else rise
        return share, component_name(component)

    return sorted(components, key=rank)
