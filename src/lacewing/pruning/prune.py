"""Prune a model to the smallest circuit that does a task at a target loss.

    1 all nodes start on; tau of every node is trained on  task loss + penalty x nodes on,
      with everything that is off replaced by its mean over the pretraining text
    2 the penalty rises geometrically along the run: one path instead of one run per penalty
    3 as tau stood at points of its later half, nodes are ranked and bisection finds how few of the
      highest, less those that do not reach the answer, reach the target loss on validation
      prompts; the smallest selection wins, and the nodes that gradients call cheapest go
    4 losses are measured on test prompts, which nothing was chosen on

Paper section 2.2 and A.5; method section 6. The model's weights never change.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from lacewing import artifacts
from lacewing.ablation.calibration import fit
from lacewing.ablation.masks import Masks, nodes_of
from lacewing.ablation.run import ablated_logits, ablated_loss
from lacewing.circuit.calibration import Calibration
from lacewing.circuit.circuit import Circuit, NodesOnly, circuit_of
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets, prompt_sets
from lacewing.errors import DataError
from lacewing.model.layers import sparse_products
from lacewing.model.store import Model
from lacewing.model.transformer import Transformer, own
from lacewing.progress import progress
from lacewing.pruning.edge_search import fewest_edges
from lacewing.pruning.elimination import measured, minimise
from lacewing.pruning.kept_search import keep_end, keep_search, keep_selected, resume_search
from lacewing.pruning.node_search import Search, Wanted, step_together
from lacewing.pruning.selection import Selection
from lacewing.pruning.state import State
from lacewing.tasks.batch import Prompts
from lacewing.tasks.registry import get
from lacewing.tasks.task import Task

AT_ONCE = 4
"""Circuits searched for in one batch; more would only need more memory."""


def prune(
    model: Model,
    task: Task | str,
    config: PruneConfig | None = None,
    *,
    sets: PromptSets | None = None,
    corpus: str | None = None,
    state: Path | None = None,
    quiet: bool = False,
) -> Circuit:
    """Find a small circuit for a task.

    Args:
        model: The model; its weights are only read.
        task: What the circuit has to do: a task, its name, or a JSONL file of pairs.
        config: Target loss, seed and search; defaults suit small models.
        sets: The prompts, where they are already made; by default from the corpus.
        corpus: Where prompts come from; by default the model's corpus.
        state: Folder where the work on the way is kept: after an interruption the same call goes on
            there, and ends with the same circuit. It can be deleted afterwards.
        quiet: Report no progress.

    Returns:
        The smallest circuit found, with its test pairs and, if it was to be minimal, its
        certificate; the same one for the same model, task and configuration.

    Raises:
        DataError: the full model itself does not reach the target loss, or no circuit does; or the
            model reaches it without any node, such as by its bigram table alone.
        ArtifactError: the state is that of another pruning, or damaged.

    Example:
        >>> few = PruneConfig(prompts=512, train_pairs=128, validation_pairs=64, test_pairs=32)
        >>> circuit = prune(load("builtin:taught-tiny"), "indent_for", few, quiet=True)
        >>> circuit.losses["validation"] <= circuit.target_loss
        True
        >>> circuit.save("runs/indent")
    """
    task, config = get(task) if isinstance(task, str) else task, config or PruneConfig()
    sets = sets or prompt_sets(model, task, config, corpus)
    wanted = Wanted(task, config, sets)
    if state is None:
        return _one(model, wanted, quiet)
    with artifacts.locked(state, f"another process is pruning in {state}: wait for it to end"):
        facts = {"task": task.name, "config": config.as_json()}
        kept = State.open(state, model, facts, sets)
        return _one(model, dataclasses.replace(wanted, state=kept), quiet)


def _one(model: Model, wanted: Wanted, quiet: bool) -> Circuit:
    (found,) = prune_many(model, [wanted], quiet=quiet)
    if isinstance(found, DataError):
        raise found
    return found


def prune_many(
    model: Model,
    wanted: Sequence[Wanted],
    *,
    done: Callable[[int, Circuit], None] | None = None,
    quiet: bool = False,
) -> list[Circuit | DataError]:
    """Find many circuits of one model: tasks, seeds, targets; some are always searched together.

    Masks are learned in one batch with shared weights, and a search that ends makes room for the
    next. Every circuit is the one that `prune` finds, up to the rounding of sums.

    Args:
        model: The model; its weights are only read.
        wanted: What to find.
        done: Called with the place in `wanted` of every circuit as soon as it is found, to keep it.
        quiet: Report no progress.

    Returns:
        In the order of `wanted`, a circuit or the reason why there is none.
    """
    results: dict[int, Circuit | DataError] = {}

    def keep(number: int, found: Circuit | DataError) -> None:
        results[number] = found
        if done and isinstance(found, Circuit):
            done(number, found)

    for one in wanted if not isinstance(model.network, Transformer) else ():
        if one.config.prunes_edges:
            own(model.network, "pruning edges")
    for search, found in _searched(model, wanted, quiet):
        if isinstance(search, Search) and isinstance(found, Circuit):
            if search.wanted.config.minimal:
                found = _minimal(model, found, search, quiet)
            keep(search.number, found)
        else:
            keep(search if isinstance(search, int) else search.number, found)
    return [results[number] for number in range(len(wanted))]


def _searched(
    model: Model, wanted: Sequence[Wanted], quiet: bool
) -> Iterator[tuple[Search | int, Circuit | DataError]]:
    """Every search as it ends, with what it found; the number of one that could not begin."""
    waiting = list(enumerate(wanted))
    running: list[Search] = []
    total = sum(one.config.steps for one in wanted)
    at_once = AT_ONCE if isinstance(model.network, Transformer) else 1
    with progress(_title(wanted), total, "steps", not quiet) as bar:
        walked = 0
        while waiting or running:
            ended: list[tuple[Search | int, Circuit | DataError]] = []
            with sparse_products(model.network):
                while waiting and len(running) < at_once:
                    number, one = waiting.pop(0)
                    search = Search.begin(model, number, one)
                    if isinstance(search, Search):
                        search.selected = resume_search(one.state, search)
                        walked += search.step
                        running.append(search)
                    else:
                        walked += one.config.steps
                        ended.append((number, search))
                while running and not ended:
                    if walking := [search for search in running if not search.ended]:
                        told = step_together(model, walking)
                        walked += len(walking)
                        bar.update(min(walked, total), told)
                    for search in [s for s in running if s.ended]:
                        running.remove(search)
                        # Said at times, not at each selection that is tried.
                        say = partial(bar.update, min(walked, total - 1))
                        ended.append((search, finish(model, search, say)))
                    for search in running:
                        if search.wanted.state.due:
                            keep_search(search.wanted.state, search)
            yield from ended


def _title(wanted: Sequence[Wanted]) -> str:
    return f"prune {wanted[0].task.name}" if len(wanted) == 1 else f"prune {len(wanted)} circuits"


def finish(model: Model, search: Search, say: Callable[[str], None]) -> Circuit | DataError:
    """The circuit of a search that has ended, measured on test prompts, or why there is none.

    Args:
        model: The model.
        search: The search, walked to its end.
        say: Is told of every selection on the way.
    """
    config, name, state = search.wanted.config, search.wanted.task.name, search.wanted.state
    best = search.select(model, lambda found: say(f"select {name}: {found.nodes} nodes"))
    if best is None:
        penalties = f"{config.penalty_from:g} to {config.penalty_to:g}"
        return DataError(
            f"no circuit of {search.sets.name} reaches {config.chosen_at:g} nats: the penalties "
            f"from {penalties} remove too much; lower penalty_to"
        )
    if state.due:
        keep_selected(state, search, best)
    if search.wanted.nodes:
        keep_end(search.wanted.nodes, search, best)
    circuit = as_circuit(model, search, best)
    if not config.prunes_edges:
        return circuit
    fewer = measured(model, fewest_edges(model, search, circuit, say, state), search.sets)
    seconds = round(state.seconds, 2)
    return dataclasses.replace(fewer, seconds=seconds, nodes_only=_nodes_only(circuit))


def _minimal(model: Model, circuit: Circuit, search: Search, quiet: bool) -> Circuit:
    """The circuit without what can go, measured anew, with its certificate."""
    state, sets, before = search.wanted.state, search.sets, _nodes_only(circuit)
    minimal = minimise(model, circuit, sets.validation, state=state, quiet=quiet)
    smaller = measured(model, minimal, sets)
    return dataclasses.replace(smaller, seconds=round(state.seconds, 2), nodes_only=before)


def _nodes_only(circuit: Circuit) -> NodesOnly:
    """What a circuit was before its edges were pruned."""
    now = NodesOnly(circuit.n_nodes, circuit.n_edges, circuit.losses["circuit"])
    return circuit.nodes_only or now


def as_circuit(model: Model, search: Search, selection: Selection) -> Circuit:
    """A selection as a circuit, with its losses on test and validation prompts."""
    config, sets, masks = search.wanted.config, search.sets, selection.masks
    calibration = None
    if config.calibrate:
        logits = ablated_logits(model, sets.validation, masks)
        calibration = fit(logits, sets.validation)
    return circuit_of(
        model.network,
        nodes_of(masks),
        model_id=model.id,
        model_source=model.source,
        tokenizer_id=model.tokenizer.id,
        task=search.wanted.task.name,
        answers=tuple(sorted(set(sets.test.answer.tolist()))),
        ablation="mean",
        config=config,
        losses=_losses(model, sets, masks, calibration),
        calibration=calibration,
        pairs=sets.test.pairs,
        seconds=round(search.wanted.state.seconds, 2),
    )


def _losses(
    model: Model, sets: PromptSets, masks: Masks, calibration: Calibration | None
) -> dict[str, float]:
    def loss(prompts: Prompts, masks: Masks | None) -> float:
        used = None if masks is None else calibration
        return float(ablated_loss(model, prompts, masks, calibration=used).mean())

    return {
        "full": loss(sets.test, None),
        "circuit": loss(sets.test, masks),
        "validation": loss(sets.validation, masks),
    }
