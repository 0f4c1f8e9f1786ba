"""Audits that somebody changed, and whether the check sees it.

    PYTHONPATH=tests python -m audits --circuits DIR ... [--copies 1000] [--lies 100] [--seed 0]

Copies are of an audit with its model and circuits: one byte of one file is changed, added or taken
away, in half of them with all sums written anew, as somebody would who knows the format. Lies are
audits whose numbers were changed and everything that follows from them written anew.
"""

import argparse
import dataclasses
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hostile.reseal import reseal
from lacewing import artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.model.shipped import folder_of
from lacewing.model.store import load
from lacewing.statistics import bootstrap
from lacewing.watch.audit.build import Asked, audit, derived, write
from lacewing.watch.audit.check import How, check
from lacewing.watch.audit.schema import AUDIT, Audit, Audited

APART = ("annotations.json", "explanations.json")
"""Beside circuits, and no part of the audit."""


def make(root: Path, random_circuits: int = 20) -> None:
    """The audit of ROOT/model and ROOT/circuits/*, in ROOT/audit."""
    folders = sorted((root / "circuits").iterdir())
    asked = Asked(random_circuits=random_circuits, quiet=True)
    circuits = [(folder, Circuit.load(folder)) for folder in folders]
    audit(load(root / "model"), circuits, root / "audit", asked)


def copies(
    root: Path, count: int, seed: int, key: Path | None = None
) -> Iterator[tuple[str, bool, str]]:
    """What was changed in each copy, whether the check saw it, and what it said."""
    for number in range(count):
        dice = random.Random(f"{seed}:{number}")
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / "copy"
            shutil.copytree(root, copy)
            sides = [(copy / side).rglob("*") for side in ("audit", "circuits", "model")]
            files = sorted(path for side in sides for path in side if path.is_file())
            path = dice.choice([file for file in files if file.name not in APART])
            words = mutate(path, dice)
            changed = path.read_bytes()
            sealed = dice.random() < 0.5 and reseal(path)
            if path.read_bytes() == (root / path.relative_to(copy)).read_bytes():
                path.write_bytes(changed)  # it was a sum, and is right again
                sealed = False
            found = check(copy / "audit", How(key=key, seed=number, quiet=True))
            name = f"{path.relative_to(copy)}: {words}{', resealed' if sealed else ''}"
            yield name, not found.fine, found.differs or ""


def mutate(path: Path, dice: random.Random) -> str:
    """Change one byte of a file, add one, or take one away; what was done."""
    content = bytearray(path.read_bytes())
    kind = dice.choice(("bit", "bit", "byte", "more", "less")) if content else "more"
    at = dice.randrange(len(content) or 1)
    if kind == "bit":
        content[at] ^= 1 << dice.randrange(8)
    elif kind == "byte":
        content[at] = (content[at] + dice.randrange(1, 256)) % 256
    elif kind == "more":
        content.insert(at, dice.randrange(256))
    else:
        del content[at]
    path.write_bytes(content)
    return f"{kind} at {at}"


def lies(root: Path, count: int, seed: int, whole: bool = False) -> Iterator[tuple[str, bool, str]]:
    """The same of audits that were rewritten around one false number."""
    made = artifacts.read(root / "audit" / AUDIT, Audit)
    for number in range(count):
        dice = random.Random(f"{seed}:{number}")
        name, lie = list(LIES.items())[number % len(LIES)]
        changed = derived(lie(made, dice))
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / "copy"
            shutil.copytree(root, copy, ignore=shutil.ignore_patterns("audit"))
            write(changed, copy / "audit")
            found = check(copy / "audit", How(seed=number, whole=whole, quiet=True))
            yield name, not found.fine, found.differs or ""


def _circuit(made: Audit, dice: random.Random, change: Callable[[Audited], Any]) -> Audit:
    at = dice.randrange(len(made.circuits))
    each = list(made.circuits)
    each[at] = change(each[at])
    return dataclasses.replace(made, circuits=tuple(each))


def _test(made: Audit, dice: random.Random, **changes: Callable[[Any], Any]) -> Audit:
    name = dice.choice(("sufficient", "necessary"))

    def change(circuit: Audited) -> Audited:
        test = getattr(circuit, name)
        new = {field: by(getattr(test, field)) for field, by in changes.items()}
        return dataclasses.replace(circuit, **{name: dataclasses.replace(test, **new)})

    return _circuit(made, dice, change)


def _pair(made: Audit, dice: random.Random) -> Audit:
    """One pair's loss is less; mean and interval follow."""

    def change(circuit: Audited) -> Audited:
        losses = list(circuit.losses.full)
        losses[dice.randrange(len(losses))] += 0.01
        values = np.array(losses)
        ends = bootstrap(values, seed=made.seed)
        return dataclasses.replace(
            circuit,
            losses=dataclasses.replace(circuit.losses, full=tuple(losses)),
            full=float(values.mean()),
            full_interval=ends,
        )

    return _circuit(made, dice, change)


def _card(made: Audit, dice: random.Random) -> Audit:
    field = dice.choice(("parameters", "nonzero", "layers", "vocabulary", "context"))
    card = dataclasses.replace(made.model, **{field: getattr(made.model, field) + 1})
    return dataclasses.replace(made, model=card)


def _random(control: Any) -> Any:
    return dataclasses.replace(control, highest=control.highest + 0.01)


LIES: dict[str, Callable[[Audit, random.Random], Audit]] = {
    "a loss": lambda made, dice: _test(made, dice, loss=lambda x: x - 1e-3),
    "an interval": lambda made, dice: _test(made, dice, interval=lambda x: (x[0], x[1] - 1e-3)),
    "a verdict": lambda made, dice: _test(made, dice, verdict=lambda x: not x),
    "a threshold": lambda made, dice: _test(made, dice, threshold=lambda x: x + 0.1),
    "a size": lambda made, dice: _circuit(
        made, dice, lambda c: dataclasses.replace(c, nodes=c.nodes + 1)
    ),
    "a task": lambda made, dice: _circuit(made, dice, lambda c: dataclasses.replace(c, task="x")),
    "a number of the card": _card,
    "the text": lambda made, dice: dataclasses.replace(
        made, model=dataclasses.replace(made.model, text="books")
    ),
    "tolerances, and a pair": lambda made, dice: dataclasses.replace(
        _pair(made, dice), tolerances=dataclasses.replace(made.tolerances, same=9.0, other=9.0)
    ),
    "one pair's loss": _pair,
    "a random circuit's loss": lambda made, dice: _test(made, dice, random=_random),
    "the licence": lambda made, dice: dataclasses.replace(
        made, model=dataclasses.replace(made.model, licence="any")
    ),
}
"""What is changed. `one pair's loss` is seen if the pair is drawn, `a random circuit's` with
--whole, `the licence` by a signature alone."""


def main() -> None:
    """Count what the check sees; exit code 1 where a changed copy passes."""
    parser = argparse.ArgumentParser(prog="audits", description=__doc__)
    parser.add_argument("--model", default="builtin:taught-small")
    parser.add_argument("--circuits", type=Path, nargs="+", required=True)
    parser.add_argument("--copies", type=int, default=1000)
    parser.add_argument("--lies", type=int, default=0)
    parser.add_argument("--whole", action="store_true", help="of lies")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        shutil.copytree(folder_of(flags.model), root / "model")
        for folder in flags.circuits:
            circuit = dataclasses.replace(Circuit.load(folder), model_source=str(root / "model"))
            circuit.save(root / "circuits" / folder.name)
        make(root)
        untouched = check(root / "audit", How(whole=True, quiet=True))
        print(f"untouched: fine {untouched.fine}, {untouched.differs or untouched.furthest}")
        passed = Counter[str]()
        every = Counter[str]()
        for name, seen, said in copies(root, flags.copies, flags.seed):
            side = name.partition("/")[0] + (", resealed" if name.endswith("resealed") else "")
            every[side] += 1
            passed[side] += not seen
            if not seen:
                print(f"NOT SEEN: {name} {said}")
        for side, count in sorted(every.items()):
            print(f"{side}: {count - passed[side]} of {count} seen")
        print(f"{every.total() - passed.total()} of {every.total()} changed copies are seen")
        of_lies = [
            (name, seen) for name, seen, _ in lies(root, flags.lies, flags.seed, flags.whole)
        ]
        for name in LIES if of_lies else ():
            each = [seen for other, seen in of_lies if other == name]
            print(f"lie, {name}: {sum(each)} of {len(each)} seen")
    sys.exit(bool(passed.total()) or not untouched.fine)


if __name__ == "__main__":
    main()
