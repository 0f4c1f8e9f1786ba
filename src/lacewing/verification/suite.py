"""The whole suite on one saved circuit: every test in turn, kept as it ends, and one verdict.

What a part finds is kept when it ends (see `kept`); the same command goes on from there, and
another circuit, seed, corpus or version begins anew. `stability` keeps every one of its seeds:
asked for more of them, it only searches those.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import SEEDS
from lacewing.kernels.memory import keep_pages
from lacewing.model.layers import sparse_products
from lacewing.model.store import Model
from lacewing.progress import say
from lacewing.tasks.batch import Prompts
from lacewing.verification import ablation_modes as ablations
from lacewing.verification import agreement, attention, complement, controls, interchange, stability
from lacewing.verification import natural_text as natural
from lacewing.verification import two_valued as features
from lacewing.verification.evidence import Evidence, gather, task_of
from lacewing.verification.finding import Finding, LeftOut, from_json, verdict
from lacewing.verification.kept import Kept
from lacewing.verification.short import verify

SHORT = "short"
"""The part that `verify` is."""
STABILITY = "stability"
"""The part that has a number of seeds."""
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
    STABILITY: stability.run,
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
    seeds: int = SEEDS,
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
        seeds: How many circuits `stability` compares.
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
    kept = Kept(folder, {"seed": seed, "corpus": corpus or model.corpus, "task": task})
    found: dict[str, dict[str, Any]] = {}
    evidence: Evidence | None = None
    for name in (SHORT, *parts):
        more = {"seeds": seeds} if name == STABILITY else {}
        part = kept.read(name, **more)
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
                    evidence = dataclasses.replace(evidence, seeds=seeds, kept=kept)
                with sparse_products(model.network):
                    part = _as_part(parts[name](model, circuit, evidence, quiet))
            part |= {"seconds": round(time.monotonic() - began, 2)}
            part = kept.write(name, part, **more)
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
