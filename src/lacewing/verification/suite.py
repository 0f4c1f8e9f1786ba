"""The whole suite on one circuit: every test in turn, kept as it ends.

What a part finds is kept in the circuit's folder when it ends (see `kept`); the same command goes
on from there, and another circuit, seed, corpus or version begins anew. Parts that search again go
on in the middle of a search (see `searches`). `stability` keeps every one of its seeds: asked for
more of them, it only searches those.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lacewing.circuit.circuit import Circuit
from lacewing.errors import ConfigError, did_you_mean
from lacewing.model.layers import sparse_products
from lacewing.model.store import Model
from lacewing.progress import say
from lacewing.tasks.batch import Prompts
from lacewing.verification import (
    ablation_modes,
    agreement,
    alternatives,
    attention,
    baselines,
    complement,
    controls,
    interchange,
    natural_text,
    off_target,
    rewrites,
    stability,
    two_valued,
)
from lacewing.verification.evidence import Evidence, gather
from lacewing.verification.finding import Finding, LeftOut, from_json
from lacewing.verification.kept import Kept
from lacewing.verification.short import ShortTest, short_test

SHORT = "short"
"""The part that is the short test."""
STABILITY = "stability"
"""The part that has a number of seeds."""
SEARCHES = "searches"
"""Where searches are kept, in the folder of the finished parts."""
OFF_TARGET = "off_target"
"""The part that looks at circuits of other tasks."""
LEFT_OUT = "left out on request"
Part = Callable[[Model, Circuit, Evidence, bool], Sequence[Finding | LeftOut]]
"""A group of tests: (model, circuit, prompts, quiet) -> what it found."""
PARTS: Mapping[str, Part] = {
    "ablations": ablation_modes.run,
    "complement": complement.run,
    "interchange": interchange.run,
    "agreement": agreement.run,
    "natural": natural_text.run,
    "attention": attention.run,
    "features": two_valued.run,
    "controls": controls.run,
    STABILITY: stability.run,
}
"""In the order they are run and shown."""
MORE: Mapping[str, Part] = {
    "rewrites": rewrites.run,
    OFF_TARGET: off_target.run,
    "baselines": baselines.run,
    "alternatives": alternatives.run,
}
"""Asked for by `--more`: what the papers of 2026 ask of a circuit. A verdict without them is that
of the nine parts; one with them counts all."""


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A part that is not run, and of which nothing is kept."""

    name: str

    def __call__(
        self, model: Model, circuit: Circuit, prompts: Evidence, quiet: bool
    ) -> list[LeftOut]:
        """Only that it was left out."""
        return [LeftOut(self.name, LEFT_OUT)]


def parts_without(skipped: Sequence[str], more: bool = False) -> Mapping[str, Part]:
    """The parts of the suite, some of them replaced by a line that they were left out.

    Args:
        skipped: Names of parts.
        more: Whether the parts of MORE are among them.

    Raises:
        ConfigError: there is no part of that name.
    """
    known = {**PARTS, **MORE}
    for name in skipped:
        if name not in known:
            raise ConfigError(
                f"no part {name!r} of the suite; {did_you_mean(name, known)}there are: "
                f"{', '.join(known)}"
            )
    parts = known if more else PARTS
    return {name: Skipped(name) if name in skipped else part for name, part in parts.items()}


@dataclasses.dataclass(frozen=True)
class SuiteFound:
    """What all parts found."""

    short: ShortTest
    tests: tuple[Finding, ...]
    left_out: tuple[LeftOut, ...]
    seconds: Mapping[str, float]
    """What each part took."""


def run_suite(
    model: Model,
    circuit: Circuit,
    test: Prompts,
    kept: Kept | None,
    *,
    seed: int,
    corpus: str | None,
    task: str | None,
    seeds: int,
    parts: Mapping[str, Part] = PARTS,
    searches: Path | None = None,
    quiet: bool = False,
) -> SuiteFound:
    """Run what is not done yet of the suite, and put everything together.

    Args:
        model: The circuit's model.
        circuit: The circuit.
        test: Its test pairs.
        kept: Where finished parts are kept, if they are.
        seed: Seeds every draw and interval.
        corpus: Where prompts and text come from; by default the model's corpus.
        task: The circuit's task, where it is a file of pairs.
        seeds: How many circuits `stability` compares.
        parts: The tests beyond the short test, by name.
        searches: Folder of searches that suites of several circuits share; by default beside the
            finished parts.
        quiet: Report no progress.

    Raises:
        DataError: the task or its text is not there.
    """
    found: dict[str, Mapping[str, Any]] = {}
    evidence: Evidence | None = None
    for name in (SHORT, *parts):
        if isinstance(parts.get(name), Skipped):
            found[name] = {"tests": [], "left_out": [LeftOut(name, LEFT_OUT).as_json()]}
            continue
        more = _more(name, circuit, kept, seeds)
        part = kept.read(name, **more) if kept else None
        if part is None:
            began = time.monotonic()
            if name == SHORT:
                done = short_test(model, circuit, test, seed=seed, quiet=quiet)
                part = _as_part([]) | {"verification": done.as_json()}
            else:
                if evidence is None:
                    say(f"verify {circuit.task}: reading prompts and text", not quiet)
                    evidence = gather(model, circuit, test, corpus, seed, task)
                    place = searches or (kept.folder / SEARCHES if kept else None)
                    evidence = dataclasses.replace(evidence, seeds=seeds, kept=kept, searches=place)
                with sparse_products(model.network):
                    part = _as_part(parts[name](model, circuit, evidence, quiet))
            part |= {"seconds": round(time.monotonic() - began, 2)}
            part = kept.write(name, part, **more) if kept else part
        found[name] = part
    short = ShortTest.from_json(found[SHORT]["verification"])
    others = [part["tests"] for name, part in found.items() if name != SHORT]
    return SuiteFound(
        short=short,
        tests=(
            *ablation_modes.of_short_test(short, circuit.ablation),
            *(from_json(test) for tests in others for test in tests),
        ),
        left_out=tuple(LeftOut(**left) for part in found.values() for left in part["left_out"]),
        seconds={name: part["seconds"] for name, part in found.items() if "seconds" in part},
    )


def _more(name: str, circuit: Circuit, kept: Kept | None, seeds: int) -> dict[str, Any]:
    """What a kept part hangs on beside the circuit."""
    if name == STABILITY:
        return {"seeds": seeds}
    if name == OFF_TARGET and kept:
        return {"others": off_target.siblings_now(kept, circuit)}
    return {}


def _as_part(found: Sequence[Finding | LeftOut]) -> dict[str, Any]:
    return {
        "tests": [f.as_json() for f in found if isinstance(f, Finding)],
        "left_out": [f.as_json() for f in found if isinstance(f, LeftOut)],
    }
