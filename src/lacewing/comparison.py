"""Compare a sparse model with its dense twin: how large are their circuits at the same loss?

For every task that both have learned and every seed, both models are pruned to the same target
loss. Counts are averaged geometrically over seeds, then tasks (the paper's headline), and the ratio
dense / sparse gets an interval by resampling tasks, and seeds within each task. What is finished is
kept in the output folder, so an interrupted comparison goes on, inside of each pruning too.

    plan.json                  the tasks that both have learned, and why others have not
    SIDE/TASK-SEED/            a circuit
    SIDE/TASK-SEED.json        its row, or why there is none
    comparison.json            all of it, when it is done

`so_far` reads the rows that are there of one that is not done, and says which are missing.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from lacewing import artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.edges import count_all
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import ConfigError, DataError
from lacewing.model.store import Model
from lacewing.pages.names import safe_name
from lacewing.progress import say
from lacewing.pruning.node_search import Wanted
from lacewing.pruning.prune import prune_many
from lacewing.pruning.shared import Shared
from lacewing.pruning.state import State
from lacewing.statistics import geometric_mean, interval
from lacewing.tasks.registry import get
from lacewing.tasks.task import Task

RESAMPLES = 2000
PLAN, STATES = "plan.json", "unfinished"
SIDES = ("sparse", "dense")


@dataclass(frozen=True)
class _Refused:
    """SIDE/TASK-SEED.json, where there is no circuit."""

    __pydantic_config__ = artifacts.LOOSE

    error: str | None = None
    model: str | None = None
    config: dict[str, Any] | None = None


@dataclass(frozen=True)
class _Plan:
    """plan.json."""

    __pydantic_config__ = artifacts.LOOSE

    sparse: str
    dense: str
    target_loss: float
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    skipped: dict[str, str]


@dataclass(frozen=True)
class Comparison:
    """Sizes of both models' circuits; see the module for how they are averaged."""

    sparse: str
    dense: str
    target_loss: float
    seeds: tuple[int, ...]
    rows: list[dict[str, Any]]
    """One per task, seed and model: task, seed, side, edges, edges_all, nodes, losses."""
    skipped: list[dict[str, str]]
    """Tasks left out, and why."""

    def tasks(self) -> list[str]:
        """Tasks compared, in order."""
        return list(dict.fromkeys(row["task"] for row in self.rows))

    def counts(self, side: str, count: str) -> np.ndarray:
        """[task, seed] of one count, at least 1 so that its logarithm exists."""
        table = {(r["task"], r["seed"]): r[count] for r in self.rows if r["side"] == side}
        return np.array([[max(1, table[t, s]) for s in self.seeds] for t in self.tasks()])

    def summary(self, count: str = "edges") -> dict[str, Any]:
        """Geometric means of both sides, their ratio and its 95 % interval."""
        sparse, dense = (np.log(self.counts(side, count)) for side in ("sparse", "dense"))
        generator = np.random.default_rng(0)
        tasks, seeds = sparse.shape
        task = generator.integers(tasks, size=(RESAMPLES, tasks, 1))
        seed = generator.integers(seeds, size=(RESAMPLES, tasks, seeds))
        ratios = np.exp((dense - sparse)[task, seed].mean((1, 2)))
        return {
            "sparse": geometric_mean(np.exp(sparse.mean(1))),
            "dense": geometric_mean(np.exp(dense.mean(1))),
            "ratio": float(np.exp((dense - sparse).mean())),
            "interval": list(interval(ratios)),
        }

    def as_json(self) -> dict[str, Any]:
        """Plain values for a file or a terminal."""
        return {
            "tasks": self.tasks(),
            "edges": self.summary("edges"),
            "edges_all": self.summary("edges_all"),
            "nodes": self.summary("nodes"),
            "target_loss": self.target_loss,
            "seeds": list(self.seeds),
            "sparse": self.sparse,
            "dense": self.dense,
            "rows": self.rows,
            "skipped": self.skipped,
        }


def over_pairs(found: Sequence[Comparison], count: str = "edges") -> dict[str, Any]:
    """Several pairs, such as training seeds of one setting, as one ratio with its 95 % interval.

    Over the tasks that all of them have. The interval resamples pairs, and tasks for all pairs
    alike; with three pairs it knows little of how pairs differ.

    Args:
        found: The pairs' comparisons.
        count: What is counted: edges, edges_all or nodes.

    Returns:
        The shared tasks; where there are any, geometric means of both sides, ratio and interval.

    Example:
        >>> over_pairs([one, two, three])["ratio"]  # doctest: +SKIP
        16.2
    """
    shared = [task for task in found[0].tasks() if all(task in one.tasks() for one in found)]
    if not shared:
        return {"tasks": []}
    logs = {}
    for side in SIDES:
        means = [np.log(one.counts(side, count)).mean(1) for one in found]
        known = [
            dict(zip(one.tasks(), m, strict=True)) for one, m in zip(found, means, strict=True)
        ]
        logs[side] = np.array([[row[task] for task in shared] for row in known])
    ratios = logs["dense"] - logs["sparse"]
    generator, (pairs, tasks) = np.random.default_rng(0), ratios.shape
    pair = generator.integers(pairs, size=(RESAMPLES, pairs, 1))
    task = generator.integers(tasks, size=(RESAMPLES, 1, tasks))
    return {
        "tasks": shared,
        **{side: float(np.exp(logs[side].mean())) for side in SIDES},
        "ratio": float(np.exp(ratios.mean())),
        "interval": list(interval(np.exp(ratios[pair, task].mean((1, 2))))),
    }


def compare(
    sparse: Model,
    dense: Model,
    tasks: Sequence[str],
    output: Path,
    config: PruneConfig | None = None,
    *,
    seeds: Sequence[int] = (0,),
    corpus: str | None = None,
    shared: Shared | None = None,
    quiet: bool = False,
) -> Comparison:
    """Prune both models on all tasks both have learned, into `output/{sparse,dense}/TASK-SEED`.

    Args:
        sparse: The weight-sparse model.
        dense: Its dense twin.
        tasks: Names or files of tasks to try.
        output: Folder for the circuits and comparison.json.
        config: The pruning, the same for both.
        seeds: One pruning per seed.
        corpus: Where prompts come from; by default the sparse model's corpus.
        shared: What other comparisons of these models found, with edges pruned or without.
        quiet: Report no progress.

    Raises:
        DataError: an unknown task, or no task that both have learned.
        ConfigError, MismatchError: `output` holds circuits of other settings or models.

    Example:
        >>> sparse, dense = load("builtin:taught-sparse"), load("builtin:taught-dense")
        >>> found = compare(sparse, dense, ["while_return_true"], Path("runs/compared"), quiet=True)
        >>> found.summary()["ratio"] > 1
        True
    """
    config, shared = config or PruneConfig(), shared or Shared()
    sides = {"sparse": sparse, "dense": dense}
    chosen = {task.name: task for task in map(get, tasks)}
    ready, skipped = _learned(sides, chosen.values(), config, corpus or sparse.corpus, shared)
    left, right = (model.name or model.source for model in (sparse, dense))
    if ready:
        plan = {"tasks": list(ready), "seeds": list(seeds), "skipped": skipped}
        artifacts.write_json(
            output / PLAN, plan | {"sparse": left, "dense": right, "target_loss": config.chosen_at}
        )
    rows: list[dict[str, Any]] = []
    for side, model in sides.items():
        wanted = [
            Wanted(chosen[name], replace(config, seed=seed), sets[side])
            for name, sets in ready.items()
            if name not in skipped
            for seed in seeds
        ]
        place = artifacts.own(output, side)
        for one, found in zip(wanted, _circuits(model, wanted, place, shared, quiet), strict=True):
            row = _cell(side, model, one, found)
            artifacts.write_json(artifacts.own(place, f"{_name(one)}.json"), row)
            if "error" in row:
                skipped[one.task.name] = row["error"]
            else:
                rows.append(row)
    rows = [row for row in rows if row["task"] not in skipped]
    left_out = [{"task": name, "reason": reason} for name, reason in skipped.items()]
    if not rows:
        what = "has a circuit with edges in" if ready else "is learned by"
        reasons = [skipped[name] for name in ready] or list(skipped.values())
        raise DataError(
            f"no task {what} both models, so there is nothing to compare; " + "; ".join(reasons[:3])
        )
    result = Comparison(left, right, config.chosen_at, tuple(seeds), rows, left_out)
    artifacts.write_json(output / "comparison.json", result.as_json())
    shutil.rmtree(output / STATES, ignore_errors=True)
    return result


def _learned(
    sides: Mapping[str, Model],
    tasks: Iterable[Task],
    config: PruneConfig,
    text: str,
    known: Shared,
) -> tuple[dict[str, dict[str, PromptSets]], dict[str, str]]:
    """The prompts, by side, of every task that both models have learned; why others have not."""
    ready: dict[str, dict[str, PromptSets]] = {}
    skipped: dict[str, str] = {}
    settings = {(m.tokenizer.to_bytes(), m.network.config.context) for m in sides.values()}
    for task in tasks:
        made: dict[str, PromptSets] = {}
        try:
            for side, model in sides.items():
                # Twins share a tokenizer, so the prompts of one are those of the other.
                shared = next(iter(made.values()), None) if len(settings) == 1 else None
                loss = known.loss(model, task, config, text, shared)
                _check_learned(side, task.name, loss, config)
                made[side] = shared or known.prompts(model, task, config, text)
            ready[task.name] = made
        except DataError as error:
            skipped[task.name] = str(error)
    return ready, skipped


def _check_learned(side: str, task: str, loss: float, config: PruneConfig) -> None:
    if loss > config.chosen_at:
        raise DataError(
            f"{task} is not learned by the {side} model: {loss:.3f} nats on validation "
            f"prompts, target {config.chosen_at:g}"
        )


def _circuits(
    model: Model, wanted: Sequence[Wanted], output: Path, shared: Shared, quiet: bool
) -> list[Circuit | DataError]:
    """The circuits of one model: those that are there are read, the others found and kept."""
    places = [artifacts.own(output, _name(one)) for one in wanted]
    found: list[Circuit | DataError | None] = [
        _stored(place, model, one) or _refused(place, model, one)
        for place, one in zip(places, wanted, strict=True)
    ]
    missing = [number for number, circuit in enumerate(found) if circuit is None]
    states = artifacts.own(output.parent, f"{STATES}/{output.name}")

    def keep(number: int, circuit: Circuit) -> None:
        place = places[missing[number]]
        circuit.save(place)
        shutil.rmtree(states / place.name, ignore_errors=True)
        cell = _cell(output.name, model, wanted[missing[number]], circuit)
        artifacts.write_json(place.with_name(f"{place.name}.json"), cell)
        say(
            f"{output.name:6} {circuit.task}: {circuit.n_nodes} nodes, {circuit.n_edges} edges",
            not quiet,
        )

    if missing:
        busy = f"another process compares in {output.parent}: wait for it to end"
        with artifacts.locked(output, busy):
            open_ = [
                shared.search(model, _resumed(wanted[m], model, states / places[m].name))
                for m in missing
            ]
            pruned = prune_many(model, open_, done=keep, quiet=quiet)
        for number, circuit in zip(missing, pruned, strict=True):
            found[number] = circuit
            shutil.rmtree(states / places[number].name, ignore_errors=True)
    return [circuit for circuit in found if circuit is not None]


def _name(one: Wanted) -> str:
    return f"{safe_name(one.task.name)}-{one.config.seed}"


def _resumed(one: Wanted, model: Model, folder: Path) -> Wanted:
    """The same, going on where an interrupted comparison stood."""
    assert one.sets is not None
    facts = {"task": one.task.name, "config": one.config.as_json()}
    return replace(one, state=State.open(folder, model, facts, one.sets))


def _cell(side: str, model: Model, one: Wanted, found: Circuit | DataError) -> dict[str, Any]:
    """A circuit's row, or why there is none that can be compared."""
    where = {"task": one.task.name, "seed": one.config.seed, "side": side}
    if isinstance(found, DataError):
        made = {"model": model.id, "config": one.config.as_json()}
        return where | {"error": f"{side}: {found}"} | made
    if not found.n_edges:
        reason = f"the {side} circuit has no edge: any ratio to it is without bounds"
        return where | {"error": reason}
    return _row(side, model, found)


def so_far(output: Path) -> tuple[Comparison, list[dict[str, Any]]]:
    """What there is of a comparison that may not be done, and the cells that are missing.

    The comparison has the tasks whose cells are all there; with none, it has no summary.

    Raises:
        ArtifactError: nothing was begun there, or it is damaged.
    """
    plan = artifacts.read(output / PLAN, _Plan)
    skipped = dict(plan.skipped)
    rows: list[dict[str, Any]] = []
    missing: list[dict[str, Any]] = []
    for task, side, seed in product(plan.tasks, SIDES, plan.seeds):
        path = artifacts.own(output, f"{side}/{safe_name(task)}-{seed}.json")
        if not path.exists():
            missing.append({"task": task, "side": side, "seed": seed})
        elif (reason := artifacts.read(path, _Refused).error) is not None:
            skipped[task] = reason
        else:
            rows.append(artifacts.read_json(path))
    missing = [cell for cell in missing if cell["task"] not in skipped]
    without = skipped.keys() | {cell["task"] for cell in missing}
    whole = [row for row in rows if row["task"] not in without]
    reasons = [{"task": name, "reason": reason} for name, reason in skipped.items()]
    facts = plan.sparse, plan.dense, plan.target_loss, plan.seeds
    return Comparison(*facts, whole, reasons), missing


def _refused(folder: Path, model: Model, wanted: Wanted) -> DataError | None:
    """Why an earlier comparison found no circuit, where it asked for the same."""
    path = folder.with_name(f"{folder.name}.json")
    row = artifacts.read(path, _Refused) if path.exists() else _Refused()
    if row.error is None or (row.model, row.config) != (model.id, wanted.config.as_json()):
        return None
    return DataError(row.error.removeprefix(f"{folder.parent.name}: "))


def _row(side: str, model: Model, circuit: Circuit) -> dict[str, Any]:
    return {
        "task": circuit.task,
        "seed": circuit.seed,
        "side": side,
        "edges": circuit.n_edges,
        "edges_all": count_all(model.network, circuit.nodes, circuit.edges, circuit.answers),
        "nodes": circuit.n_nodes,
        "losses": dict(circuit.losses),
        "seconds": circuit.seconds,
        "folder": f"{side}/{safe_name(circuit.task)}-{circuit.seed}",
    }


def _stored(folder: Path, model: Model, wanted: Wanted) -> Circuit | None:
    """The circuit of an earlier, interrupted comparison."""
    if not folder.exists():
        return None
    config, sets = wanted.config, wanted.sets
    assert sets is not None
    circuit = Circuit.load(folder)
    circuit.check(model)
    artifacts.check_same(folder, "a circuit", circuit.config.as_json(), config.as_json())
    if circuit.pairs != sets.test.pairs:
        raise ConfigError(
            f"{folder} was pruned with other prompts of {sets.name}: another corpus, or a changed "
            "file of pairs; choose another --output"
        )
    return circuit
