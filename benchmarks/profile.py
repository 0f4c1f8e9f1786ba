"""`python -m benchmarks.profile [WORK ...]`: where the processor's time goes, by stage.

    step       training steps at the reference shape
    masks      mask training and selection of one plain circuit, prompts made before
    prune      `lacewing prune` of one plain circuit, from command to file
    suite      `lacewing verify` of that circuit, by part
    robust     `lacewing prune --robust`, from command to file
    demo       `lacewing demo`

Every work runs in a process of its own. What is counted is its processor time (user, children
too), which another program on the machine hardly changes, and beside it the wall time, which it
does. `--avx2` holds numba, torch and oneDNN to AVX2, on a processor that has more; `--against SRC`
runs another checkout's `src` in turns with this one, so that whatever the machine does hits both.
"""

import datetime
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tyro

from benchmarks.__main__ import processor

WORKS = ("step", "masks", "prune", "suite", "robust", "demo")
DEFAULT = ("step", "masks", "prune", "suite")
"""Minutes; the others take many."""
AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "",  # those that the name implies, not those of the processor
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Profile:
    """What to measure."""

    works: tyro.conf.Positional[tuple[str, ...]] = DEFAULT
    """Some of step, masks, prune, suite, robust and demo."""
    model: str = "builtin:taught-sparse"
    """The model that circuits are of."""
    task: str = "single_double_quote"
    """Their task."""
    circuit: Path | None = None
    """Of `suite`: a circuit that is there; by default one is pruned first, uncounted."""
    seeds: int = 10
    """Of `suite`: seeds of `stability`."""
    skip: tuple[str, ...] = ()
    """Of `suite`: parts that are left out."""
    threads: int | None = None
    """Threads; by default as many as the command line takes."""
    avx2: bool = False
    """Hold everything to AVX2."""
    against: Path | None = None
    """The `src` of another checkout, to run in turns with this one."""
    rounds: int = 1
    """Runs of each; medians are printed."""
    json: Path | None = None
    """Write all figures there."""


def environment(given: Profile, source: Path) -> dict[str, str]:
    """What a run of a checkout finds in its environment."""
    kept = dict(os.environ)
    kept["PYTHONPATH"] = os.pathsep.join(
        [str(source), str(source.parent / "blame" / "src"), str(ROOT)]
    )
    if given.threads:
        kept |= dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), str(given.threads))
    return kept | (AVX2 if given.avx2 else {})


def spent(given: Profile, work: str, source: Path, circuit: Path | None) -> dict[str, Any]:
    """One run: seconds of processor and wall time, and the processor's by stage."""
    with TemporaryDirectory() as folder:
        told = Path(folder) / "stages.json"
        asked = {
            "work": work,
            "model": given.model,
            "task": given.task,
            "seeds": given.seeds,
            "skip": given.skip,
            "circuit": str(circuit) if circuit else None,
            "folder": folder,
            "told": str(told),
        }
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "benchmarks.profiled", json.dumps(asked)],
            env=environment(given, source),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        found = json.loads(told.read_text())
    return found | {"cpu": after.ru_utime - before.ru_utime, "wall": wall}


def median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The medians of several runs, stage by stage, and what the last one said."""
    stages = {
        name: statistics.median(run["stages"].get(name, 0.0) for run in runs)
        for name in runs[-1]["stages"]
    }
    figures = {key: statistics.median(run[key] for run in runs) for key in ("cpu", "wall")}
    return figures | {"stages": stages, "said": runs[-1]["said"]}


def line(work: str, name: str, found: dict[str, Any]) -> str:
    """A row of the table."""
    stages = sorted(found["stages"].items(), key=lambda pair: -pair[1])
    parts = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in stages)
    return f"| {work} | {name} | {found['cpu']:.1f} | {found['wall']:.1f} | {parts} |"


def main(given: Profile) -> None:
    """Run all, in turns, and print a table."""
    if unknown := set(given.works) - set(WORKS):
        raise SystemExit(f"unknown work {sorted(unknown)}; there are {', '.join(WORKS)}")
    sources = {"here": ROOT / "src"} | ({"against": given.against} if given.against else {})
    held = "held to AVX2, " if given.avx2 else ""
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    print(f"{datetime.date.today()}, {processor()}, {held}load of the machine {load}\n")
    print("| work | code | processor s | wall s | of it, processor s by stage |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    everything: dict[str, dict[str, Any]] = {}
    with TemporaryDirectory() as folder:
        circuit = given.circuit
        if "suite" in given.works and circuit is None:
            circuit = Path(folder) / "circuit"
            command = [sys.executable, "-m", "lacewing", "prune", "--model", given.model]
            command += ["--task", given.task, "--output", str(circuit)]
            subprocess.run(command, env=environment(given, ROOT / "src"), check=True)
        for work in given.works:
            runs: dict[str, list[dict[str, Any]]] = {name: [] for name in sources}
            for number in range(given.rounds):
                for name in list(sources)[:: -1 if number % 2 else 1]:
                    runs[name].append(spent(given, work, sources[name], circuit))
            everything[work] = {name: median(found) for name, found in runs.items()}
            for name, found in everything[work].items():
                print(line(work, name, found), flush=True)
            for name, found in everything[work].items():
                print(f"    {name}: {found['said']}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(everything, indent=2))


if __name__ == "__main__":
    main(tyro.cli(Profile))
