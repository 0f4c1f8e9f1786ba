"""When does a circuit appear? One task, pruned at the snapshots that a training kept.

The snapshots are states of one model, so a node of one is the same node of another. Beside each
circuit stands what it shares with the last one, what two random circuits of their sizes would
share, and what the last circuit's nodes do in the model as it was then. What is finished is kept in
the output folder, so an interrupted run goes on, inside of each pruning too.

    TASK/STEP/            a circuit
    TASK/STEP.json        why there is none
    TASK/emergence.json   all of it, when it is done
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from lacewing import artifacts
from lacewing.ablation.calibration import refitted_loss
from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_logits
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets, prompt_sets
from lacewing.errors import ArtifactError, ConfigError, DataError
from lacewing.model.shipped import BUILTIN
from lacewing.model.sites import site_widths
from lacewing.model.store import Model, load
from lacewing.pages.names import safe_name
from lacewing.progress import say
from lacewing.pruning.prune import prune
from lacewing.pruning.state import digest
from lacewing.statistics import bootstrap, pair_means
from lacewing.tasks.batch import Prompts
from lacewing.tasks.registry import get
from lacewing.tasks.scoring import evaluate, two_answer_loss
from lacewing.training.run import SNAPSHOTS

RESULT = "emergence.json"


@dataclass(frozen=True)
class _Refused:
    """TASK/STEP.json, of a state without a circuit."""

    __pydantic_config__ = artifacts.EXACT

    error: str
    model: str
    prompts: str
    config: dict[str, Any]


@dataclass(frozen=True)
class State:
    """A task in the model as it was after some steps."""

    step: int
    """Optimizer steps of the training."""
    tokens: int
    """Tokens it had read."""
    validation_loss: float
    """Nats per token of validation text."""
    full: float
    """Task loss of the whole model on test prompts, nats."""
    full_interval: tuple[float, float]
    """95 %, over pairs."""
    reason: str | None = None
    """Why there is no circuit, where there is none."""
    nodes: int | None = None
    edges: int | None = None
    loss: float | None = None
    """Task loss of the circuit on test prompts, nats."""
    shared: int | None = None
    """Nodes that are also in the last circuit."""
    by_chance: float | None = None
    """Nodes that random circuits of the same sizes, site by site, share in the mean."""
    last_alone: float | None = None
    """Task loss of the last circuit's nodes alone in this model, calibrated for it, nats."""
    last_alone_interval: tuple[float, float] | None = None
    """95 %, over pairs."""
    folder: str | None = None
    """The circuit, from the output folder."""


@dataclass(frozen=True)
class Emergence:
    """All states of one task, oldest first."""

    task: str
    model: str
    target_loss: float
    seed: int
    states: tuple[State, ...]

    @property
    def first(self) -> State | None:
        """The first state with a circuit."""
        return next((state for state in self.states if state.nodes is not None), None)

    def as_json(self) -> dict[str, Any]:
        """Plain values for a file or a terminal."""
        first = self.first
        return asdict(self) | {"first": first.tokens if first else None}


def snapshots(run: Path) -> list[Path]:
    """The states that a training kept, oldest first; a finished run itself is the last.

    Raises:
        ConfigError: it kept none.
    """
    if str(run).startswith(BUILTIN):
        raise ConfigError(f"{run} has no snapshots: give the folder of a run trained with some")
    found = sorted((int(f.name), f) for f in (run / SNAPSHOTS).glob("*") if f.name.isdecimal())
    states = [folder for _, folder in found]
    if (run / "summary.json").exists():
        last = artifacts.read_json(run / "summary.json").get("steps")
        states = [folder for step, folder in found if step != last] + [run]
    if len(states) < 2:
        raise ConfigError(
            f"{run} holds {len(states)} states of its training; to see a circuit appear, train "
            "with --snapshots 16"
        )
    return states


def emerge(
    run: Path,
    task: str,
    output: Path,
    config: PruneConfig | None = None,
    *,
    corpus: str | None = None,
    quiet: bool = False,
) -> Emergence:
    """Prune one task at every snapshot of a run, into `output/TASK/STEP`.

    Args:
        run: A run's folder, finished or in training, with snapshots.
        task: A task's name, or a JSONL file of pairs.
        output: Folder for the circuits and emergence.json.
        config: The pruning, the same at every state.
        corpus: Where prompts come from; by default the run's corpus.
        quiet: Report no progress.

    Raises:
        ConfigError: the run kept no snapshots, `output` holds circuits of other settings, or
            another process is at work there.
        DataError: an unknown task, or one that has no prompts.

    Example:
        >>> found = emerge(Path("runs/small"), "indent_for", Path("runs/emerged"))  # doctest: +SKIP
        >>> found.first.tokens  # doctest: +SKIP
        1048576
    """
    config = config or PruneConfig()
    models = [(load(folder), _facts(folder)) for folder in snapshots(run)]
    sets = prompt_sets(models[-1][0], get(task), config, corpus)
    home = output / safe_name(sets.name)
    busy = f"another process prunes the states of {sets.name} in {home}: wait for it to end"
    with artifacts.locked(home, busy):
        found: list[tuple[Circuit | str, Model, dict[str, Any]]] = []
        for model, facts in models:
            place = artifacts.own(home, str(facts["step"]))
            circuit = _circuit(model, task, sets, config, place, quiet)
            said = circuit if isinstance(circuit, str) else f"{circuit.n_nodes} nodes"
            say(f"step {facts['step']:,}: {said}", not quiet)
            found.append((circuit, model, facts))
        last = next((c for c, _, _ in reversed(found) if isinstance(c, Circuit)), None)
        states = tuple(_state(*one, sets, last) for one in found)
        result = Emergence(sets.name, str(run), config.chosen_at, config.seed, states)
        artifacts.write_json(home / RESULT, result.as_json())
    return result


def _facts(folder: Path) -> dict[str, Any]:
    """Step, tokens and validation loss of a state."""
    summary = artifacts.read_json(folder / "summary.json")
    training = artifacts.read_json(folder / "config.json")["training"]
    try:
        step = int(summary["steps"])
        return {
            "step": step,
            "tokens": step * int(training["batch"]) * int(training["context"]),
            "validation_loss": float(summary["validation_loss"]),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{folder} does not say its step ({error!r:.60}): damaged") from error


def _circuit(
    model: Model, task: str, sets: PromptSets, config: PruneConfig, folder: Path, quiet: bool
) -> Circuit | str:
    """The circuit of one state, read where it is there; else why there is none."""
    if folder.exists():
        kept = Circuit.load(folder)
        kept.check(model)
        artifacts.check_same(folder, "a circuit", kept.config.as_json(), config.as_json())
        return kept
    refusal = artifacts.own(folder.parent, f"{folder.name}.json")
    asked = {"model": model.id, "prompts": digest(sets), "config": config.as_json()}
    if refusal.exists():
        refused = artifacts.read(refusal, _Refused)
        if asdict(refused) == {"error": refused.error} | asked:
            return refused.error
    state = artifacts.unfinished(folder)
    try:
        # The target is asked of this state's own loss, so that a state before it costs little.
        found = prune(model, get(task), config, sets=sets, state=state, quiet=quiet)
    except DataError as error:
        artifacts.write_json(refusal, {"error": str(error)} | asked)
        shutil.rmtree(state, ignore_errors=True)
        return str(error)
    found.save(folder)
    shutil.rmtree(state)
    return found


def _state(
    circuit: Circuit | str,
    model: Model,
    facts: dict[str, Any],
    sets: PromptSets,
    last: Circuit | None,
) -> State:
    score = evaluate(model, sets.test)
    plain: dict[str, Any] = facts | {"full": score.loss, "full_interval": score.interval}
    if last is not None:
        alone = _alone(last, model, sets)
        per_pair = pair_means(alone)
        plain |= {
            "last_alone": float(per_pair.mean()),
            "last_alone_interval": bootstrap(per_pair),
        }
    if isinstance(circuit, str):
        return State(**plain, reason=circuit)
    assert last is not None
    return State(
        **plain,
        nodes=circuit.n_nodes,
        edges=circuit.n_edges,
        loss=circuit.losses["circuit"],
        shared=len({*circuit.node_names()} & {*last.node_names()}),
        by_chance=by_chance(circuit, last, site_widths(model.network.config)),
        folder=str(facts["step"]),
    )


def _alone(last: Circuit, model: Model, sets: PromptSets) -> Float[Tensor, " sequence"]:
    """Loss per test prompt of a circuit's nodes in an earlier model, calibrated for that model."""
    masks = masks_of(model.network, last.nodes)

    def run(prompts: Prompts) -> Float[Tensor, "sequence vocab"]:
        return ablated_logits(model, prompts, masks, last.ablation)

    if last.calibration is None:
        return two_answer_loss(run(sets.test), sets.test)
    return refitted_loss(run, sets.validation, sets.test)


def by_chance(one: Circuit, other: Circuit, widths: dict[str, int]) -> float:
    """Nodes that two circuits of these sizes, random at every site, share in the mean."""
    return sum(
        len(kept) * len(other.nodes.get(key, ())) / widths[key] for key, kept in one.nodes.items()
    )


def table(states: Sequence[State]) -> list[list[str]]:
    """A row a state: tokens, losses, size, what it shares with the last circuit."""
    rows = []
    for state in states:
        sizes = ["-", "-", "-"]
        if state.nodes is not None:
            share = (state.shared or 0) / max(1, state.nodes)
            chance = (state.by_chance or 0) / max(1, state.nodes)
            sizes = [f"{state.nodes:,}", f"{state.edges:,}", f"{share:.0%} ({chance:.0%})"]
        alone = "-" if state.last_alone is None else f"{state.last_alone:.3f}"
        tokens = f"{state.tokens / 1e6:.2f} M"
        rows.append([tokens, f"{state.validation_loss:.3f}", f"{state.full:.3f}", *sizes, alone])
    return rows
