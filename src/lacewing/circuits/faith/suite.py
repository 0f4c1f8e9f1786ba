"""The whole suite on one saved circuit: every test in turn, kept as it ends, and one verdict.

What a part finds is written to DIR/verification/PART.json when it ends, with what it was found
under; the same command goes on from there, and another circuit, seed, corpus or version begins
anew.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lacewing
from lacewing import artifacts
from lacewing.circuits.circuit import Circuit
from lacewing.circuits.faith import (
    ablations,
    agreement,
    attention,
    complement,
    controls,
    features,
    interchange,
    natural,
    stability,
)
from lacewing.circuits.faith.evidence import Evidence, gather, task_of
from lacewing.circuits.faith.finding import Finding, LeftOut, from_json, verdict
from lacewing.circuits.verify import verify
from lacewing.errors import ArtifactError
from lacewing.kernels.memory import keep_pages
from lacewing.model.layers import sparse_products
from lacewing.model.store import Model
from lacewing.progress import say
from lacewing.tasks.batch import Prompts

FOLDER = "verification"
SHORT = "short"
"""The part that `verify` is."""
Part = Callable[[Model, Circuit, Evidence, bool], Sequence[Finding | LeftOut]]
"""A group of tests: (model, circuit, prompts, quiet) -> what it found."""
PARTS: Mapping[str, Part] = {
    "ablations": ablations.run,
    "complement": complement.run,
    "interchange": interchange.run,
    "agreement": agreement.run,
    "natural": natural.run,
    "attention": attention.run,
    "features": features.run,
    "controls": controls.run,
    "stability": stability.run,
}
"""In the order they are run and shown."""


def examine(
    model: Model,
    circuit: Circuit,
    test: Prompts,
    folder: Path,
    *,
    seed: int = 0,
    corpus: str | None = None,
    task: str | None = None,
    parts: Mapping[str, Part] = PARTS,
    quiet: bool = False,
) -> dict[str, Any]:
    """Run what is not done yet of the suite, and put everything together.

    Args:
        model: The circuit's model.
        circuit: The circuit.
        test: Its saved test pairs.
        folder: The circuit's folder; finished parts are kept below it.
        seed: Seeds every draw and interval.
        corpus: Where prompts and text come from; by default the model's corpus.
        task: The circuit's task, where it is a file of pairs.
        parts: The tests beyond `verify`, by name.
        quiet: Report no progress.

    Returns:
        The fields of `Verification`, and `verdict`, `tests`, `left_out` and `seconds`.

    Raises:
        MismatchError: the circuit belongs to another model.
        DataError: the task or its text is not there.
    """
    keep_pages()
    circuit.check(model)
    task_of(circuit, task)  # before anything is measured
    kept = _Kept(folder, {"seed": seed, "corpus": corpus or model.corpus, "task": task})
    found: dict[str, dict[str, Any]] = {}
    evidence: Evidence | None = None
    for name in (SHORT, *parts):
        part = kept.read(name)
        if part is None:
            began = time.monotonic()
            if name == SHORT:
                done = verify(model, circuit, test, seed=seed, quiet=quiet)
                part = _as_part(ablations.verified(done, circuit.ablation))
                part |= {"verification": done.as_json()}
            else:
                if evidence is None:
                    say(f"verify {circuit.task}: reading prompts and text", not quiet)
                    evidence = gather(model, circuit, test, corpus, seed, task)
                with sparse_products(model.network):
                    part = _as_part(parts[name](model, circuit, evidence, quiet))
            part |= {"seconds": round(time.monotonic() - began, 2)}
            part = kept.write(name, part)
        found[name] = part
    return _together(found)


def _together(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    tests = [test for part in found.values() for test in part["tests"]]
    together: dict[str, Any] = dict(found[SHORT]["verification"])
    return together | {
        "verdict": verdict([from_json(test) for test in tests]),
        "tests": tests,
        "left_out": [left for part in found.values() for left in part["left_out"]],
        "seconds": {name: part["seconds"] for name, part in found.items() if "seconds" in part},
    }


def _as_part(found: Sequence[Finding | LeftOut]) -> dict[str, Any]:
    return {
        "tests": [f.as_json() for f in found if isinstance(f, Finding)],
        "left_out": [f.as_json() for f in found if isinstance(f, LeftOut)],
    }


class _Kept:
    """The finished parts of one suite."""

    def __init__(self, folder: Path, asked: Mapping[str, Any]) -> None:
        circuit = (folder / artifacts.MANIFEST).read_bytes()
        self.folder = folder / FOLDER
        self.asked = {
            "circuit": hashlib.sha256(circuit).hexdigest()[:16],
            "lacewing": lacewing.__version__,
        } | dict(asked)

    def read(self, name: str) -> dict[str, Any] | None:
        """A part that was finished under the same conditions."""
        try:
            saved = artifacts.read_json(self.folder / f"{name}.json")
        except ArtifactError:
            return None
        same = isinstance(saved, dict) and saved.get("asked") == self.asked
        return saved["found"] if same else None

    def write(self, name: str, part: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a finished part; what will be read of it."""
        path = self.folder / f"{name}.json"
        artifacts.write_json(path, {"asked": self.asked, "found": dict(part)})
        found: dict[str, Any] = artifacts.read_json(path)["found"]
        return found
