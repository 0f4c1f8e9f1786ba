"""Check an audit: nothing has changed, and it says the truth as far as can be measured again.

    the folder     its files are those of its manifest, byte by byte, and no others are there
    signature      where a public key is given
    what follows   statement, page, limits and points are those that its facts give
    the files      of the model and of the circuits have the sums that were audited
    the circuits   are of the model, and say what the audit says of them
    the numbers    means, intervals and verdicts follow from the losses of the pairs
    measurements   pairs that nobody knew before have the losses that the audit says, and no random
                   circuit of some that nobody knew before is nearer than the audit says

The first thing that differs ends it.
"""

import dataclasses
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lacewing import artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.folder import source_in
from lacewing.circuit.shipped import folder_of
from lacewing.errors import ArtifactError, ConfigError, LacewingError, MismatchError
from lacewing.model.store import Model, load
from lacewing.verification.random_circuits import margin, random_nodes
from lacewing.verification.short import short_test
from lacewing.verification.verify import test_prompts
from lacewing.watch.audit import sign
from lacewing.watch.audit.build import contents, derived, of_short_test
from lacewing.watch.audit.card import card
from lacewing.watch.audit.files import differing, of_circuit, of_model
from lacewing.watch.audit.measure import (
    control_losses,
    furthest,
    processor,
    sampled,
    tolerance,
)
from lacewing.watch.audit.numbers import numbers_follow, same_facts
from lacewing.watch.audit.page import wording
from lacewing.watch.audit.schema import (
    AUDIT,
    KIND,
    PAGE,
    SIGNATURE,
    STATEMENT,
    Audit,
    Audited,
    Tested,
)

SAMPLE = 32
"""Pairs of each circuit that are measured again."""
CONTROLS = 2
"""Random circuits of each that are measured again."""
FILES = {AUDIT, PAGE, STATEMENT}
NOT_SIGNED = (
    "not signed: an audit that was rewritten as a whole, model and circuits with it, cannot be told"
)
NO_KEY = "signed, and not checked against a key: give the signer's with --key"
OTHER_WORDS = (
    "made with other words than this lacewing's: page, statement, limits and points were compared "
    "by their sums alone"
)


@dataclass(frozen=True)
class Checked:
    """What a check found."""

    audit: str
    fine: bool
    differs: str | None
    """What does, in one line."""
    signed: bool = False
    """Whether the signature was checked with the key that was given."""
    files: int = 0
    """Files compared, the audit's own among them."""
    pairs: int = 0
    """Pairs measured again."""
    furthest: float = 0.0
    """The largest difference of a loss, nats."""
    tolerance: float = 0.0
    seed: int = 0
    """What drew the pairs."""
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class How:
    """How an audit is checked."""

    key: Path | None = None
    """The signer's public key."""
    model: str | None = None
    """Where the model is now, if it was moved."""
    circuits: tuple[Path, ...] = ()
    """Where the circuits are now, all of them in the audit's order."""
    sample: int = SAMPLE
    """Pairs of each circuit that are measured again."""
    seed: int | None = None
    """Draws them; by default nobody knows it before."""
    whole: bool = False
    """Measure everything again, random circuits too."""
    quiet: bool = False


def check(folder: Path, how: How | None = None) -> Checked:
    """Check an audit's folder, the model and the circuits.

    Raises:
        ArtifactError: there is no such folder.
        ConfigError: the key cannot be used, or another number of circuits was named.
    """
    how = how or How()
    if not folder.is_dir():
        raise ArtifactError(f"no audit at {folder}: there is no such folder")
    seed = secrets.randbelow(2**32) if how.seed is None else how.seed
    try:
        return _checked(folder, dataclasses.replace(how, seed=seed), seed)
    except ConfigError:
        raise
    except LacewingError as error:
        return Checked(str(folder), False, " ".join(str(error).split()), seed=seed)


def _checked(folder: Path, how: How, seed: int) -> Checked:
    names = _own_files(folder)
    notes = []
    if how.key is not None:
        if SIGNATURE not in names:
            raise ArtifactError(f"{folder} is not signed, and --key asks for a signature")
        sign.verify(folder, how.key)
    else:
        notes.append(NO_KEY if SIGNATURE in names else NOT_SIGNED)
    audit = artifacts.read(folder / AUDIT, Audit)
    notes += _follows(folder, audit)
    source = how.model or source_in(folder, audit.model.source)
    if how.circuits and len(how.circuits) != len(audit.circuits):
        raise ConfigError(
            f"--circuits names {len(how.circuits)} folders, the audit has {len(audit.circuits)} "
            "circuits: name all, in its order, or none"
        )
    named = how.circuits or [source_in(folder, circuit.source) for circuit in audit.circuits]
    places = [folder_of(name) for name in named]
    _same_files(source, places, audit)
    here = processor()
    allowed = tolerance(audit.processor, here, audit.tolerances)
    model = load(source)
    if model.id != audit.model.id:
        raise MismatchError(f"{source} is model {model.id}, in the audit {audit.model.id}")
    _same_card(model, folder, audit)
    worst, pairs = 0.0, 0
    for audited, place in zip(audit.circuits, places, strict=True):
        circuit = Circuit.load(place)
        circuit.check(model)
        same_facts(circuit, place, audited)
        numbers_follow(audited, audit.seed)
        far, count = _again(model, circuit, audited, how, seed, allowed)
        worst, pairs = max(worst, far), pairs + count
        if how.whole:
            _controls_again(model, circuit, audited, audit.seed, allowed, how.quiet)
        else:
            _some_controls(model, circuit, audited, (audit.seed, seed), allowed)
    return Checked(
        audit=str(folder),
        fine=True,
        differs=None,
        signed=how.key is not None,
        files=len(names) + 1 + len(audit.model.files) + sum(len(c.files) for c in audit.circuits),
        pairs=pairs,
        furthest=worst,
        tolerance=allowed,
        seed=seed,
        notes=tuple(notes),
    )


def _own_files(folder: Path) -> set[str]:
    """The files of the folder, after every byte of them was compared."""
    whole = artifacts.open_folder(folder, KIND)
    names = set(whole.manifest.files)
    if names - {SIGNATURE} != FILES:
        odd = sorted((names - {SIGNATURE}) ^ FILES)[0]
        raise ArtifactError(f"{folder / artifacts.MANIFEST}: {odd} is no file of an audit, or one")
    there = {path.name for path in folder.iterdir()}
    if odd_ones := sorted(there - names - {artifacts.MANIFEST}):
        raise ArtifactError(f"{folder / odd_ones[0]} is no file of the audit")
    for name in names:
        whole.bytes(name)
    # The manifest's own sum is over its values; this is over its bytes.
    content = artifacts.read_bytes(folder / artifacts.MANIFEST, artifacts.LARGEST)
    plain = artifacts.parse_json(content, folder / artifacts.MANIFEST)
    if (json.dumps(plain, indent=1) + "\n").encode() != content or artifacts.SUM not in plain:
        raise ArtifactError(
            f"{folder / artifacts.MANIFEST} is not as it was written: damaged or edited"
        )
    return names


def _follows(folder: Path, audit: Audit) -> list[str]:
    """Compare what follows from the facts; what could not be compared."""
    same_words = audit.wording == wording()
    made = derived(audit) if same_words else audit
    if made != audit:
        raise ArtifactError(f"{folder / AUDIT}: its limits or points do not follow from its facts")
    whole = artifacts.open_folder(folder, KIND)
    if whole.manifest.lacewing != audit.lacewing:
        raise ArtifactError(f"{folder / artifacts.MANIFEST} names another version than {AUDIT}")
    for name, content in contents(audit).items():
        if (same_words or name == AUDIT) and whole.bytes(name) != content:
            raise ArtifactError(f"{folder / name} does not follow from the facts of {AUDIT}")
    return [] if same_words else [OTHER_WORDS]


def _same_files(source: str, places: Sequence[Path], audit: Audit) -> None:
    """Compare the files of model and circuits with the sums that were audited."""
    sides = [("the model", of_model(source), audit.model.files)]
    for place, circuit in zip(places, audit.circuits, strict=True):
        sides.append((f"circuit {circuit.name}", of_circuit(place), circuit.files))
    for side, found, known in sides:
        for line in differing(found, known):
            raise MismatchError(f"{side}: {line}")


def _same_card(model: Model, folder: Path, audit: Audit) -> None:
    """Compare the model card with the model; its licence is what somebody said."""
    known = audit.model
    found = dataclasses.replace(
        card(model, folder, known.licence, known.files), source=known.source, licence=known.licence
    )
    for field in dataclasses.fields(known):
        value, said = getattr(found, field.name), getattr(known, field.name)
        if value != said:
            raise MismatchError(
                f"the model card: {field.name} is {value!r:.80}, in the audit {said!r:.80}"
            )


def _again(
    model: Model, circuit: Circuit, audited: Audited, how: How, seed: int, allowed: float
) -> tuple[float, int]:
    """Measure some pairs; how far the furthest is off, and how many they are."""
    prompts = test_prompts(model, circuit)
    pairs = sampled(circuit, len(prompts) if how.whole else how.sample, seed)
    far, part, pair = furthest(model, circuit, prompts, audited.losses, pairs)
    if not far <= allowed:
        raise MismatchError(
            f"circuit {audited.name}: the loss of pair {pair} ({part}) is off by {far:.2g} nats, "
            f"{allowed:g} are allowed (--seed {seed})"
        )
    return far, len(pairs)


def _some_controls(
    model: Model, circuit: Circuit, audited: Audited, seeds: tuple[int, int], allowed: float
) -> None:
    """Measure some random circuits: none is out of the audit's ends, or nearer than its margin.

    Args:
        model: The model.
        circuit: The circuit.
        audited: What the audit says of it.
        seeds: The audit's, and the one that draws which are measured.
        allowed: Nats.
    """
    prompts, count = test_prompts(model, circuit), audited.sufficient.random.count
    every = random_nodes(model, circuit, seeds[0], count)
    some = np.random.default_rng(seeds[1]).choice(count, min(CONTROLS, count), replace=False)
    for index in sorted(some.tolist()):
        for name, losses in control_losses(model, circuit, prompts, every[index]).items():
            test: Tested = getattr(audited, name)
            known = audited.losses.alone if test.at_most else audited.losses.without
            own, mean = np.array(known[: len(losses)]), float(losses.mean())
            low, _ = margin(own, [losses], less=test.at_most, seed=seeds[0])
            far = max(test.random.lowest - mean, mean - test.random.highest, test.margin[0] - low)
            if not far <= allowed:
                raise MismatchError(
                    f"circuit {audited.name}: random circuit {index} of {name} has {mean:.4f} "
                    f"nats, by {far:.2g} out of what the audit says of {count}, {allowed:g} are "
                    f"allowed (--seed {seeds[1]})"
                )


def _controls_again(
    model: Model, circuit: Circuit, audited: Audited, seed: int, allowed: float, quiet: bool
) -> None:
    """Measure the whole short test again, random circuits too."""
    count = audited.sufficient.random.count
    prompts = test_prompts(model, circuit)
    found = short_test(model, circuit, prompts, seed=seed, random_circuits=count, quiet=quiet)
    for name, test in of_short_test(found).items():
        if not isinstance(test, Tested):
            continue
        said: Tested = getattr(audited, name)
        numbers = [(one.random.mean, one.random.lowest, one.random.highest) for one in (test, said)]
        ends = [(*number, *one.margin) for number, one in zip(numbers, (test, said), strict=True)]
        far = max(abs(a - b) for a, b in zip(*ends, strict=True))
        if test.random.count != said.random.count or not far <= allowed:
            raise MismatchError(
                f"circuit {audited.name}: the random circuits of {name} are off by {far:.2g} nats, "
                f"{allowed:g} are allowed"
            )
