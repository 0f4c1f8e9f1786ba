"""Make an audit: measure, write down, sign where asked to."""

import dataclasses
import datetime
import json
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lacewing import __version__, artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.folder import seen_from
from lacewing.circuit.shipped import folder_of, is_shipped, name_of
from lacewing.errors import ArtifactError, ConfigError, DataError
from lacewing.model.store import Model
from lacewing.pages.names import safe_name
from lacewing.report.commands import line, of_circuit
from lacewing.verification.random_circuits import RANDOM_CIRCUITS
from lacewing.verification.short import ShortTest, Test, short_test
from lacewing.verification.suite import LEFT_OUT
from lacewing.verification.verify import Verification, saved_verification, test_prompts
from lacewing.watch.audit.card import card
from lacewing.watch.audit.files import of_circuit as files_of_circuit
from lacewing.watch.audit.files import of_model, summed
from lacewing.watch.audit.limits import limits
from lacewing.watch.audit.measure import TOLERANCES, pair_losses, processor
from lacewing.watch.audit.page import page, wording
from lacewing.watch.audit.points import points
from lacewing.watch.audit.schema import (
    AUDIT,
    FORMAT,
    KIND,
    PAGE,
    SIGNATURE,
    STATEMENT,
    Audit,
    Audited,
    Finding,
    LeftOut,
    Random,
    Suite,
    Tested,
)
from lacewing.watch.audit.sign import sign
from lacewing.watch.audit.statement import statement


@dataclasses.dataclass(frozen=True)
class Asked:
    """What whoever makes an audit says, beside the model and the circuits."""

    seed: int = 0
    """Seeds intervals and random circuits."""
    random_circuits: int = RANDOM_CIRCUITS
    purpose: str | None = None
    """What the model is for."""
    provider: str | None = None
    licence: str | None = None
    """The model's, where the audit cannot know it."""
    commands: tuple[str, ...] = ()
    """The command that makes the audit; those that made the circuits are known."""
    quiet: bool = False


def audit(
    model: Model,
    circuits: Sequence[tuple[Path, Circuit]],
    output: Path,
    asked: Asked | None = None,
    key: Path | None = None,
) -> Audit:
    """Measure circuits of a model, and write the audit's folder.

    Args:
        model: The model, as it was loaded from its files.
        circuits: Its circuits, with their folders, or the names of those that ship.
        output: The folder; must not exist.
        asked: What else it says.
        key: A private key to sign it with.

    Returns:
        What audit.json says.

    Raises:
        ConfigError: no circuit, the folder exists, or the key cannot sign.
        DataError: two circuits have one folder, or a circuit has no test pairs.
        MismatchError: a circuit is of another model.
    """
    asked = asked or Asked()
    circuits = [(folder_of(folder), circuit) for folder, circuit in circuits]
    _check(circuits, output)
    for _, circuit in circuits:
        circuit.check(model)
    names = _names([folder for folder, _ in circuits])
    commands = [
        command for folder, circuit in circuits for command in _commands(model, folder, circuit)
    ]
    facts = Audit(
        format=FORMAT,
        lacewing=__version__,
        wording=wording(),
        made=datetime.datetime.now(datetime.UTC).date().isoformat(),
        purpose=asked.purpose,
        provider=asked.provider,
        seed=asked.seed,
        model=card(model, output, asked.licence, summed(of_model(model.source))),
        circuits=tuple(
            _audited(model, circuit, folder, name, output, asked)
            for name, (folder, circuit) in zip(names, circuits, strict=True)
        ),
        processor=processor(),
        tolerances=TOLERANCES,
        commands=(*commands, *asked.commands),
    )
    made = derived(facts)
    write(made, output, key)
    return made


def derived(facts: Audit) -> Audit:
    """The same with the limits and points that follow from its facts."""
    return dataclasses.replace(facts, limits=limits(facts), points=points(facts))


def contents(made: Audit) -> dict[str, bytes]:
    """The files of an audit, but for signature and manifest."""
    plain = (json.dumps(dataclasses.asdict(made), indent=1) + "\n").encode()
    return {AUDIT: plain, STATEMENT: statement(made, plain), PAGE: artifacts.utf8(page(made))}


def write(made: Audit, output: Path, key: Path | None = None) -> None:
    """Write the folder, signed where there is a key.

    Raises:
        ArtifactError: it exists, or cannot be written; a number is not finite.
        ConfigError: the key cannot sign.
    """
    files = contents(made)
    if artifacts.parse(files[AUDIT], Audit, output / AUDIT) != made:  # nobody could check it
        raise ArtifactError(f"{output / AUDIT} would not be read as it was meant; nothing written")
    if key is not None:
        with tempfile.TemporaryDirectory() as place:
            for name, content in files.items():
                artifacts.write_bytes(Path(place) / name, content)
            files[SIGNATURE] = sign(Path(place), key)
    artifacts.write_folder(output, KIND, files=files)


def command(model: str, circuits: Sequence[Path], output: Path, **flags: Any) -> str:
    """The command that makes an audit."""
    given = {name: value for name, value in flags.items() if value}
    rest = line("audit", circuits=list(circuits), output=output, **given)
    return rest.replace("audit", f"audit {shlex.quote(model)}", 1)


def _check(circuits: Sequence[tuple[Path, Circuit]], output: Path) -> None:
    if not circuits:
        raise ConfigError("no circuit: name their folders with --circuits")
    artifacts.check_free(output)
    places = [artifacts.real(folder) for folder, _ in circuits]
    for folder in places:
        if places.count(folder) > 1:
            raise DataError(f"{folder} is named twice: each circuit once")


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, made safe, each with a number where another has it too."""
    plain = [safe_name(_called(folder)) for folder in folders]
    return [
        name if plain.count(name) == 1 else f"{name}-{number}"
        for number, name in enumerate(plain, 1)
    ]


def _called(folder: Path) -> str:
    """A folder's own name; of a circuit that ships, its task and kind."""
    if not is_shipped(folder):
        return artifacts.real(folder).name
    return "-".join(name_of(folder).split("/")[1:])


def _source(output: Path, folder: Path) -> str:
    """Where a check finds the circuit: every lacewing has those that ship."""
    return name_of(folder) if is_shipped(folder) else seen_from(output, str(folder))


def _commands(model: Model, folder: Path, circuit: Circuit) -> list[str]:
    """The pruning of a circuit and its verification, with the parts that were left out."""
    found = saved_verification(folder)
    reported = {
        "folder": _called(folder) if is_shipped(folder) else str(folder),
        "task": circuit.task,
        "config": circuit.config.as_json(),
        "edited_from": circuit.edited_from,
        "verification": found.as_json() if found else None,
    }
    made = list(of_circuit(model.source, reported))
    skipped = [left.name for left in found.left_out if left.reason == LEFT_OUT] if found else []
    if skipped:
        made[-1] += " --skip " + shlex.join(skipped)
    return made


def _audited(
    model: Model, circuit: Circuit, folder: Path, name: str, output: Path, asked: Asked
) -> Audited:
    """One circuit, measured."""
    prompts = test_prompts(model, circuit)
    found = short_test(
        model,
        circuit,
        prompts,
        seed=asked.seed,
        random_circuits=asked.random_circuits,
        quiet=asked.quiet,
    )
    return Audited(
        name=name,
        source=_source(output, folder),
        task=circuit.task,
        ablation=circuit.ablation,
        nodes=circuit.n_nodes,
        edges=circuit.n_edges,
        target_loss=circuit.target_loss,
        search_seed=circuit.seed,
        pairs=len(prompts),
        **of_short_test(found),
        losses=pair_losses(model, circuit, prompts),
        suite=suite_of(folder, circuit),
        files=summed(files_of_circuit(folder)),
    )


def of_short_test(found: ShortTest) -> dict[str, Any]:
    """What an audit says of a short test."""
    return {
        "full": found.full,
        "full_interval": found.full_interval,
        "sufficient": _tested(found.sufficient, at_most=True),
        "necessary": _tested(found.necessary, at_most=False),
    }


def _tested(test: Test, *, at_most: bool) -> Tested:
    assert test.margin is not None
    control = test.random
    return Tested(
        verdict=test.verdict,
        loss=test.loss,
        interval=test.interval,
        threshold=test.threshold,
        at_most=at_most,
        random=Random(control.count, control.mean, control.lowest, control.highest),
        margin=test.margin,
    )


def suite_of(folder: Path, circuit: Circuit) -> Suite | None:
    """The suite as it was saved of this very circuit; none where it was not run."""
    found = saved_verification(folder)
    if found is None or not found.whole or not _same(found, circuit):
        return None
    plain = found.as_json()
    rows = [{**row, "threshold": _finite(row["threshold"])} for row in plain["tests"]]
    return Suite(
        verdict=found.verdict,
        seed=found.short.seed,
        tests=tuple(Finding(**row) for row in rows),
        left_out=tuple(LeftOut(**row) for row in plain["left_out"]),
    )


def _same(found: Verification, circuit: Circuit) -> bool:
    return (found.task, found.short.model_id, found.pairs) == (
        circuit.task,
        circuit.model_id,
        len(circuit.pairs),
    )


def _finite(value: float | None) -> float | None:
    return value if value is None or abs(value) < float("inf") else None
