"""Find, judge and ship a model's circuits: resumable, in the middle of each of them too.

    python recipes/circuits.py --model builtin:sparse [--tasks NAME ...] --output runs/circuits
    python recipes/circuits.py --model builtin:sparse --output runs/circuits --ship

Of every task that the model has learned, and its twin where it has one (under 0.15 nats on test
prompts; --alone asks the model only), three circuits: the plain one, the minimal one, of which no
node and no edge can go, and the robust one. Each goes through the whole suite of `lacewing verify`.
A cell that fails says why, and is not tried again until its file is deleted; cells that are not
done yet are printed as such, and the same command goes on with them.

OUTPUT/learned.json has the losses that decided, OUTPUT/TASK/KIND the circuits with their verdicts,
OUTPUT/TASK/KIND.json what came of each, OUTPUT/searches the searches of other seeds and of
controls, which the suites of a task's plain and minimal circuit share. --ship writes those that are
done, packed, into src/lacewing/circuits/MODEL/TASK/KIND, where `builtin:MODEL/TASK[/KIND]` names
them.
"""

import dataclasses
import shlex
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import tyro

from lacewing import artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import CONSTRAINTS, PruneConfig
from lacewing.circuit.prompts import prompt_sets
from lacewing.circuit.shipped import KINDS
from lacewing.errors import DataError
from lacewing.kernels.memory import keep_pages
from lacewing.model.shipped import BUILTIN
from lacewing.model.store import Model, load
from lacewing.progress import for_at_most
from lacewing.pruning.prune import prune
from lacewing.report.commands import of_circuit
from lacewing.tasks.registry import get, names
from lacewing.tasks.scoring import evaluate
from lacewing.verification.suite import parts_without
from lacewing.verification.verify import Verification, saved_verification, verify

TWINS = {"builtin:sparse": "builtin:dense", "builtin:taught-sparse": "builtin:taught-dense"}
"""Models whose tasks have to be learned by another too."""
ROBUST: dict[tuple[str, str], dict[str, Any]] = {
    ("builtin:taught-tiny", "indent_for"): {"prompts": 3072},
    ("builtin:taught-tiny", "while_return_true"): {"constraints": CONSTRAINTS},
}
"""What a robust search does otherwise than by default, by model and task (docs/verify.md)."""
SHIPPED = Path(__file__).parents[1] / "src" / "lacewing" / "circuits"


@dataclass(frozen=True)
class Recipe:
    """A model's circuits."""

    model: str
    """A builtin model, or a run."""
    output: Path
    """Where everything is kept on the way."""
    tasks: tuple[str, ...] = ()
    """Only these; by default every task of the paper that has been learned."""
    alone: bool = False
    """Also tasks that the twin has not learned."""
    kinds: tuple[str, ...] = KINDS
    """Only these kinds of circuits."""
    search: PruneConfig = field(default_factory=PruneConfig)
    """How all of them are searched for."""
    corpus: str | None = None
    """Where prompts and text come from; by default the standard library, or a taught model's
    own."""
    skip: tuple[str, ...] = ()
    """Parts of the suite to leave out for now; run without it later, and they are added."""
    threads: int = 1
    """Threads."""
    stop_after: int = 0
    """Seconds after which it ends with exit status 75, to go on later; 0: never."""
    ship: bool = False
    """Write what is done into the package, and nothing else."""


def corpus_of(given: Recipe, model: Model) -> str:
    """Where prompts and text come from."""
    taught = model.corpus.startswith("taught:")
    return given.corpus or (model.corpus if taught else "code:standard_library")


@dataclass(frozen=True)
class Cell:
    """One circuit to find."""

    task: str
    kind: str
    config: PruneConfig
    folder: Path

    @property
    def file(self) -> Path:
        """What came of it."""
        return self.folder.with_name(f"{self.kind}.json")


def learned(given: Recipe, model: Model) -> list[str]:
    """Tasks that the model, and its twin, have learned; losses are measured once and kept."""
    path = given.output / "learned.json"
    twin = None if given.alone else TWINS.get(given.model)
    sources = [given.model, *([twin] if twin else [])]
    kept = artifacts.read_json(path) if path.exists() else {}
    wanted, text = given.tasks or names(), corpus_of(given, model)
    for source in sources:
        one, rows = model if source == given.model else load(source), kept.setdefault(source, {})
        if rows.setdefault("id", one.id) != one.id:
            raise SystemExit(f"{path} is of another {source}: choose another --output")
        for name in (name for name in wanted if name not in rows):
            try:
                test = prompt_sets(one, get(name), given.search, text).test
            except DataError as error:
                rows[name] = {"learned": False, "error": str(error)}
            else:
                rows[name] = dataclasses.asdict(evaluate(one, test))
            artifacts.write_json(path, kept)
    return [name for name in wanted if all(kept[source][name]["learned"] for source in sources)]


def cells(given: Recipe, tasks: Sequence[str]) -> list[Cell]:
    """Everything to find: first all plain circuits, so that something is there early."""
    made = []
    for kind in given.kinds:
        for task in tasks:
            changes: dict[str, Any] = {"minimal": True} if kind == "minimal" else {}
            if kind == "robust":
                changes = {"robust": True, **ROBUST.get((given.model, task), {})}
            config = dataclasses.replace(given.search, **changes)
            made.append(Cell(task, kind, config, given.output / task / kind))
    return made


def found(cell: Cell, model: Model, text: str) -> Circuit | None:
    """The circuit of a cell; None, with the reason in its file, where there is none."""
    if cell.folder.exists():
        circuit = Circuit.load(cell.folder)
        circuit.check(model)
        old, new = circuit.config.as_json(), cell.config.as_json()
        artifacts.check_same(cell.folder, "a circuit", old, new)
        return circuit
    state = artifacts.unfinished(cell.folder)
    try:
        circuit = prune(model, cell.task, cell.config, corpus=text, state=state)
    except DataError as error:
        artifacts.write_json(cell.file, {"error": str(error), "config": cell.config.as_json()})
        return None
    circuit.save(cell.folder)
    shutil.rmtree(state)
    return circuit


def judged(given: Recipe, cell: Cell, model: Model, circuit: Circuit, text: str) -> None:
    """Run the suite on a circuit, and write down what came of the cell."""
    skip = given.skip
    asked = {"parts": parts_without(skip), "searches": given.output / "searches"}
    try:
        proof = verify(model, circuit, corpus=text, folder=cell.folder, **asked)
    except DataError as error:
        row = sizes(model, circuit) | {"skipped": list(skip), "unjudged": str(error)}
        artifacts.write_json(cell.file, row)
        return
    proof.save(cell.folder)
    row = facts(cell, model, circuit, proof) | {"skipped": list(skip)}
    if skip:
        row["commands"][-1] += f" --skip {' '.join(skip)}"
    if text != model.corpus:
        row["commands"] = [f"{line} --corpus {shlex.quote(text)}" for line in row["commands"]]
    artifacts.write_json(cell.file, row)


def sizes(model: Model, circuit: Circuit) -> dict[str, Any]:
    """What a cell's row says of the circuit itself."""
    return {
        "model": model.id,
        "nodes": circuit.n_nodes,
        "edges": circuit.n_edges,
        "losses": dict(circuit.losses),
        "minimal": circuit.certificate.minimal if circuit.certificate else None,
    }


def facts(cell: Cell, model: Model, circuit: Circuit, proof: Verification) -> dict[str, Any]:
    """A cell's row, with the commands that make it elsewhere."""
    said = {"folder": f"{cell.task}-{cell.kind}", "task": cell.task, "edited_from": None}
    said |= {"config": cell.config.as_json(), "verification": proof.as_json()}
    return sizes(model, circuit) | {
        "verdict": proof.verdict,
        "tests": {test.name: test.passed for test in proof.tests},
        "left_out": [left.name for left in proof.left_out],
        "seconds": {"search": circuit.seconds, "suite": sum((proof.seconds or {}).values())},
        "commands": list(of_circuit(model.source, said)),
    }


def done(cell: Cell, skip: Sequence[str] | None = None) -> dict[str, Any] | None:
    """What came of a cell, if it is done; with `skip`, as far as that asks."""
    if not cell.file.exists():
        return None
    row: dict[str, Any] = artifacts.read_json(cell.file)
    if skip is not None and "error" not in row and set(row["skipped"]) - set(skip):
        return None
    return row


def table(every: Sequence[Cell]) -> str:
    """What came of every cell; those that are not done say so."""
    lines = [
        "| task | kind | nodes / edges | test loss | suite |",
        "| --- | --- | --- | --- | --- |",
    ]
    for cell in sorted(every, key=lambda one: (one.task, KINDS.index(one.kind))):
        row = done(cell)
        if row is None:
            begun = cell.folder.exists() or artifacts.unfinished(cell.folder).exists()
            said = ["-", "-", "NOT DONE, begun" if begun else "NOT DONE"]
        elif "error" in row:
            said = ["-", "-", f"no circuit: {row['error']}"]
        else:
            skipped = f" (left out: {', '.join(row['skipped'])})" if row["skipped"] else ""
            loss = f"{row['losses']['circuit']:.3f}"
            came = f"not judged: {row['unjudged']}" if "unjudged" in row else row["verdict"]
            said = [f"{row['nodes']} / {row['edges']:,}", loss, came + skipped]
        lines.append(f"| {cell.task} | {cell.kind} | {' | '.join(said)} |")
    open_ = sum(done(cell) is None for cell in every)
    return "\n".join([*lines, f"\n{open_} of {len(every)} cells are not done."])


def shipped(given: Recipe, every: Sequence[Cell]) -> str:
    """Write what is done into the package; sizes in a line."""
    name, size, count = given.model.removeprefix(BUILTIN), 0, 0
    for cell in every:
        proof = saved_verification(cell.folder) if cell.folder.exists() else None
        if done(cell) is None or proof is None:
            continue
        place = SHIPPED / name / cell.task / cell.kind
        Circuit.load(cell.folder).save(place, replace=True, pack=True)
        proof.save(place)
        size += sum(file.stat().st_size for file in place.iterdir())
        count += 1
    return f"{count} circuits in {SHIPPED / name}, {size:,} bytes; {len(every) - count} not done"


def main(given: Recipe) -> None:
    """Find and judge what is not done yet, and print the table."""
    keep_pages()
    torch.set_num_threads(given.threads)
    if given.ship and not given.model.startswith(BUILTIN):
        raise SystemExit("only circuits of builtin models ship: --model builtin:NAME")
    every: list[Cell] = []
    try:
        with for_at_most(given.stop_after):
            model = load(given.model)
            text = corpus_of(given, model)
            every = cells(given, learned(given, model))
            if given.ship:
                print(shipped(given, every))
                return
            for number, cell in enumerate(every, 1):
                if done(cell, given.skip) is None:
                    began = time.monotonic()
                    circuit = found(cell, model, text)
                    if circuit is not None:
                        judged(given, cell, model, circuit, text)
                    spent = f"{time.monotonic() - began:.0f} s"
                    print(f"{number} of {len(every)}: {cell.task} {cell.kind}, {spent}", flush=True)
    finally:
        if every and not given.ship:
            print(table(every))


if __name__ == "__main__":
    main(tyro.cli(Recipe))
