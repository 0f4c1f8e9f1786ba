"""`lacewing steer`: a dense model moved by nodes of a sparse one."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Interval

from lacewing import artifacts
from lacewing.bounds import Seed
from lacewing.cli.flags import Json, Model
from lacewing.cli.tables import Table, under
from lacewing.errors import ConfigError, DataError, MismatchError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lacewing.bridges.folder import Coupling
    from lacewing.circuit.circuit import Circuit
    from lacewing.tasks.batch import Prompts

KIND = "steering"
SHOWN = 12
"""Nodes of a circuit in the table."""


@dataclass(frozen=True)
class Steer:
    """Steer a dense model through a bridge, by one node or by all nodes of a circuit.

    With --node: the dense model's answer against strength. With --circuit: each of its nodes at a
    strength chosen on validation pairs, and whether all of them together are necessary and
    sufficient in the dense model.
    """

    bridge: Path
    """Folder of the bridges."""
    node: str | None = None
    """A node that the sparse model reads, such as 1.attn_in.37."""
    circuit: Path | None = None
    """A circuit of the sparse model, a folder or builtin:MODEL/TASK[/KIND]; with --node, the node
    has to be one of it."""
    task: str | None = None
    """A task's name or a JSONL file of pairs; by default the circuit's."""
    strength: tuple[Annotated[float, Interval(ge=-1000, le=1000)], ...] = (
        0.0,
        0.1,
        0.3,
        1.0,
        3.0,
        10.0,
    )
    """How much of the node's change is added; 1 is all of it."""
    pairs: Annotated[int, Interval(ge=1, le=100_000)] = 32
    """Pairs of prompts; two of different lengths are aligned from their last tokens."""
    random: Annotated[int, Interval(ge=1, le=1000)] = 10
    """Random directions of the same length, and random sets of directions."""
    seed: Seed = 0
    """Draws the pairs, the directions and the intervals."""
    corpus: str | None = None
    """Where prompts come from; by default the bridges' corpus."""
    dense: Model | None = None
    """Where the dense model is now, if it was moved."""
    sparse: Model | None = None
    """The same of the sparse one."""
    output: Path | None = None
    """Folder for the figures and, of a node, the plot; must not exist."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Steer, and save what is asked for."""
        from lacewing.bridges.folder import read
        from lacewing.circuit.circuit import Circuit

        if self.node is None and self.circuit is None:
            raise ConfigError("nothing to steer by: give --node, or --circuit for all its nodes")
        if not self.strength or len(self.strength) > 100:
            raise ConfigError(f"{len(self.strength)} strengths: give between 1 and 100")
        if self.output is not None:
            artifacts.check_free(self.output)
        circuit = None if self.circuit is None else Circuit.load(self.circuit)
        coupling = read(self.bridge, self.dense, self.sparse)
        if circuit is not None:
            _check(circuit, coupling, self.bridge)
        found = self._steered(coupling, circuit)
        if self.output is not None:
            artifacts.write_folder(
                self.output, KIND, json={"steering.json": found}, files=_files(found)
            )
            found |= {"output": str(self.output)}
        return found

    def _steered(self, coupling: "Coupling", circuit: "Circuit | None") -> dict[str, Any]:
        from lacewing.bridges.directions import direction
        from lacewing.bridges.steer import steer
        from lacewing.bridges.survey import survey
        from lacewing.bridges.transfer import crossing, transfer

        if self.node is not None:
            direction(coupling, self.node)  # before prompts are made: a slip is told at once
            if circuit is not None and self.node not in circuit.node_names():
                raise DataError(
                    f"{self.node} is no node of the circuit in {self.circuit}; one is "
                    f"{crossing(coupling.facts.sizes, circuit.nodes)[0]}"
                )
            test, name = self._prompts(coupling, circuit, "test")
            done = steer(
                coupling, self.node, test, self.strength, randoms=self.random, seed=self.seed
            )
            return {"task": name, "steering": done.as_json()}
        assert circuit is not None
        names = crossing(coupling.facts.sizes, circuit.nodes)
        test, name = self._prompts(coupling, circuit, "test")
        moved = transfer(
            coupling, circuit.nodes, name, test, draws=self.random, seed=self.seed
        ).as_json()
        found: dict[str, Any] = {"task": name, "transfer": moved, "survey": None, "reason": ""}
        try:
            validation, _ = self._prompts(coupling, circuit, "validation")
            handles = survey(
                coupling,
                names,
                name,
                validation,
                test,
                self.strength,
                randoms=self.random,
                seed=self.seed,
            )
        except DataError as error:  # what is known of all nodes together is not lost by it
            return found | {"reason": str(error)}
        return found | {"survey": handles.as_json()}

    def _prompts(
        self, coupling: "Coupling", circuit: "Circuit | None", split: Any
    ) -> "tuple[Prompts, str]":
        """Pairs that both models can read, and the task's name."""
        from lacewing.data.corpus import Corpus
        from lacewing.tasks.batch import prompts
        from lacewing.tasks.registry import get
        from lacewing.verification.evidence import task_of

        if circuit is not None:
            task = task_of(circuit, self.task)
        elif self.task is None:
            raise ConfigError("a node alone says nothing of prompts: give --task or --circuit")
        else:
            task = get(self.task)
        models = (coupling.dense, coupling.sparse)
        longest = min(model.network.config.context for model in models)
        text = Corpus.parse(self.corpus or coupling.facts.corpus)
        tokenizer = coupling.dense.tokenizer
        return prompts(task, text, tokenizer, split, self.pairs, longest, self.seed), task.name

    @staticmethod
    def show(result: dict[str, Any]) -> "RenderableType":
        """The curve of a node, or all nodes of a circuit."""
        saved = [f"saved in {result['output']}"] if "output" in result else []
        shown = _curve(result) if "steering" in result else _nodes(result)
        return under(*shown, *saved)


def _check(circuit: "Circuit", coupling: "Coupling", folder: Path) -> None:
    from lacewing.model.store import same_model

    if not same_model(circuit.model_id, coupling.sparse.id):
        raise MismatchError(
            f"the circuit is of model {circuit.model_id:.60}, but the bridges in {folder} join "
            f"{coupling.sparse.source}, model {coupling.sparse.id}: prune in that one"
        )
    circuit.check(coupling.sparse)


def _files(found: dict[str, Any]) -> dict[str, bytes]:
    if "steering" not in found:
        return {}
    from lacewing.bridges.curves import steering_plot

    plot = steering_plot(found["steering"], found["task"])
    return {"steering.svg": plot.svg(), "steering.png": plot.png()}


def _curve(result: dict[str, Any]) -> list[Any]:
    found = result["steering"]
    rows = []
    for point in found["curve"]:
        low, high = point["spread"]
        lowest, highest = point["draws"]
        rows.append(
            [
                f"{point['strength']:g}",
                _shown(point["partner"]),
                f"{point['median']:.3f} ({low:.3f} to {high:.3f})",
                _shown(point["share"]),
                f"{point['random']['value']:.3f} ({lowest:.3f} to {highest:.3f})",
                _shown(point["more"]),
            ]
        )
    columns = ["strength", ">partner's answer [95 %]", ">median (quartiles)"]
    columns += [">of the two [95 %]", ">random (lowest to highest)", ">more than random"]
    return [
        Table(columns, rows),
        f"{found['node']} of the sparse model in the dense one, task {result['task']}: "
        f"{_pairs(found)}, seed {found['seed']}",
        f"the whole site exchanged: {_shown(found['whole'])}; the node exchanged in the sparse "
        f"model itself: {_shown(found['sparse_before'])} before, {_shown(found['sparse_after'])} "
        "after",
    ]


def _pairs(found: dict[str, Any]) -> str:
    """How many pairs, and in how many of them tokens are counted from the end."""
    aligned = f" ({found['unlike']} aligned from their last tokens)" * bool(found["unlike"])
    return f"{found['pairs']} pairs{aligned}"


def _handles(found: dict[str, Any]) -> list[Any]:
    """Every node at the strength that was chosen for it."""
    rows = [
        [
            one["node"],
            f"{one['strength']:g}",
            _shown(one["after"]),
            f"{one['random']['value']:.3f}",
            _shown(one["more"]),
        ]
        for one in found["handles"][:SHOWN]
    ]
    columns = ["node", ">strength", ">partner's answer [95 %]", ">random", ">more than random"]
    more = len(found["handles"]) - len(rows)
    spreads = [
        f"{name} {middle:.3f} ({low:.3f} to {high:.3f})"
        for name in ("before", "after", "random")
        for low, middle, high in [found[name]]
    ]
    return [
        Table(columns, rows),
        *([f"and {more:,} more"] if more > 0 else []),
        f"partner's answer, median (quartiles) over nodes and {_pairs(found)}: "
        f"{', '.join(spreads)}; strengths chosen on {found['validation_pairs']} validation pairs",
    ]


def _nodes(result: dict[str, Any]) -> list[Any]:
    moved, found = result["transfer"], result["survey"]
    tests = []
    for name, limit in zip(("sufficient", "necessary"), moved["thresholds"], strict=True):
        one = moved[name]
        tests.append(
            [
                name,
                "yes" if one["verdict"] else "no",
                _shown(one["loss"]),
                f"{'<=' if name == 'sufficient' else '>='} {limit:.3f}",
                f"{one['random']['value']:.3f}",
                f"{one['others']['value']:.3f}",
                _shown(one["margin_random"]),
                _shown(one["margin_others"]),
            ]
        )
    heads = ["in the dense model", "", ">task loss [95 %]", ">asked", ">random", ">other nodes"]
    heads += [">better than random", ">than other nodes"]
    spans = ", ".join(f"{size} at {key}" for key, size in moved["directions"].items())
    return [
        *(_handles(found) if found else [f"no node by itself: {result['reason']}"]),
        Table(heads, tests),
        f"{result['task']}: {moved['nodes']} nodes cross a bridge, {moved['left_out']} do not; "
        f"dimensions: {spans}; the dense model as it is {_shown(moved['full'])}; "
        f"{moved['pairs']} pairs, {moved['draws']} draws, seed {moved['seed']}",
    ]


def _shown(figure: dict[str, Any]) -> str:
    """A number with its interval."""
    low, high = figure["interval"]
    return f"{figure['value']:.3f} [{low:.3f}, {high:.3f}]"
