"""Find every cell of the comparison: prune, verify, keep.

A finished cell is OUTPUT/cells/FORM-TASK-SEED.json; one that is half done goes on where it was:
circuit, pruning on its way and each part of the suite have their own places. What is not done yet
is told as unfinished.
"""

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.bridges.folder import Coupling
from lacewing.bridges.transfer import Transfer, transfer
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.prompts import prompt_sets
from lacewing.errors import ConfigError, DataError
from lacewing.model.store import Model, same_model
from lacewing.pages.names import safe_name
from lacewing.partners.cells import FORMS, Cell, Form, How, Partners
from lacewing.partners.forms import Models
from lacewing.progress import say
from lacewing.pruning.prune import prune
from lacewing.sae.splice import SplicedNetwork
from lacewing.tasks.registry import get
from lacewing.verification.suite import parts_without
from lacewing.verification.verify import (
    Verification,
    saved_verification,
    test_prompts,
    verify,
)

ORDER: tuple[Form, ...] = ("sparse", "dense", "latents", "bridged")
"""In which cells are found: the bridged one looks at the circuit of the sparse one."""
CELLS = "cells"


def partners(
    sparse: Model,
    dense: Model,
    tasks: Sequence[str],
    output: str | Path,
    how: How | None = None,
    *,
    latents: Path | None = None,
    coupling: Coupling | None = None,
    seeds: Sequence[int] = (0,),
    minutes: float | None = None,
) -> Partners:
    """Find every cell that is not there yet, and tell all.

    Args:
        sparse: The weight-sparse model.
        dense: The dense one.
        tasks: Names or files of tasks.
        output: Folder for cells, circuits and partners.json.
        how: What cells are made with.
        latents: Folder of the dense model's autoencoders; without it that form is left out.
        coupling: Bridges from the dense model; without them that form is left out.
        seeds: One pruning per seed.
        minutes: After so many no further cell is begun; 0 only tells what is there.

    Raises:
        DataError: an unknown task.
        ConfigError: `output` holds cells that were made otherwise.
        MismatchError: autoencoders or bridges are of another model.

    Example:
        >>> partners(sparse, dense, ["if_equals"], "out", latents=Path("sae"))  # doctest: +SKIP
    """
    how, output, begun = how or How(), Path(output), time.monotonic()
    how = replace(how, corpus=how.corpus or sparse.corpus)
    chosen = {get(name).name: name for name in tasks}
    parts_without(how.skip)  # a slip is told before anything is done
    models = Models(sparse, dense, latents, coupling, output, how.corpus, quiet=how.quiet)
    cells = []
    for task, form, seed in _order(chosen, models.forms, seeds):
        place = _Place(output, form, task, seed, chosen[task], how)
        cell = place.kept(models)
        late = minutes is not None and time.monotonic() - begun >= 60 * minutes
        if cell is None and not late:
            cell = place.find(models)
            told = f"{cell.nodes} nodes, {cell.verdict}" if cell.state == "found" else cell.reason
            say(f"{FORMS[form]}, {task}, seed {seed}: {told}", not how.quiet)
        cells.append(cell or Cell(form, task, seed, "unfinished"))
    sources = {form: models.source(form) for form in models.forms}
    result = Partners(sources, how.config.chosen_at, (*chosen,), tuple(seeds), cells)
    artifacts.write_json(output / "partners.json", result.as_json())
    return result


def _order(
    tasks: Mapping[str, str], forms: Sequence[Form], seeds: Sequence[int]
) -> Iterator[tuple[str, Form, int]]:
    """Task by task, so that whole rows are done first."""
    wanted = [form for form in ORDER if form in forms]
    return ((task, form, seed) for task in tasks for seed in seeds for form in wanted)


@dataclass(frozen=True)
class _Place:
    """Where one cell is, and how it is made."""

    output: Path
    form: Form
    task: str
    seed: int
    given: str
    """The task as it was named: its name or a file."""
    how: How

    @property
    def file(self) -> Path:
        """The finished cell."""
        name = f"{self.form}-{safe_name(self.task)}-{self.seed}.json"
        return artifacts.own(self.output, f"{CELLS}/{name}")

    def folder(self, form: Form) -> Path:
        """The circuit of a form."""
        return artifacts.own(self.output, f"{form}/{safe_name(self.task)}-{self.seed}")

    def asked(self, models: Models) -> dict[str, Any]:
        """What the cell depends on."""
        how = self.how
        config = replace(how.config, seed=self.seed).as_json()
        made = {"corpus": how.corpus, "quick": how.quick, "skip": sorted(how.skip)}
        if self.form == "bridged":
            made["weight-sparse model"] = models.id("sparse")
        return {"model": models.id(self.form), "task": self.task, **config, **made}

    def kept(self, models: Models) -> Cell | None:
        """The finished cell, where there is one.

        Raises:
            ConfigError: it was made otherwise, or before cells said what is lost without a circuit.
            ArtifactError: it cannot be read.
        """
        file = self.file
        if not os.path.lexists(file):  # a link that leads nowhere is no missing cell
            return None
        whole = artifacts.read_summed(file)
        artifacts.check_same(file, "a cell", whole.get("asked", {}), self.asked(models))
        cell = artifacts.typed(whole.get("cell"), Cell, self.file)
        if cell.state == "found" and cell.without is None:
            raise ConfigError(
                f"{file} was made by an earlier lacewing, which searched latents in another way "
                "and kept no loss without the circuit: choose another --output; nothing was written"
            )
        return self._with_controls(cell)

    def _with_controls(self, cell: Cell) -> Cell:
        """A cell of before with what its verification says of random nodes."""
        if cell.state != "found" or cell.removed is not None:
            return cell
        proof = saved_verification(artifacts.own(self.output, cell.folder))
        return (
            cell if proof is None else replace(cell, removed=_removed(proof), alone=_alone(proof))
        )

    def find(self, models: Models) -> Cell:
        """Prune and verify, and keep what came out."""
        begun = time.monotonic()
        try:
            cell = self._measured(models)
        except DataError as error:  # such as: the model has not learned the task
            cell = Cell(self.form, self.task, self.seed, "none", reason=str(error))
        cell = replace(cell, seconds=round(time.monotonic() - begun, 1))
        self.file.parent.mkdir(parents=True, exist_ok=True)
        whole = {"asked": self.asked(models), "cell": asdict(cell)}
        artifacts.write_summed(self.file, whole)
        found = self.kept(models)
        assert found is not None
        return found

    def _measured(self, models: Models) -> Cell:
        model, folder = models.of(self.form), self.folder(self.form)
        circuit = self._circuit(model, folder)
        how = self.how
        proof = verify(
            model,
            circuit,
            quick=how.quick,
            corpus=how.corpus,
            task=None if self.given == self.task else self.given,
            folder=folder,
            parts=parts_without(how.skip),
            quiet=how.quiet,
        )
        proof.save(folder)
        latents = model.network.counts if isinstance(model.network, SplicedNetwork) else {}
        nodes = circuit.nodes
        errors = sum(int((nodes[key] >= count).sum()) for key, count in latents.items())
        return Cell(
            form=self.form,
            task=self.task,
            seed=self.seed,
            state="found",
            nodes=circuit.n_nodes,
            errors=errors,
            shared=sum(len(nodes[key]) for key in models.shared()),
            edges=None if latents else circuit.n_edges,
            loss=proof.sufficient.loss,
            interval=proof.sufficient.interval,
            without=proof.necessary.loss,
            without_interval=proof.necessary.interval,
            removed=_removed(proof),
            alone=_alone(proof),
            full=proof.full,
            pairs=proof.pairs,
            verdict=proof.verdict,
            tests=_tests(proof),
            left_out={left.name: left.reason for left in proof.left_out},
            decoded=self._decoded(models) if self.form == "bridged" else None,
            folder=folder.relative_to(self.output).as_posix(),
        )

    def _circuit(self, model: Model, folder: Path) -> Circuit:
        """The circuit, from an earlier call or found now."""
        config = replace(self.how.config, seed=self.seed)
        if folder.exists():
            circuit = Circuit.load(folder)
            circuit.check(model)
            artifacts.check_same(folder, "a circuit", circuit.config.as_json(), config.as_json())
            return circuit
        state = artifacts.unfinished(folder)
        sets = prompt_sets(model, get(self.given), config, self.how.corpus)
        circuit = prune(
            model, get(self.given), config, sets=sets, state=state, quiet=self.how.quiet
        )
        circuit.save(folder)
        shutil.rmtree(state, ignore_errors=True)
        return circuit

    def _decoded(self, models: Models) -> Transfer | str | None:
        """What the bridge makes of the weight-sparse circuit; none where there is no such."""
        coupling, folder = models.coupling, self.folder("sparse")
        if coupling is None or not folder.exists():
            return None
        if not same_model(coupling.sparse.id, models.id("sparse")):
            return None
        circuit = Circuit.load(folder)
        circuit.check(coupling.sparse)
        prompts = test_prompts(coupling.dense, circuit)
        try:
            return transfer(coupling, circuit.nodes, self.task, prompts, quiet=self.how.quiet)
        except DataError as error:  # no node crosses a bridge
            return str(error)


def _removed(proof: Verification) -> tuple[float, float]:
    """What is lost without random nodes, as many at every site: the mean, and the most."""
    return proof.necessary.random.mean, proof.necessary.random.highest


def _alone(proof: Verification) -> tuple[float, float]:
    """What is lost with as many random nodes alone: the mean, and the least."""
    return proof.sufficient.random.mean, proof.sufficient.random.lowest


def _tests(proof: Verification) -> dict[str, bool | None]:
    """Every test by name, and whether it passed."""
    if proof.whole:
        return {test.name: test.passed for test in proof.tests}
    return {"sufficient": proof.sufficient.verdict, "necessary": proof.necessary.verdict}
